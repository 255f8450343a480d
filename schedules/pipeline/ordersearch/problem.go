// Package ordersearch looks for a pipeline order: it starts from every named
// schedule that fits and from list scheduling, improves what it has by tabu search
// on the longest path under a memory limit, and bounds from below what no order
// can beat.
//
// Microbatches are alike, so that those of an order may be renumbered: on each
// stage the k-th forward, k-th backward for inputs and k-th one for weights can be
// of the same microbatch k without any pass starting later or any device holding
// more (a pass that had its k-th input has at least k of them). An order is then a
// word for each device that says which stage and phase comes next. Slices of a
// microbatch go from first to last in forwards and from last to first in backwards.
package ordersearch

import (
	"fmt"
	"math"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// Problem is what an order is looked for.
type Problem struct {
	Shape     pipeline.Shape
	Placement Placement
	// Costs may differ by stage, phase and slice, not by microbatch.
	Costs pipeline.Costs
	// Fused keeps backward passes whole; else each is a pass for inputs and one for
	// weights, which may be put off.
	Fused bool
	// Limit is the most activations (of one chunk and slice) that a device may hold,
	// from the start of the forward to the end of the backward, the one for weights
	// included; 0 is no limit.
	Limit int
}

// MaxPasses bounds the passes of a problem: both directions of its longest path are
// kept for each.
const MaxPasses = 1 << 20

// pass numbers the passes of a model from 0: stage by stage, phase by phase, in the
// order in which a stage runs those of a phase. none stands for no pass.
type pass = int32

const none pass = -1

// model is a problem in arrays.
type model struct {
	Problem
	stages, phases, each int         // each: passes of a stage and phase
	device               []int32     // by stage
	cost                 []unit.Time // by pass, as what follows
	on, kinds            []int32     // device; stage and phase in one number
	phaseOf, adds        []int8      // adds: to the activations of the device when it is over
	// A pass takes the output of giver, after lag, and that of an earlier phase of
	// its own stage; taker and later are the other way round.
	giver, earlier, taker, later []pass
	lagIn, lagOut                []unit.Time
	work                         [][]pass // by device
}

// phasesOf are the phases in which a stage passes a microbatch.
func (p *Problem) phasesOf() []pipeline.Phase {
	if p.Fused {
		return []pipeline.Phase{pipeline.F, pipeline.B}
	}
	return []pipeline.Phase{pipeline.F, pipeline.I, pipeline.W}
}

// Check returns what is wrong with the sizes, or nil.
func (p *Problem) Check() error {
	s := p.Shape
	s.Slices = max(s.Slices, 1)
	for _, size := range []int{s.Devices, s.Virtual, s.Microbatches, s.Slices} {
		if size < 1 {
			return fmt.Errorf("%d devices, %d chunks a device, %d microbatches, %d slices: want 1 or more of each", s.Devices, s.Virtual, s.Microbatches, s.Slices)
		}
	}
	if s.Group != 0 {
		return fmt.Errorf("microbatches are not grouped here, got group size %d", s.Group)
	}
	total := float64(len(p.phasesOf())) * float64(s.Devices) * float64(s.Virtual) * float64(s.Microbatches) * float64(s.Slices)
	if total > MaxPasses {
		return fmt.Errorf("%.0f passes (%d devices x %d chunks x %d microbatches x %d slices x %d phases), at most %d are searched",
			total, s.Devices, s.Virtual, s.Microbatches, s.Slices, len(p.phasesOf()), MaxPasses)
	}
	if err := p.Placement.check(s); err != nil {
		return err
	}
	if least := s.Virtual * s.Slices; p.Limit < 0 {
		return fmt.Errorf("a limit of %d activations: want 0 for none, or as many as a microbatch has", p.Limit)
	} else if p.Limit != 0 && p.Limit < least {
		return fmt.Errorf("a limit of %d activations is below the %d of one microbatch (%d chunks x %d slices) that every device holds before it can give any back", p.Limit, least, s.Virtual, s.Slices)
	}
	return nil
}

// newModel numbers the passes of a problem and prices them.
func newModel(p Problem) (*model, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	p.Shape.Slices = max(p.Shape.Slices, 1)
	phases := p.phasesOf()
	m := &model{Problem: p, stages: p.Shape.Devices * p.Shape.Virtual, phases: len(phases), each: p.Shape.Microbatches * p.Shape.Slices}
	n := m.stages * m.phases * m.each
	m.device, m.cost = make([]int32, m.stages), make([]unit.Time, n)
	m.giver, m.earlier, m.taker, m.later = fill(n, none), fill(n, none), fill(n, none), fill(n, none)
	m.lagIn, m.lagOut = make([]unit.Time, n), make([]unit.Time, n)
	m.on, m.kinds, m.phaseOf, m.adds = make([]int32, n), make([]int32, n), make([]int8, n), make([]int8, n)
	m.work = make([][]pass, p.Shape.Devices)
	for s := range m.device {
		m.device[s] = int32(p.Placement.device(p.Shape, s))
	}
	for x := range pass(n) {
		m.kinds[x] = x / pass(m.each)
		m.phaseOf[x] = int8(m.kinds[x] % int32(m.phases))
		m.on[x] = m.device[m.stage(x)]
		switch m.phase(x) {
		case 0:
			m.adds[x] = 1
		case m.phases - 1:
			m.adds[x] = -1
		}
	}
	total := 0.0
	for x := range pass(n) {
		slot := m.slot(x)
		cost := m.Costs.At(slot)
		if cost < 0 || m.Costs.Comm < 0 {
			return nil, fmt.Errorf("costs cannot be negative: %v takes %d, a transfer %d", slot, cost, m.Costs.Comm)
		}
		m.cost[x] = cost
		total += float64(cost) + float64(m.Costs.Comm)
		d := m.on[x]
		m.work[d] = append(m.work[d], x)
		m.connect(x, int(slot.Stage), slot.Phase)
	}
	if total > math.MaxInt64/4 {
		return nil, fmt.Errorf("the costs of %d passes leave the range of time", n)
	}
	return m, nil
}

// connect finds what pass x of a stage waits for.
func (m *model) connect(x pass, stage int, phase pipeline.Phase) {
	from := none
	switch k := int(x) % m.each; {
	case phase == pipeline.F && stage > 0:
		from = m.pass(stage-1, 0, k)
	case phase == pipeline.W:
		m.earlier[x] = m.pass(stage, 1, k)
	case phase != pipeline.F:
		if stage < m.stages-1 {
			from = m.pass(stage+1, 1, k)
		}
		n := m.Shape.Slices // slices come back in reverse
		m.earlier[x] = m.pass(stage, 0, k/n*n+n-1-k%n)
	}
	if own := m.earlier[x]; own != none {
		m.later[own] = x
	}
	if from == none {
		return
	}
	m.giver[x], m.taker[from] = from, x
	if m.on[from] != m.on[x] {
		m.lagIn[x], m.lagOut[from] = m.Costs.Comm, m.Costs.Comm
	}
}

func (m *model) pass(stage, phase, k int) pass { return pass((stage*m.phases+phase)*m.each + k) }
func (m *model) kind(x pass) int               { return int(m.kinds[x]) }
func (m *model) stage(x pass) int              { return int(m.kinds[x]) / m.phases }
func (m *model) phase(x pass) int              { return int(m.phaseOf[x]) }
func (m *model) holds(x pass) int              { return int(m.adds[x]) }

// slot is a pass as a slot.
func (m *model) slot(x pass) pipeline.Slot {
	k, n := int(x)%m.each, m.Shape.Slices
	slot := pipeline.Slot{Phase: m.phasesOf()[m.phase(x)], Stage: int32(m.stage(x)), Microbatch: int32(k / n), Slice: int32(k % n)}
	if slot.Phase != pipeline.F {
		slot.Slice = int32(n - 1 - k%n)
	}
	return slot
}

// slots is an order in slots.
func (m *model) slots(order [][]pass) [][]pipeline.Slot {
	out := make([][]pipeline.Slot, len(order))
	for d, word := range order {
		out[d] = make([]pipeline.Slot, len(word))
		for i, x := range word {
			out[d][i] = m.slot(x)
		}
	}
	return out
}

// passes is an order of slots with its microbatches renumbered in turn. It asks for
// an order that has every pass of the model, whose backwards may be whole where
// those of the model are not.
func (m *model) passes(order [][]pipeline.Slot) [][]pass {
	next := make([]int, m.stages*m.phases)
	out := make([][]pass, len(order))
	for d, slots := range order {
		out[d] = make([]pass, 0, len(m.work[d]))
		for _, slot := range slots {
			phases := []int{0}
			switch {
			case slot.Phase == pipeline.F:
			case slot.Phase == pipeline.W:
				phases[0] = 2
			case slot.Phase == pipeline.B && !m.Fused:
				phases = []int{1, 2}
			default:
				phases[0] = 1
			}
			for _, phase := range phases {
				kind := int(slot.Stage)*m.phases + phase
				out[d] = append(out[d], pass(kind*m.each+next[kind]))
				next[kind]++
			}
		}
	}
	return out
}

func fill(n int, x pass) []pass {
	out := make([]pass, n)
	for i := range out {
		out[i] = x
	}
	return out
}
