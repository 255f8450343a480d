package program_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/sim/program"
)

// TestCheckCatches: each way of breaking a good program is an error.
func TestCheckCatches(t *testing.T) {
	good := func() *program.Program {
		p := &program.Program{}
		l, w := p.AddLane(0, "compute"), p.AddWork(program.Work{})
		p.Add(l, w, p.Add(l, w))
		p.Mem = []program.MemEvent{{Op: 1, Bytes: 8}}
		return p
	}
	require.NoError(t, good().Check())
	require.NoError(t, (&program.Program{}).Check())
	for name, harm := range map[string]func(*program.Program){
		"works":             func(p *program.Program) { p.Work = p.Work[:1] },
		"offsets":           func(p *program.Program) { p.DepAt = p.DepAt[:2] },
		"lane":              func(p *program.Program) { p.Lane[1] = 1 },
		"negative lane":     func(p *program.Program) { p.Lane[1] = -1 },
		"work":              func(p *program.Program) { p.Work[0] = 1 },
		"first offset":      func(p *program.Program) { p.DepAt[0] = 1; p.DepAt[1] = 1 },
		"falling offsets":   func(p *program.Program) { p.DepAt[1] = 2 },
		"offsets too large": func(p *program.Program) { p.DepAt[2] = 2 },
		"later dependency":  func(p *program.Program) { p.Dep[0] = 1 },
		"no dependency":     func(p *program.Program) { p.Dep[0] = program.None },
		"rank":              func(p *program.Program) { p.Lanes[0].Rank = -1 },
		"memory":            func(p *program.Program) { p.Mem[0].Op = 2 },
	} {
		p := good()
		harm(p)
		require.Error(t, p.Check(), name)
	}
}
