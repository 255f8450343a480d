package sim

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/lower"
	"orrery/sim/unit"
)

// drawUses draws a pass: blocks of kernels and messages that wait for earlier
// ones as lowering makes them, with a duration for each op.
func drawUses(t *rapid.T, name string, messages, weights bool, dur map[*lower.Block][]unit.Time) []lower.Use {
	var uses []lower.Use
	for k := range rapid.IntRange(0, 3).Draw(t, name+" blocks") {
		b := &lower.Block{Name: fmt.Sprint(name, k)}
		for i := range rapid.IntRange(1, 8).Draw(t, "ops") {
			op := lower.Op{Name: fmt.Sprintf("%s %d.%d", name, k, i)}
			switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); {
			case kind == 0 && messages:
				op.Lane = lower.Comm
			case kind == 1 && weights:
				op.Wgrad = true
			}
			if i > 0 && (op.Lane == lower.Comm || rapid.Bool().Draw(t, "waits")) {
				op.After = []int{rapid.IntRange(0, i-1).Draw(t, "after")}
			}
			b.Ops = append(b.Ops, op)
			dur[b] = append(dur[b], unit.Time(rapid.IntRange(0, 100).Draw(t, "duration")))
		}
		uses = append(uses, lower.Use{Block: b, Times: rapid.Int64Range(1, 3).Draw(t, "times")})
	}
	return uses
}

// alone is how long a pass takes by itself, block after block.
func alone(uses []lower.Use, dur map[*lower.Block][]unit.Time) (all unit.Time) {
	for _, u := range uses {
		end := make([]unit.Time, len(u.Block.Ops))
		var free [lower.NumLanes]unit.Time
		for i, op := range u.Block.Ops {
			at := free[op.Lane]
			for _, a := range op.After {
				at = max(at, end[a])
			}
			end[i] = at + dur[u.Block][i]
			free[op.Lane] = end[i]
		}
		all += unit.Time(u.Times) * max(free[0], free[1])
	}
	return all
}

// A pair holds every kernel once, in the order of its strand and after what it
// waits for. It takes at least the compute of both, the messages of both and each
// pass's longest chain; at most one pass after the other; and exactly the sum
// where nothing is sent.
func TestInterleave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dur := map[*lower.Block][]unit.Time{}
		messages := rapid.Bool().Draw(t, "messages")
		pair := &lower.Pair{Forward: drawUses(t, "F", messages, false, dur), Backward: drawUses(t, "B", messages, true, dur)}
		tasks := pair.Tasks()
		d := make([]unit.Time, len(tasks))
		var lanes [lower.NumLanes]unit.Time
		for i, task := range tasks {
			d[i] = dur[task.Block][task.Index]
			lanes[task.Strand.Lane()] += d[i]
		}
		order := interleave(tasks, d)
		require.Len(t, order, len(tasks))
		at, last := make([]int, len(tasks)), map[lower.Strand]int{}
		for k, i := range order {
			at[i] = k + 1
			for _, a := range tasks[i].After {
				require.Positive(t, at[a], "%d waits for %d", i, a)
			}
			require.GreaterOrEqual(t, i, last[tasks[i].Strand])
			last[tasks[i].Strand] = i
		}
		got := ends(tasks, d, order)
		require.Equal(t, order, interleave(tasks, d))

		// Each pass's own chain: the pair without the other's kernels, weight
		// gradients free to wait.
		for _, only := range []*lower.Pair{{Forward: pair.Forward}, {Backward: pair.Backward}} {
			own := only.Tasks()
			end := make([]unit.Time, len(own))
			var chain [lower.NumStrands]unit.Time
			for i, task := range own {
				end[i] = ready(task, end, chain[task.Strand]) + dur[task.Block][task.Index]
				chain[task.Strand] = end[i]
				require.GreaterOrEqual(t, got, end[i])
			}
		}
		require.GreaterOrEqual(t, got, max(lanes[lower.Compute], lanes[lower.Comm]))
		require.LessOrEqual(t, got, alone(pair.Forward, dur)+alone(pair.Backward, dur))
		if !messages {
			require.Equal(t, lanes[lower.Compute], got)
			require.Equal(t, alone(pair.Forward, dur)+alone(pair.Backward, dur), got)
		}
	})
}

// Two passes that compute as long as they send hide each other's messages: of
// figure 4 of the DeepSeek-V3 report what is left is the first and the last.
func TestInterleaveHidesMessages(t *testing.T) {
	layer := func(name string, weights bool) *lower.Block {
		b := &lower.Block{Name: name}
		add := func(op lower.Op) {
			if n := len(b.Ops); n > 0 {
				op.After = []int{n - 1}
			}
			b.Ops = append(b.Ops, op)
		}
		add(lower.Op{Name: "attention"})
		add(lower.Op{Name: "dispatch", Lane: lower.Comm})
		add(lower.Op{Name: "mlp"})
		if weights {
			add(lower.Op{Name: "wgrad", Wgrad: true})
		}
		add(lower.Op{Name: "combine", Lane: lower.Comm})
		return b
	}
	f, b := layer("F", false), layer("B", true)
	pair := &lower.Pair{Forward: []lower.Use{{Block: f, Times: 4}}, Backward: []lower.Use{{Block: b, Times: 4}}}
	tasks := pair.Tasks()
	d := make([]unit.Time, len(tasks))
	compute := unit.Time(0)
	for i, task := range tasks {
		d[i] = 100
		if task.Strand.Lane() == lower.Compute {
			compute += d[i]
		}
	}
	got := ends(tasks, d, interleave(tasks, d))
	require.LessOrEqual(t, got, compute+200) // 2,000 of compute, 1,600 of messages
}
