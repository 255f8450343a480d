package net

import (
	"fmt"
	"math"

	"orrery/sim/unit"
)

// LinkID is the index of a link of a topology.
type LinkID int32

// FlowID names a flow from Start until it finishes; it is used again after.
type FlowID int32

// Flow is a transfer over a path of links. A link that a path crosses twice
// carries it twice. The zero Weight counts as 1, the zero DemandGBps as no
// limit but the links'.
type Flow struct {
	Path       []LinkID
	Bytes      float64
	Weight     float64
	DemandGBps float64
}

// Sharing is the flow level of a network: flows in progress get max-min fair
// rates (Bertsekas and Gallager, Data Networks, 2nd ed., section 6.5.2), and
// each ends when its bytes have passed. Latency is the caller's: a message
// arrives its path's latency after its flow ended.
//
// A start or an end recomputes only the flows that share links with it,
// directly or through others, once for all changes at the same time. Data are
// slices by link, flow and hop; once these have grown nothing is allocated.
// The same calls give the same results. A Sharing is not safe for concurrent
// use.
type Sharing struct {
	now unit.Time

	// by link
	capGBps   []float64
	linkFirst []int32 // first hop on the link, or none
	linkSeen  []uint32
	used      []float64 // filling: rate of the frozen flows
	active    []int32   // filling: hops of flows not frozen
	weightSum []float64 // filling: their weights

	// by flow
	flowFirst []int32 // first hop of the flow, or none
	flowSeen  []uint32
	weight    []float64
	demand    []float64
	rate      []float64   // GB/s
	next      []float64   // filling: the new rate; negative while not frozen
	left      []float64   // bytes, at since
	since     []unit.Time // when left was brought up to date
	ends      endHeap
	freeFlow  []FlowID

	// by hop: one link of one flow's path
	hopFlow     []FlowID
	hopLink     []LinkID
	hopOfFlow   []int32 // next hop of the flow
	hopOnLink   []int32 // next hop on the link
	hopBackLink []int32 // hop before on the link
	freeHop     int32

	epoch     uint32
	dirty     []LinkID // links whose set of flows changed at now
	touched   []LinkID
	regroup   []FlowID
	saturates levelHeap
}

const none = int32(-1)

// rateNoise is the relative change of a rate that is rounding, not news: the
// flow keeps its rate and its end, so flows that nothing happens to do not
// drift.
const rateNoise = 1e-12

// NewSharing makes a network of links with the given capacities in GB/s, all
// finite and above zero.
func NewSharing(capGBps []float64) (*Sharing, error) {
	for l, c := range capGBps {
		if !(c > 0) || math.IsInf(c, 0) {
			return nil, fmt.Errorf("link %d has a capacity of %g GB/s: want finite and above zero", l, c)
		}
	}
	n := len(capGBps)
	s := &Sharing{
		capGBps:   append([]float64(nil), capGBps...),
		linkFirst: make([]int32, n),
		linkSeen:  make([]uint32, n),
		used:      make([]float64, n),
		active:    make([]int32, n),
		weightSum: make([]float64, n),
		freeHop:   none,
	}
	for l := range s.linkFirst {
		s.linkFirst[l] = none
	}
	return s, nil
}

// Now is the time of the last Start or Finish.
func (s *Sharing) Now() unit.Time { return s.now }

// Active is the number of flows in progress.
func (s *Sharing) Active() int { return len(s.weight) - len(s.freeFlow) }

// Start adds a flow at time now. It fails if the flow is malformed, if now is
// in the past, or if a flow would have ended before now: Finish that first.
func (s *Sharing) Start(now unit.Time, f Flow) (FlowID, error) {
	if err := s.checkFlow(f); err != nil {
		return 0, err
	}
	if now < s.now {
		return 0, fmt.Errorf("flow starts at %v, before %v", now, s.now)
	}
	if now > s.now {
		if at, id, ok := s.Next(); ok && at < now {
			return 0, fmt.Errorf("flow starts at %v, but flow %d ended at %v and was not finished", now, id, at)
		}
		s.settle()
		s.now = now
	}
	id := s.newFlow()
	s.weight[id], s.demand[id] = f.Weight, f.DemandGBps
	if f.Weight == 0 {
		s.weight[id] = 1
	}
	if f.DemandGBps == 0 {
		s.demand[id] = math.Inf(1)
	}
	s.rate[id], s.left[id], s.since[id] = 0, f.Bytes, now
	for i := len(f.Path) - 1; i >= 0; i-- {
		s.addHop(id, f.Path[i])
	}
	end := unit.Time(math.MaxInt64)
	switch {
	case f.Bytes == 0:
		end = now
	case len(f.Path) == 0: // nothing but the demand limits it
		s.rate[id] = s.demand[id]
		end = endOf(now, f.Bytes, s.rate[id])
	}
	s.ends.push(id, end)
	return id, nil
}

func (s *Sharing) checkFlow(f Flow) error {
	if !(f.Bytes >= 0) || math.IsInf(f.Bytes, 0) {
		return fmt.Errorf("flow of %g bytes: want a finite size >= 0", f.Bytes)
	}
	if !(f.Weight >= 0) || math.IsInf(f.Weight, 0) || !(f.DemandGBps >= 0) {
		return fmt.Errorf("flow of weight %g and demand %g GB/s: want both >= 0 and the weight finite", f.Weight, f.DemandGBps)
	}
	for _, l := range f.Path {
		if l < 0 || int(l) >= len(s.capGBps) {
			return fmt.Errorf("flow over link %d: want one of the %d links", l, len(s.capGBps))
		}
	}
	return nil
}

// Next tells which flow ends first and when, without ending it; ok is false
// when no flow is in progress. Flows that end together do so in the order in
// which they started.
func (s *Sharing) Next() (at unit.Time, id FlowID, ok bool) {
	if len(s.ends.heap) == 0 {
		return 0, 0, false
	}
	// A flow that ends now does so at any rate: flows that end together are
	// taken out before rates are computed again.
	if id = s.ends.heap[0]; s.ends.at[id] > s.now {
		s.settle()
		id = s.ends.heap[0]
	}
	return s.ends.at[id], id, true
}

// Finish ends the flow that Next tells, moves the time there and gives its
// links back.
func (s *Sharing) Finish() (at unit.Time, id FlowID, ok bool) {
	at, id, ok = s.Next()
	if !ok {
		return 0, 0, false
	}
	s.now = at
	s.ends.pop()
	for h := s.flowFirst[id]; h != none; {
		after := s.hopOfFlow[h]
		s.dropHop(h)
		h = after
	}
	s.flowFirst[id] = none
	s.freeFlow = append(s.freeFlow, id)
	return at, id, true
}

// RateGBps is the present rate of a flow in progress.
func (s *Sharing) RateGBps(id FlowID) float64 {
	s.settle()
	return s.rate[id]
}

func (s *Sharing) newFlow() FlowID {
	if n := len(s.freeFlow); n > 0 {
		id := s.freeFlow[n-1]
		s.freeFlow = s.freeFlow[:n-1]
		return id
	}
	id := FlowID(len(s.weight))
	s.flowFirst = append(s.flowFirst, none)
	s.flowSeen = append(s.flowSeen, 0)
	s.weight = append(s.weight, 0)
	s.demand = append(s.demand, 0)
	s.rate = append(s.rate, 0)
	s.next = append(s.next, 0)
	s.left = append(s.left, 0)
	s.since = append(s.since, 0)
	return id
}

// addHop puts link in front of the flow's path.
func (s *Sharing) addHop(id FlowID, link LinkID) {
	h := s.freeHop
	if h == none {
		h = int32(len(s.hopFlow))
		s.hopFlow = append(s.hopFlow, 0)
		s.hopLink = append(s.hopLink, 0)
		s.hopOfFlow = append(s.hopOfFlow, none)
		s.hopOnLink = append(s.hopOnLink, none)
		s.hopBackLink = append(s.hopBackLink, none)
	} else {
		s.freeHop = s.hopOfFlow[h]
	}
	s.hopFlow[h], s.hopLink[h] = id, link
	s.hopOfFlow[h] = s.flowFirst[id]
	s.flowFirst[id] = h
	first := s.linkFirst[link]
	s.hopOnLink[h], s.hopBackLink[h] = first, none
	if first != none {
		s.hopBackLink[first] = h
	}
	s.linkFirst[link] = h
	s.dirty = append(s.dirty, link)
}

func (s *Sharing) dropHop(h int32) {
	link, before, after := s.hopLink[h], s.hopBackLink[h], s.hopOnLink[h]
	if before == none {
		s.linkFirst[link] = after
	} else {
		s.hopOnLink[before] = after
	}
	if after != none {
		s.hopBackLink[after] = before
	}
	s.dirty = append(s.dirty, link)
	s.hopOfFlow[h] = s.freeHop
	s.freeHop = h
}

// settle gives the flows that a change touched their new rates and ends.
func (s *Sharing) settle() {
	if len(s.dirty) == 0 {
		return
	}
	s.gather()
	s.fill()
	for _, id := range s.regroup {
		if math.Abs(s.next[id]-s.rate[id]) <= rateNoise*s.rate[id] {
			continue
		}
		if s.ends.at[id] > s.now { // else its last byte has passed
			s.left[id] -= s.rate[id] * float64(s.now-s.since[id]) / float64(unit.Nanosecond)
			s.left[id] = max(s.left[id], 0)
			s.ends.move(id, endOf(s.now, s.left[id], s.next[id]))
		}
		s.since[id], s.rate[id] = s.now, s.next[id]
	}
}

// endOf is when bytes have passed at rate GB/s, which is bytes a nanosecond.
func endOf(now unit.Time, bytes, rateGBps float64) unit.Time {
	ps := math.Round(bytes / rateGBps * float64(unit.Nanosecond))
	if !(ps < float64(math.MaxInt64-now)) {
		return math.MaxInt64
	}
	return now + unit.Time(ps)
}

// gather collects the connected components of the dirty links: s.touched are
// their links, s.regroup their flows, and the sums for filling are reset.
func (s *Sharing) gather() {
	s.epoch++
	if s.epoch == 0 { // wrapped: forget the marks of 2^32 rounds ago
		clear(s.linkSeen)
		clear(s.flowSeen)
		s.epoch = 1
	}
	s.touched, s.regroup = s.touched[:0], s.regroup[:0]
	for _, l := range s.dirty {
		s.see(l)
	}
	s.dirty = s.dirty[:0]
	for i := 0; i < len(s.touched); i++ { // grows as flows lead to more links
		l := s.touched[i]
		for h := s.linkFirst[l]; h != none; h = s.hopOnLink[h] {
			id := s.hopFlow[h]
			s.active[l]++
			s.weightSum[l] += s.weight[id]
			if s.flowSeen[id] == s.epoch {
				continue
			}
			s.flowSeen[id] = s.epoch
			s.next[id] = -1
			s.regroup = append(s.regroup, id)
			for g := s.flowFirst[id]; g != none; g = s.hopOfFlow[g] {
				s.see(s.hopLink[g])
			}
		}
	}
}

func (s *Sharing) see(l LinkID) {
	if s.linkSeen[l] == s.epoch {
		return
	}
	s.linkSeen[l] = s.epoch
	s.used[l], s.active[l], s.weightSum[l] = 0, 0, 0
	s.touched = append(s.touched, l)
}

// fill raises a common level, the rate a unit of weight, until a link is full
// or a flow has its demand, freezes those flows at the level and goes on with
// the rest. A link's own level only rises as its flows freeze, so the heap's
// entries are lower bounds and are corrected when they come up.
func (s *Sharing) fill() {
	q := &s.saturates
	q.items = q.items[:0]
	for _, l := range s.touched {
		if s.active[l] > 0 {
			q.items = append(q.items, levelItem{s.level(l), int32(l)})
		}
	}
	for _, id := range s.regroup {
		if !math.IsInf(s.demand[id], 1) {
			q.items = append(q.items, levelItem{s.demand[id] / s.weight[id], ^int32(id)})
		}
	}
	q.init()
	for len(q.items) > 0 {
		top := q.items[0]
		if top.who < 0 {
			q.pop()
			if id := FlowID(^top.who); s.next[id] < 0 {
				s.freeze(id, s.demand[id])
			}
			continue
		}
		l := LinkID(top.who)
		if s.active[l] == 0 {
			q.pop()
			continue
		}
		level := s.level(l)
		if level > top.level {
			q.items[0].level = level
			q.down(0)
			continue
		}
		q.pop()
		for h := s.linkFirst[l]; h != none; h = s.hopOnLink[h] {
			if id := s.hopFlow[h]; s.next[id] < 0 {
				s.freeze(id, min(level*s.weight[id], s.demand[id]))
			}
		}
	}
}

// level is the rate a unit of weight at which link l is full.
func (s *Sharing) level(l LinkID) float64 {
	return max(s.capGBps[l]-s.used[l], 0) / s.weightSum[l]
}

func (s *Sharing) freeze(id FlowID, rate float64) {
	s.next[id] = rate
	for h := s.flowFirst[id]; h != none; h = s.hopOfFlow[h] {
		l := s.hopLink[h]
		s.used[l] += rate
		s.active[l]--
		s.weightSum[l] -= s.weight[id]
	}
}

// TimedFlow is a flow with its start.
type TimedFlow struct {
	Flow
	Start unit.Time
}

// Completions runs flows over links to their ends and returns the end of each.
func Completions(capGBps []float64, flows []TimedFlow) ([]unit.Time, error) {
	s, err := NewSharing(capGBps)
	if err != nil {
		return nil, err
	}
	ends := make([]unit.Time, len(flows))
	who := map[FlowID]int{}
	finish := func() bool {
		at, id, ok := s.Finish()
		if ok {
			ends[who[id]] = at
		}
		return ok
	}
	for _, i := range startOrder(flows) {
		for at, _, ok := s.Next(); ok && at < flows[i].Start; at, _, ok = s.Next() {
			finish()
		}
		id, err := s.Start(flows[i].Start, flows[i].Flow)
		if err != nil {
			return nil, fmt.Errorf("flow %d: %w", i, err)
		}
		who[id] = i
	}
	for finish() {
	}
	return ends, nil
}
