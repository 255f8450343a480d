package ordersearch

import (
	"cmp"
	"fmt"
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// Named is a schedule of the catalogue under the problem's costs.
type Named struct {
	Name string
	// Why it is no starting point and not compared; then the rest is zero.
	Problem string
	Timing  *pipeline.Timing
	Fits    bool // within the limit
	// Pairs is the order with its overlapped pairs, nil where it has none. Timing has
	// them one pass after the other, each as soon as it can.
	Pairs [][]pipeline.Slot
}

// Peak is the most activations that a device holds.
func (n *Named) Peak() int { return slices.Max(n.Timing.Peak) }

// named times every named schedule that has the problem's placement on its shape,
// by name.
func (m *model) named() []Named {
	var out []Named
	for _, s := range pipeline.All() {
		if _, ok := s.(pipeline.Multimodal); !ok {
			out = append(out, m.timed(s.Name(), s, s.Check(m.Shape)))
		}
	}
	for _, a := range pipeline.Autos() {
		out = append(out, m.fitted(a))
	}
	slices.SortFunc(out, func(a, b Named) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// fitted is an automatic schedule at the limit with which its order is fastest and
// within the problem's. Its own limit counts what weight gradients hold as half.
func (m *model) fitted(a pipeline.Auto) Named {
	if err := a.Check(m.Shape); err != nil {
		return Named{Name: a.Name(), Problem: err.Error()}
	}
	costs := m.Costs
	if costs.Vary != nil {
		costs = m.meanCosts()
	}
	p, v := float64(m.Shape.Devices), float64(m.Shape.Virtual)
	limits := []float64{0, p, 2 * p}
	if m.Limit > 0 {
		limits = nil
		for l := float64(m.Limit) / v; l >= 1 && len(limits) < 16; l -= 0.5 {
			limits = append(limits, l)
		}
	}
	best := Named{Name: a.Name(), Problem: "no order within the limit"}
	for _, limit := range limits {
		s, err := a.Order(m.Shape, costs, limit)
		if err != nil {
			continue
		}
		n := m.timed(a.Name(), s, nil)
		if n.Problem == "" && (best.Problem != "" || n.Fits && !best.Fits || n.Fits == best.Fits && n.Timing.Makespan < best.Timing.Makespan) {
			best = n
		}
	}
	return best
}

// meanCosts are the mean costs of the phases, for heuristics that take one a phase.
func (m *model) meanCosts() pipeline.Costs {
	sum := make([]float64, m.phases)
	for x := range m.cost {
		sum[m.phase(pass(x))] += float64(m.cost[x])
	}
	n := float64(m.stages * m.each)
	c := pipeline.Costs{F: unit.Time(sum[0] / n), I: unit.Time(sum[1] / n), Comm: m.Costs.Comm}
	if !m.Fused {
		c.W = unit.Time(sum[2] / n)
	}
	return c
}

func (m *model) timed(name string, s pipeline.Schedule, wrong error) Named {
	n := Named{Name: name}
	problem := func(err error) Named {
		n.Problem = err.Error()
		return n
	}
	switch {
	case wrong != nil:
		return problem(wrong)
	case pipeline.Replicas(s) > 1:
		return problem(fmt.Errorf("every stage is held %d times", pipeline.Replicas(s)))
	case !m.Placement.Holds(s, m.Shape):
		return problem(fmt.Errorf("stages are placed another way than %s", m.Placement))
	}
	order, err := s.Order(m.Shape)
	if err != nil {
		return problem(err)
	}
	alone := make([][]pipeline.Slot, len(order))
	for d, slots := range order {
		alone[d] = slices.Clone(slots)
		for i, slot := range slots {
			if slot.Paired {
				n.Pairs, alone[d][i].Paired = order, false
			}
			if m.Fused && slot.Phase != pipeline.F && slot.Phase != pipeline.B {
				return problem(fmt.Errorf("backward passes are split"))
			}
		}
	}
	t, err := pipeline.Simulate(&Order{m.Problem, alone}, m.Shape, m.Costs)
	if err != nil {
		return problem(err)
	}
	n.Timing = t
	n.Fits = m.Limit == 0 || n.Peak() <= m.Limit
	return n
}
