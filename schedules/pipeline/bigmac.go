package pipeline

import (
	"fmt"
	"slices"
	"sort"

	"orrery/sim/unit"
)

func init() { register(bigMac{Modules{Encoder: true}}) }

// bigMac is BigMac's nested pipeline (arXiv:2605.25451): the LLM runs interleaved
// 1F1B, the encoder and the generator are whole on every device. A unit is what p
// microbatches need of a module: device r runs microbatch g*p+r. Units stand inside
// the LLM's order where they are first possible:
//
//   - W units of encoder forwards come first.
//   - The encoder's backward of unit g follows the last of its p microbatches' LLM
//     backwards, and the forward of unit g+W stands right behind it.
//   - The generator's forward and backward of unit g follow the last of its LLM
//     forwards; p more warm-up forwards let all of them precede the first backward.
//
// Every device puts a unit at the same instant of the LLM's own timeline. What
// starts later is later by the unit's time, everything else stays: the LLM's bubbles
// do not grow, and never more than W encoder units and one generator unit are held.
// The order is reconstructed from descriptions of the paper; that W = 3, which it
// gives, is just what keeps this order from a deadlock speaks for it.
type bigMac struct{ m Modules }

// NestedWarmup is W of the paper, the units of encoder forwards at the start.
const NestedWarmup = 3

func (bigMac) Name() string { return "bigmac" }

func (bigMac) Describe() string {
	return "encoder and generator units nested into interleaved 1f1b at no bubble, 3 units held (BigMac, arXiv:2605.25451)"
}

// With takes Warmup and Costs.
func (b bigMac) With(m Modules) Multimodal { return bigMac{m} }

func (b bigMac) modules() Modules { return b.m }

func (b bigMac) ModuleStages(s Shape) [numModules]int { return wholeModules(b.m, s) }

func (b bigMac) Device(s Shape, pass Slot) int {
	return wholeDevice(b.ModuleStages(s)[Encoder], s, pass)
}

// wholeModules is the stages where encoder and generator are whole on every device.
func wholeModules(m Modules, s Shape) [numModules]int {
	n := [numModules]int{LLM: s.chunks()}
	if m.Encoder {
		n[Encoder] = 1
	}
	if m.Generator {
		n[Generator] = 1
	}
	return n
}

// wholeDevice is where a pass runs then, with so many stages of the encoder: those of
// encoder and generator on the device of the microbatch's place in its group.
func wholeDevice(encoder int, s Shape, pass Slot) int {
	stage := int(pass.Stage) - encoder
	if stage < 0 || stage >= s.chunks() {
		return int(pass.Microbatch) % s.Devices
	}
	return stage % s.Devices
}

// Check refuses what is not p microbatches a unit.
func (b bigMac) Check(s Shape) error {
	if err := s.checkUnits(); err != nil {
		return err
	}
	return b.m.check()
}

// checkUnits is check for schedules that run encoder and generator in units of p
// microbatches.
func (s Shape) checkUnits() error {
	if err := s.checkWhole(); err != nil {
		return err
	}
	switch p, m := s.Devices, s.Microbatches; {
	case p < 2:
		return fmt.Errorf("one device has no pipeline to nest units in; 2 or more would do")
	case m%p != 0:
		return fmt.Errorf("%d microbatches are not units of one a device, %d; %d or %d would do", m, p, max(m/p*p, p), (m/p+1)*p)
	case s.Group != 0 && s.Group != p:
		return fmt.Errorf("microbatches are grouped by the %d devices here, got group size %d", p, s.Group)
	}
	return nil
}

func (b bigMac) Order(s Shape) ([][]Slot, error) {
	if err := b.Check(s); err != nil {
		return nil, err
	}
	llm, err := newNesting(b, s)
	if err != nil {
		return nil, err
	}
	units, w := s.Microbatches/s.Devices, b.m.Warmup
	if w == 0 {
		w = NestedWarmup
	}
	w = min(w, units)
	var blocks []block
	for g := range units {
		if b.m.Generator {
			blocks = append(blocks, llm.generatorBlock(g))
		}
		if b.m.Encoder {
			after := []pass{{B, Encoder, g}}
			if g+w < units {
				after = append(after, pass{F, Encoder, g + w})
			}
			blocks = append(blocks, block{at: llm.backwards[g], passes: after})
		}
	}
	order := llm.nest(blocks)
	if b.m.Encoder {
		for d := range order {
			var first []Slot
			for g := range w {
				first = append(first, llm.slot(d, pass{F, Encoder, g}))
			}
			order[d] = append(first, order[d]...)
		}
	}
	return order, nil
}

// nesting is an LLM's own timeline, into which units are put.
type nesting struct {
	m     Multimodal
	shape Shape
	n     [numModules]int
	t     *Timing // of the LLM alone; its stages count from 0
	// When the last forward, and the last backward, of each unit has ended. A unit
	// that waited for the transfer too could come behind a pass that needs it.
	forwards, backwards []unit.Time
}

// newNesting times the LLM alone.
func newNesting(m Multimodal, s Shape) (*nesting, error) {
	c := m.modules().costs()
	lead := 0
	if m.modules().Generator {
		lead = s.Devices
	}
	t, err := Simulate(ledInterleaved{lead: lead}, s, Costs{F: c.F, I: c.B, Comm: c.Comm})
	if err != nil {
		return nil, err
	}
	l := &nesting{m: m, shape: s, n: m.ModuleStages(s), t: t}
	last := s.Devices - 1
	l.forwards = l.unitsDone(last, Slot{Phase: F, Stage: int32(l.n[LLM] - 1)})
	l.backwards = l.unitsDone(0, Slot{Phase: B, Stage: 0})
	return l, nil
}

// unitsDone is when device d has ended a pass over the last microbatch of each unit.
func (l *nesting) unitsDone(d int, of Slot) []unit.Time {
	p := l.shape.Devices
	out := make([]unit.Time, l.shape.Microbatches/p)
	for i, slot := range l.t.Order[d] {
		mb := int(slot.Microbatch)
		if slot.Phase == of.Phase && slot.Stage == of.Stage && mb%p == p-1 {
			out[mb/p] = l.t.End[d][i]
		}
	}
	return out
}

// pass is the pass of a module of every device over its microbatch of a unit.
type pass struct {
	phase  Phase
	module Module
	unit   int
}

// block is what every device runs before its first pass of the LLM that starts at
// or after an instant of the LLM's timeline.
type block struct {
	at     unit.Time
	passes []pass
}

func (l *nesting) slot(d int, p pass) Slot {
	stage := 0
	if p.module == Generator {
		stage = l.n[Encoder] + l.n[LLM]
	}
	return Slot{Phase: p.phase, Stage: int32(stage), Microbatch: int32(p.unit*l.shape.Devices + d)}
}

// generatorBlock is the generator's passes over unit g.
func (l *nesting) generatorBlock(g int) block {
	return block{at: l.forwards[g], passes: []pass{{F, Generator, g}, {B, Generator, g}}}
}

// nest puts blocks into the LLM's order; of one instant the first comes first.
func (l *nesting) nest(blocks []block) [][]Slot {
	blocks = slices.Clone(blocks)
	sort.SliceStable(blocks, func(i, j int) bool { return blocks[i].at < blocks[j].at })
	order := make([][]Slot, len(l.t.Order))
	for d, slots := range l.t.Order {
		next := 0
		put := func(until unit.Time, all bool) {
			for ; next < len(blocks) && (all || blocks[next].at <= until); next++ {
				for _, p := range blocks[next].passes {
					order[d] = append(order[d], l.slot(d, p))
				}
			}
		}
		for i, slot := range slots {
			put(l.t.Start[d][i], false)
			slot.Stage += int32(l.n[Encoder])
			order[d] = append(order[d], slot)
		}
		put(0, true)
	}
	return order
}

// ledInterleaved is interleaved 1F1B, or 1F1B where a device has one chunk, in
// groups of p microbatches and with lead more forwards before the first backward.
type ledInterleaved struct {
	looped
	lead int
}

func (ledInterleaved) Name() string        { return "interleaved_1f1b" }
func (ledInterleaved) Describe() string    { return "interleaved_1f1b with a longer warm-up" }
func (ledInterleaved) Check(s Shape) error { return s.checkUnits() }

func (l ledInterleaved) warmup(s Shape, d int) int {
	w := s.Devices - 1 - d
	if s.Virtual > 1 {
		w = 2*w + (s.Virtual-1)*s.Devices
	}
	return min(w+l.lead, s.Microbatches*s.Virtual)
}

func (l ledInterleaved) Order(s Shape) ([][]Slot, error) {
	if err := l.Check(s); err != nil {
		return nil, err
	}
	order := make([][]Slot, s.Devices)
	for d := range order {
		forward, backward := interleavedPasses(s, s.Devices, d)
		order[d] = oneForwardOneBackward(forward, backward, l.warmup(s, d))
	}
	return order, nil
}
