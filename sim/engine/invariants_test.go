//go:build invariants

package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// TestInvariantsCatch: each way of breaking a good timeline is an error.
func TestInvariantsCatch(t *testing.T) {
	p := &program.Program{}
	a, b, w := p.AddLane(0, "compute"), p.AddLane(0, "nic"), p.AddWork(program.Work{})
	first := p.Add(a, w)
	p.Add(a, w)
	p.Add(b, w, first)
	for name, harm := range map[string]func(*timeline.Timeline){
		"overlap":    func(t *timeline.Timeline) { t.Start[1] = 4 },
		"dependency": func(t *timeline.Timeline) { t.Start[2] = 4 },
		"backwards":  func(t *timeline.Timeline) { t.End[1] = 4 },
		"blocker":    func(t *timeline.Timeline) { t.Blocker[2] = 1 },
		"no blocker": func(t *timeline.Timeline) { t.Blocker[2] = program.None },
		"program":    func(t *timeline.Timeline) { t.Program.Dep[0] = 2 },
	} {
		var tl timeline.Timeline
		require.NoError(t, Relax(p, []unit.Time{5}, &tl))
		harm(&tl)
		require.Error(t, checkInvariants(&tl), name)
		p.Dep[0] = first
	}
}
