package pipeline

import (
	"fmt"

	"orrery/sim/unit"
)

// MEPipePieces times mepipe_svpp with backwards split and each weight gradient cut
// into pieces of equal time, the GEMMs that it consists of (MEPipe, EuroSys'25).
// Forwards and backwards for inputs keep the schedule's order. While a device waits
// for an input it runs the pieces that end before the input is there, of the
// oldest weight gradient first; what is left comes at the end. A weight gradient
// holds its slice's activations until its last piece has run, so that a device
// which holds limit slices finishes its oldest one before the next forward. limit 0
// is the most that any device holds where backwards are fused; less cannot be run.
//
// No forward or backward starts later than where backwards are fused. The end of
// the step may come later: a device that waits for less than a piece at a time
// keeps its pieces for the end. Smaller pieces fit.
//
// A W of the order is one piece.
func MEPipePieces(s Shape, pieces, limit int, c Costs) (*Timing, error) {
	if err := (mePipe{}).Check(s); err != nil {
		return nil, err
	}
	if pieces < 1 || pieces > maxPasses/s.passes() {
		return nil, fmt.Errorf("%d pieces of each of %d weight gradients: want 1 or more, and no more than %d in all", pieces, s.passes(), maxPasses)
	}
	cut := map[unit.Time][]unit.Time{} // at whole units of time, adding up to the weight gradient
	return MEPipeCut(s, func(slot Slot) []unit.Time {
		whole, n := c.At(slot), unit.Time(pieces)
		if _, known := cut[whole]; !known {
			upTo := func(k unit.Time) unit.Time { return whole/n*k + whole%n*k/n }
			for k := range n {
				cut[whole] = append(cut[whole], upTo(k+1)-upTo(k))
			}
		}
		return cut[whole]
	}, limit, c)
}

// MEPipeCut is MEPipePieces with pieces that differ: cut gives the times of those of
// the weight gradient of a slot, one or more, whose sum takes the place of c's W.
func MEPipeCut(s Shape, cut func(Slot) []unit.Time, limit int, c Costs) (*Timing, error) {
	order, err := mePipe{}.Order(s)
	if err != nil {
		return nil, err
	}
	least := 0
	for _, slots := range order {
		least = max(least, mostHeld(slots))
	}
	switch {
	case limit == 0:
		limit = least
	case limit < least:
		return nil, fmt.Errorf("a limit of %d slices is below the %d that the order of forwards and backwards holds", limit, least)
	}
	split := splitBackwards(order)
	if err := c.check(s, split); err != nil {
		return nil, err
	}
	n := 0
	for _, slots := range split {
		for _, slot := range slots {
			if slot.Phase != W {
				continue
			}
			if k := len(cut(slot)); k == 0 || n > maxPasses-k {
				return nil, fmt.Errorf("%d pieces of %v: want 1 or more, and no more than %d in all", k, slot, maxPasses)
			}
			n += len(cut(slot))
		}
	}
	r := newPiecesRun(s, c, split, n/s.Devices, cut, limit)
	r.runAll(r.step)
	for d, slots := range r.todo {
		if r.at[d] < len(slots) {
			return nil, fmt.Errorf("deadlock: device %d never gets to run %v", d, slots[r.at[d]])
		}
	}
	return r.t, nil
}

// MEPipeSplit is mepipe_svpp with split backwards as a [Schedule]: each weight
// gradient right behind its backward, or, where Cut is given, in pieces where
// [MEPipeCut] has them.
type MEPipeSplit struct {
	mePipe
	Costs Costs
	Cut   func(Slot) []unit.Time
}

// Order gives each device's passes; a W that comes so many times is in so many pieces.
func (e MEPipeSplit) Order(s Shape) ([][]Slot, error) {
	if e.Cut == nil {
		order, err := e.mePipe.Order(s)
		return splitBackwards(order), err
	}
	t, err := MEPipeCut(s, e.Cut, 0, e.Costs)
	if err != nil {
		return nil, err
	}
	return t.Order, nil
}

var _ Schedule = MEPipeSplit{}

// mostHeld is the most forwards whose fused backward is still to come.
func mostHeld(slots []Slot) int {
	held, most := 0, 0
	for _, slot := range slots {
		if slot.Phase == F {
			held++
			most = max(most, held)
		} else {
			held--
		}
	}
	return most
}

// splitBackwards has I and W in place of each B.
func splitBackwards(order [][]Slot) [][]Slot {
	out := make([][]Slot, len(order))
	for d, slots := range order {
		out[d] = make([]Slot, 0, 3*len(slots)/2)
		for _, slot := range slots {
			if slot.Phase != B {
				out[d] = append(out[d], slot)
				continue
			}
			for _, slot.Phase = range []Phase{I, W} {
				out[d] = append(out[d], slot)
			}
		}
	}
	return out
}

// piecesRun is the state of MEPipePieces; the order of run grows with the time.
type piecesRun struct {
	*run
	limit        int
	cutOf        func(Slot) []unit.Time
	todo         [][]Slot // forwards and backwards for inputs, by device
	at           []int    // the next of todo
	weights      [][]Slot // weight gradients due, the oldest first
	cut          []int    // pieces of the oldest that have run
	held, inputs []int    // forwards whose W, or whose I, has not ended
}

func newPiecesRun(s Shape, c Costs, split [][]Slot, pieces int, cut func(Slot) []unit.Time, limit int) *piecesRun {
	p := s.Devices
	r := &piecesRun{run: newRun(mePipe{}, s, c, make([][]Slot, p)), cutOf: cut, limit: limit, todo: make([][]Slot, p), at: make([]int, p),
		weights: make([][]Slot, p), cut: make([]int, p), held: make([]int, p), inputs: make([]int, p)}
	for d, slots := range split {
		r.todo[d] = make([]Slot, 0, 2*len(slots)/3)
		for _, slot := range slots {
			if slot.Phase != W {
				r.todo[d] = append(r.todo[d], slot)
			}
		}
	}
	for d, slots := range r.todo {
		n := len(slots) + pieces
		r.t.Order[d], r.t.Start[d], r.t.End[d] = make([]Slot, 0, n), make([]unit.Time, 0, n), make([]unit.Time, 0, n)
	}
	r.t.Busy, r.t.Span = make([]unit.Time, p), make([]unit.Time, p)
	r.t.Peak, r.t.PeakInputOnly = make([]int, p), make([]int, p)
	return r
}

// clock is when a device is free.
func (r *piecesRun) clock(d int) unit.Time {
	if n := len(r.t.End[d]); n > 0 {
		return r.t.End[d][n-1]
	}
	return 0
}

// put runs a pass or a piece.
func (r *piecesRun) put(d int, slot Slot, start, cost unit.Time) {
	end := start + cost
	t := r.t
	t.Order[d], t.Start[d], t.End[d] = append(t.Order[d], slot), append(t.Start[d], start), append(t.End[d], end)
	t.Busy[d] += cost
	t.Span[d] = end - t.Start[d][0]
	t.Makespan = max(t.Makespan, end)
}

// piece is how long the next one takes; false where none is due.
func (r *piecesRun) piece(d int) (unit.Time, bool) {
	if len(r.weights[d]) == 0 {
		return 0, false
	}
	return r.cutOf(r.weights[d][0])[r.cut[d]], true
}

// putPiece runs the next piece.
func (r *piecesRun) putPiece(d int) {
	cost, _ := r.piece(d)
	r.put(d, r.weights[d][0], r.clock(d), cost)
	if r.cut[d]++; r.cut[d] == len(r.cutOf(r.weights[d][0])) {
		r.weights[d], r.cut[d] = r.weights[d][1:], 0
		r.held[d]--
	}
}

// step runs a device's next pass if its inputs are known, and the pieces before
// it; behind the last pass, the pieces that are left. It returns how many ran.
func (r *piecesRun) step(d int) int {
	if r.at[d] == len(r.todo[d]) {
		return 0
	}
	slot := r.todo[d][r.at[d]]
	arrival, ok := r.arrival(d, slot)
	if !ok {
		return 0
	}
	before := len(r.t.End[d])
	// The limit is at least what the order holds: where it is reached a weight
	// gradient is due.
	for slot.Phase == F && r.held[d] == r.limit {
		r.putPiece(d)
	}
	for cost, due := r.piece(d); due && r.clock(d)+cost <= arrival; cost, due = r.piece(d) {
		r.putPiece(d)
	}
	r.put(d, slot, max(r.clock(d), arrival), r.c.At(slot))
	r.ended[r.key(slot)] = r.clock(d)
	if slot.Phase == F {
		r.held[d]++
		r.inputs[d]++
		r.t.Peak[d] = max(r.t.Peak[d], r.held[d])
		r.t.PeakInputOnly[d] = max(r.t.PeakInputOnly[d], r.inputs[d])
	} else {
		r.inputs[d]--
		slot.Phase = W
		r.weights[d] = append(r.weights[d], slot)
	}
	if r.at[d]++; r.at[d] == len(r.todo[d]) {
		for len(r.weights[d]) > 0 {
			r.putPiece(d)
		}
	}
	return len(r.t.End[d]) - before
}
