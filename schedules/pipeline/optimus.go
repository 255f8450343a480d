package pipeline

import (
	"fmt"
	"sort"

	"orrery/sim/unit"
)

func init() { register(optimus{Modules{Encoder: true}}) }

// optimus is Optimus (arXiv:2408.03505): every device holds the whole encoder and
// runs it in the bubbles of the LLM's interleaved 1F1B, kernel by kernel, where the
// dependencies allow; what does not fit comes before the LLM starts or after it has
// ended. Kernels are Pieces of equal length here. Forwards go as early as they can
// under the least delay of the LLM's start that lets all of them be in time, so that
// up to m/p units are held. The paper has no generators; its units are where bigmac
// has them. The paper also searches for an encoder's own layout, which is not here.
type optimus struct{ m Modules }

// usualPieces is the kernels that an encoder's pass counts as where nothing is said.
const usualPieces = 8

func (optimus) Name() string { return "optimus" }

func (optimus) Describe() string {
	return "encoder passes in pieces in the bubbles of the LLM's interleaved 1f1b, m/p units held (Optimus, arXiv:2408.03505)"
}

// With takes Pieces and Costs.
func (o optimus) With(m Modules) Multimodal { return optimus{m} }

func (o optimus) modules() Modules { return o.m }

func (o optimus) pieces() int {
	if o.m.Pieces == 0 {
		return usualPieces
	}
	return o.m.Pieces
}

// ModuleStages: each piece is a stage of the encoder.
func (o optimus) ModuleStages(s Shape) [numModules]int {
	n := wholeModules(o.m, s)
	n[Encoder] *= o.pieces()
	return n
}

func (o optimus) Device(s Shape, pass Slot) int {
	return wholeDevice(o.ModuleStages(s)[Encoder], s, pass)
}

func (o optimus) Check(s Shape) error {
	if err := s.checkUnits(); err != nil {
		return err
	}
	if err := o.m.check(); err != nil {
		return err
	}
	s.Slices = o.pieces() // which bounds the passes
	if s.check() != nil {
		return fmt.Errorf("an encoder's passes in %d pieces over %d devices and %d microbatches are more than %d", o.pieces(), s.Devices, s.Microbatches, maxPasses)
	}
	return nil
}

func (o optimus) Order(s Shape) ([][]Slot, error) {
	if err := o.Check(s); err != nil {
		return nil, err
	}
	// In units of time so fine that a piece takes a whole number of them.
	c := o.m.costs()
	rest := o.m
	rest.Encoder = false
	var err error
	if rest.Costs, err = c.Scaled(int64(o.pieces())); err != nil {
		return nil, err
	}
	rest.Costs.EncoderF, rest.Costs.EncoderB = c.EncoderF, c.EncoderB // of a piece
	t, err := withoutEncoder(rest, s)
	if err != nil {
		return nil, err
	}
	if !o.m.Encoder {
		return t.Order, nil
	}
	f := newFilling(s, t, rest.Costs, o.pieces())
	start := unit.Time(0)
	for d := range s.Devices {
		start = min(start, f.latestStart(d))
	}
	order := make([][]Slot, s.Devices)
	for d := range order {
		order[d] = f.fill(d, start)
	}
	return order, nil
}

// withoutEncoder times the LLM, with its generator where there is one: what leaves
// the bubbles.
func withoutEncoder(rest Modules, s Shape) (*Timing, error) {
	c := rest.Costs
	if !rest.Generator {
		return Simulate(ledInterleaved{}, s, Costs{F: c.F, I: c.B, Comm: c.Comm})
	}
	nested := bigMac{rest}
	costs, err := c.Costs(nested, s)
	if err != nil {
		return nil, err
	}
	return Simulate(nested, s, costs)
}

// filling puts pieces of encoder passes into the bubbles of a timeline.
type filling struct {
	shape  Shape
	t      *Timing // its stages count from 0
	pieces int
	f, b   unit.Time // of one piece
	// By microbatch: when the LLM needs the encoder's output, and when it is done.
	needed, done []unit.Time
}

// newFilling has costs in which a piece takes what c says of the whole encoder.
func newFilling(s Shape, t *Timing, c ModuleCosts, pieces int) *filling {
	l := &filling{shape: s, t: t, pieces: pieces, f: c.EncoderF, b: c.EncoderB, needed: make([]unit.Time, s.Microbatches), done: make([]unit.Time, s.Microbatches)}
	for i, slot := range t.Order[0] {
		if slot.Stage != 0 {
			continue
		}
		mb := slot.Microbatch
		away := c.Comm
		if int(mb)%s.Devices == 0 {
			away = 0
		}
		if slot.Phase == F {
			l.needed[mb] = t.Start[0][i] - away
		} else {
			l.done[mb] = t.End[0][i] + away
		}
	}
	return l
}

// latestStart is when the encoder's forwards of device d have to start for all to
// be in time: packed from the last backwards, each as late as it can.
func (l *filling) latestStart(d int) unit.Time {
	at, i := unit.Time(1)<<62, len(l.t.Order[d])-1
	for mb := l.shape.Microbatches - l.shape.Devices + d; mb >= 0; mb -= l.shape.Devices {
		at = min(at, l.needed[mb])
		for range l.pieces {
			for i >= 0 && at-l.f < l.t.End[d][i] {
				at = min(at, l.t.Start[d][i]) // which may be before the pass already
				i--
			}
			at -= l.f
		}
	}
	return at
}

// placed is a pass at its time.
type placed struct {
	start unit.Time
	slot  Slot
}

// fill is the order of device d: the timeline's passes with the encoder's between
// them, forwards from start on and backwards when their gradients are there.
func (l *filling) fill(d int, start unit.Time) []Slot {
	var all []placed
	busy := l.busy(d)
	at := start
	for mb := d; mb < l.shape.Microbatches; mb += l.shape.Devices {
		for piece := range l.pieces {
			at = busy.put(at, l.f)
			all = append(all, placed{at, Slot{Phase: F, Stage: int32(piece), Microbatch: int32(mb)}})
			at += l.f
		}
	}
	busy.take(all, l.f)
	at = start
	for mb := d; mb < l.shape.Microbatches; mb += l.shape.Devices {
		at = max(at, l.done[mb])
		for piece := l.pieces - 1; piece >= 0; piece-- {
			at = busy.put(at, l.b)
			all = append(all, placed{at, Slot{Phase: B, Stage: int32(piece), Microbatch: int32(mb)}})
			at += l.b
		}
	}
	for i, slot := range l.t.Order[d] {
		slot.Stage += int32(l.pieces)
		all = append(all, placed{l.t.Start[d][i], slot})
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].start < all[j].start })
	order := make([]Slot, len(all))
	for i, p := range all {
		order[i] = p.slot
	}
	return order
}

// spans are when a device is busy, ascending, and how far a search has come.
type spans struct {
	from, to []unit.Time
	next     int
}

func (l *filling) busy(d int) *spans {
	return &spans{from: l.t.Start[d], to: l.t.End[d]}
}

// put finds the first time from at on when the device is free for so long. Calls
// ask for ascending times.
func (s *spans) put(at, long unit.Time) unit.Time {
	for s.next < len(s.from) && s.from[s.next] < at+long {
		at = max(at, s.to[s.next])
		s.next++
	}
	return at
}

// take makes the device busy with passes of one length, too, and starts over.
func (s *spans) take(passes []placed, long unit.Time) {
	from, to := make([]unit.Time, 0, len(s.from)+len(passes)), make([]unit.Time, 0, len(s.from)+len(passes))
	i := 0
	for _, p := range passes {
		for ; i < len(s.from) && s.from[i] < p.start; i++ {
			from, to = append(from, s.from[i]), append(to, s.to[i])
		}
		from, to = append(from, p.start), append(to, p.start+long)
	}
	s.from, s.to, s.next = append(from, s.from[i:]...), append(to, s.to[i:]...), 0
}
