package program_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/program"
)

// drafted is a draft together with what was put into it.
type drafted struct {
	program.Draft
	lane []program.LaneID
	work []program.WorkID
	deps [][2]program.Ref // op, on
}

// anyDraft has ops in lanes with arbitrary dependencies, in any order.
func anyDraft(t *rapid.T) *drafted {
	d := &drafted{}
	lanes := rapid.IntRange(1, 6).Draw(t, "lanes")
	works := rapid.IntRange(1, 3).Draw(t, "works")
	for l := range lanes {
		d.AddLane(int32(l/2), "lane")
	}
	for range works {
		d.AddWork(program.Work{Name: "work"})
	}
	n := rapid.IntRange(0, 40).Draw(t, "ops")
	for range n {
		l := program.LaneID(rapid.IntRange(0, lanes-1).Draw(t, "lane"))
		w := program.WorkID(rapid.IntRange(0, works-1).Draw(t, "work"))
		d.lane, d.work = append(d.lane, l), append(d.work, w)
		require.EqualValues(t, len(d.lane)-1, d.Op(l, w))
	}
	return d
}

func (d *drafted) dep(op, on int) {
	d.deps = append(d.deps, [2]program.Ref{program.Ref(op), program.Ref(on)})
	d.Dep(program.Ref(op), program.Ref(on))
}

// waits lists what each op waits for: its dependencies and the op before it in
// its lane.
func (d *drafted) waits() [][]int {
	out := make([][]int, len(d.lane))
	last := map[program.LaneID]int{}
	for i, l := range d.lane {
		if prev, ok := last[l]; ok {
			out[i] = append(out[i], prev)
		}
		last[l] = i
	}
	for _, e := range d.deps {
		out[e[0]] = append(out[e[0]], int(e[1]))
	}
	return out
}

// circular reports whether some ops wait for each other, by removing what waits
// for nothing until nothing changes.
func circular(waits [][]int) bool {
	done := make([]bool, len(waits))
	left := len(waits)
	for changed := true; changed; {
		changed = false
		for i, w := range waits {
			if !done[i] && !slices.ContainsFunc(w, func(on int) bool { return !done[on] }) {
				done[i], changed = true, true
				left--
			}
		}
	}
	return left > 0
}

// TestBuildKeepsTheDraft: what Build returns is a topological numbering of the
// same ops, in the same lanes, with the same dependencies in the same order.
func TestBuildKeepsTheDraft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDraft(t)
		n := len(d.lane)
		// A random order that respects the lanes is a topological order of the
		// dependencies drawn from it, and hidden from Build.
		order := rapid.Permutation(seq(n)).Draw(t, "order")
		byLane := map[program.LaneID][]int{}
		for i, l := range d.lane {
			byLane[l] = append(byLane[l], i)
		}
		for k, i := range order {
			l := d.lane[i]
			order[k], byLane[l] = byLane[l][0], byLane[l][1:]
		}
		if n > 1 {
			for range rapid.IntRange(0, 2*n).Draw(t, "deps") {
				a := rapid.IntRange(1, n-1).Draw(t, "op")
				d.dep(order[a], order[rapid.IntRange(0, a-1).Draw(t, "on")])
			}
		}
		p, id, err := d.Build()
		require.NoError(t, err)
		require.NoError(t, p.Check())
		require.Equal(t, n, p.Len())
		deps := make([][]program.OpID, n)
		for _, e := range d.deps {
			deps[e[0]] = append(deps[e[0]], id[e[1]])
		}
		used := make([]bool, n)
		for i := range n {
			at := id[i]
			require.False(t, used[at], "two ops have number %d", at)
			used[at] = true
			require.Equal(t, d.lane[i], p.Lane[at])
			require.Equal(t, d.work[i], p.Work[at])
			require.ElementsMatch(t, deps[i], p.Deps(at))
			require.True(t, slices.Equal(deps[i], p.Deps(at)), "dependencies of op %d change order", i)
		}
		for op, w := range d.waits() {
			for _, on := range w {
				require.Less(t, id[on], id[op])
			}
		}
		again, id2, err := d.Build()
		require.NoError(t, err)
		require.Equal(t, p, again)
		require.Equal(t, id, id2)
	})
}

// TestBuildNamesACircle: Build fails exactly where ops wait for each other, and
// each op that it names waits for the next.
func TestBuildNamesACircle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDraft(t)
		n := len(d.lane)
		if n > 0 {
			for range rapid.IntRange(0, n).Draw(t, "deps") {
				d.dep(rapid.IntRange(0, n-1).Draw(t, "op"), rapid.IntRange(0, n-1).Draw(t, "on"))
			}
		}
		waits := d.waits()
		_, _, err := d.Build()
		if !circular(waits) {
			require.NoError(t, err)
			return
		}
		var c *program.CycleError
		require.True(t, errors.As(err, &c), "%v", err)
		require.NotEmpty(t, c.Ops)
		for i, op := range c.Ops {
			next := c.Ops[(i+1)%len(c.Ops)]
			direct := slices.Contains(waits[op], int(next))
			behind := d.lane[op] == d.lane[next] && next < op
			require.True(t, direct || behind, "op %d does not wait for op %d: %v", op, next, err)
		}
	})
}

// TestBuildTellsTheCircle: two stages that each receive before they send.
func TestBuildTellsTheCircle(t *testing.T) {
	var d program.Draft
	a, b := d.AddLane(0, "compute"), d.AddLane(1, "compute")
	recv, send := d.AddWork(program.Work{Name: "receive"}), d.AddWork(program.Work{Name: "send"})
	ra, sa := d.Op(a, recv), d.Op(a, send)
	rb, sb := d.Op(b, recv), d.Op(b, send)
	d.Dep(ra, sb)
	d.Dep(rb, sa)
	_, _, err := d.Build()
	require.EqualError(t, err, "program: ops wait for each other:"+
		" op 0 (receive on rank 0, compute) waits for op 3 (send on rank 1, compute), which is behind op 2 (receive on rank 1, compute);"+
		" op 2 (receive on rank 1, compute) waits for op 1 (send on rank 0, compute), which is behind op 0 (receive on rank 0, compute)")
}

func TestBuildRefusesWhatIsNotThere(t *testing.T) {
	for want, f := range map[string]func(*program.Draft){
		"program: op 0 is on lane 1 of 1":          func(d *program.Draft) { d.Op(1, 0) },
		"program: op 0 is work 3 of 1":             func(d *program.Draft) { d.Op(0, 3) },
		"program: op 0 depends on op 7, of 1 ops":  func(d *program.Draft) { d.Dep(d.Op(0, 0), 7) },
		"program: op -1 depends on op 0, of 1 ops": func(d *program.Draft) { d.Dep(-1, d.Op(0, 0)) },
		"program: op 0 is on lane -1 of 1":         func(d *program.Draft) { d.Op(-1, 0) },
	} {
		var d program.Draft
		d.AddLane(0, "compute")
		d.AddWork(program.Work{})
		f(&d)
		_, _, err := d.Build()
		require.EqualError(t, err, want)
	}
}

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

func seq(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// BenchmarkDraft1F1B64x1024 drafts and builds a step of one-forward-one-backward
// over 64 stages and 1,024 microbatches, lane by lane.
func BenchmarkDraft1F1B64x1024(b *testing.B) {
	const p, m = 64, 1024
	ops := 0
	f, bw := make([]program.Ref, p*m), make([]program.Ref, p*m)
	for b.Loop() {
		var d program.Draft
		fw, bk, send := d.AddWork(program.Work{}), d.AddWork(program.Work{}), d.AddWork(program.Work{})
		for s := range p {
			compute, sendF, sendB := d.AddLane(int32(s), "compute"), d.AddLane(int32(s), "send forward"), d.AddLane(int32(s), "send backward")
			for i, j := 0, 0; j < m; {
				if i < m && i-j < p-s {
					op := d.Op(compute, fw)
					f[s*m+i] = op
					if s > 0 { // behind the send of the stage before, whose ref follows its pass
						d.Dep(op, f[(s-1)*m+i]+1)
					}
					if s+1 < p {
						d.Dep(d.Op(sendF, send), op)
					}
					i++
				} else {
					op := d.Op(compute, bk)
					bw[s*m+j] = op
					if s > 0 {
						back := d.Op(sendB, send)
						d.Dep(back, op)
						d.Dep(bw[(s-1)*m+j], back) // forward reference, seen from the stage before
					}
					if s+1 == p {
						d.Dep(op, f[s*m+j])
					}
					j++
				}
			}
		}
		prog, _, err := d.Build()
		if err != nil {
			b.Fatal(err)
		}
		ops = prog.Len()
	}
	b.ReportMetric(float64(ops)*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportAllocs()
}
