package lower_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/sim/cost"
	"orrery/sim/engine"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// step lowers llama3-8b with the parallelism given.
func step(t require.TestingT, values map[string]any) *lower.Step {
	all := map[string]any{
		"name": "test", "cluster.gpu": "h100", "model.name": "llama3-8b",
		"training.sequence_length": int64(4096), "training.micro_batch": int64(1), "training.precision": "bf16",
		"framework.preset": "megatron",
	}
	for k, v := range values {
		all[k] = v
	}
	res, err := scenarios.Resolve("test", all)
	require.NoError(t, err)
	p, err := plan.New(&res.Scenario)
	require.NoError(t, err)
	s, err := lower.NewStep(p)
	require.NoError(t, err)
	require.NoError(t, s.Program.Check())
	return s
}

// makespan runs a step with one duration for each kind of work.
func makespan(t require.TestingT, p *program.Program, dur map[program.Kind]unit.Time) unit.Time {
	d := make([]unit.Time, len(p.Works))
	for i, w := range p.Works {
		d[i] = dur[w.Kind]
	}
	var tl timeline.Timeline
	require.NoError(t, engine.Relax(p, d, &tl))
	var m unit.Time
	for _, e := range tl.End {
		m = max(m, e)
	}
	return m
}

// Blocking 1F1B as Megatron communicates: T = (m+p-1)(F+B) + (2m+2p-5)c for
// p >= 3, + (m+1)c for p = 2 (research note, section 2.2; checked there against
// vectors_blocking.csv), for m >= p.
func TestBlocking1F1BClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]int64{2, 4, 8}).Draw(t, "p")
		m := rapid.Int64Range(p, 3*p).Draw(t, "m")
		f := unit.Time(rapid.Int64Range(50, 100).Draw(t, "F"))
		b := unit.Time(rapid.Int64Range(50, 200).Draw(t, "B"))
		c := unit.Time(rapid.Int64Range(0, 20).Draw(t, "c"))
		s := step(t, map[string]any{"cluster.gpus": p, "parallel.pp": p, "training.global_batch": m, "schedule.name": "1f1b"})
		got := makespan(t, s.Program, map[program.Kind]unit.Time{program.Forward: f, program.Backward: b, program.Send: c})
		want := unit.Time(m+p-1) * (f + b)
		if p == 2 {
			want += unit.Time(m+1) * c
		} else {
			want += unit.Time(2*m+2*p-5) * c
		}
		require.Equal(t, want, got)
	})
}

// Interleaved 1F1B without latency: T = (mv + p - 1)(f + b) per chunk.
func TestInterleavedClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]int64{2, 4}).Draw(t, "p")
		v := rapid.SampledFrom([]int64{2, 4}).Draw(t, "v")
		m := p * rapid.Int64Range(1, 4).Draw(t, "m/p")
		f := unit.Time(rapid.Int64Range(1, 100).Draw(t, "F"))
		b := unit.Time(rapid.Int64Range(1, 200).Draw(t, "B"))
		s := step(t, map[string]any{"cluster.gpus": p, "parallel.pp": p, "parallel.vp": v, "training.global_batch": m})
		got := makespan(t, s.Program, map[program.Kind]unit.Time{program.Forward: f, program.Backward: b})
		require.Equal(t, unit.Time(m*v+p-1)*(f+b), got)
	})
}

// Every (stage, microbatch) has one forward and one backward pass on the
// compute lane of its device, and activations return to zero.
func TestStepIsComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "p")
		v := int64(1)
		if p > 1 {
			v = rapid.SampledFrom([]int64{1, 2}).Draw(t, "v")
		}
		schedule := "auto"
		if v == 2 {
			schedule = rapid.SampledFrom([]string{"auto", "chimera"}).Draw(t, "schedule")
		}
		dp := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "dp")
		m := p * rapid.Int64Range(1, 3).Draw(t, "m/p")
		zero := rapid.SampledFrom([]int64{0, 1, 3}).Draw(t, "zero")
		s := step(t, map[string]any{"cluster.gpus": p * dp, "parallel.pp": p, "parallel.vp": v, "parallel.dp": dp,
			"schedule.name": schedule, "training.global_batch": m * dp, "parallel.zero": zero})
		layers := map[[3]int64]int64{} // stage, microbatch, kind -> layers run
		for id, w := range s.Program.Work {
			kind := s.Program.Works[w].Kind
			if kind != program.Forward && kind != program.Backward {
				continue
			}
			tag := s.Tags[id]
			n := int64(0)
			for _, u := range s.Works[w].Blocks {
				if u.Block.Name == "layer forward" || u.Block.Name == "layer backward" {
					n += u.Times
				}
			}
			layers[[3]int64{int64(tag.Stage), int64(tag.Microbatch), int64(kind)}] += n
		}
		for st, stage := range s.Plan.Stages {
			for mb := range m {
				for _, k := range []program.Kind{program.Forward, program.Backward} {
					require.Equal(t, stage.Layers, layers[[3]int64{int64(st), mb, int64(k)}], "stage %d microbatch %d %v", st, mb, k)
				}
			}
		}
		var sum int64
		for _, e := range s.Program.Mem {
			sum += e.Bytes
		}
		require.Zero(t, sum)
	})
}

// Unfolding equal ranks changes no time.
func TestExpandChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "p")
		dp := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "dp")
		tp := rapid.SampledFrom([]int64{1, 2}).Draw(t, "tp")
		zero := rapid.SampledFrom([]int64{0, 1, 3}).Draw(t, "zero")
		s := step(t, map[string]any{"cluster.gpus": p * dp * tp, "parallel.pp": p, "parallel.dp": dp, "parallel.tp": tp,
			"training.global_batch": 2 * p * dp, "parallel.zero": zero})
		d := make([]unit.Time, len(s.Program.Works))
		for i := range d {
			d[i] = unit.Time(rapid.Int64Range(0, 1000).Draw(t, "duration"))
		}
		var folded, unfolded timeline.Timeline
		require.NoError(t, engine.Relax(s.Program, d, &folded))
		e := s.Expand()
		require.NoError(t, e.Program.Check())
		require.NoError(t, engine.Relax(e.Program, d, &unfolded))
		for i, f := range e.Folded {
			require.Equal(t, folded.Start[f], unfolded.Start[i])
			require.Equal(t, folded.End[f], unfolded.End[i])
		}
	})
}

// Ulysses: queries, keys and values of the forward pass go to the ranks that hold
// their heads and the output comes back; the backward pass moves their gradients
// the other way, as many bytes (DeepSpeed, _SeqAllToAll).
func TestUlyssesMovesEachTensorOnce(t *testing.T) {
	s := step(t, map[string]any{"cluster.gpus": int64(8), "parallel.cp": int64(8), "parallel.cp_kind": "a2a", "training.global_batch": int64(1)})
	moved, seen := map[string][]int64{}, map[*lower.Block]bool{}
	for _, w := range s.Works {
		for _, u := range w.Blocks {
			if seen[u.Block] {
				continue
			}
			seen[u.Block] = true
			for _, op := range u.Block.Ops {
				if c, ok := op.Kernel.(cost.Collective); ok && c.Kind == cost.AllToAll {
					moved[u.Block.Name] = append(moved[u.Block.Name], c.Bytes)
				}
			}
		}
	}
	const tokens, q, kv = 4096 / 8, 4096, 1024 // of Llama-3 8B, with 8 heads of keys and values
	require.Equal(t, map[string][]int64{
		"layer forward":  {2 * tokens * (q + 2*kv), 2 * tokens * q},
		"layer backward": {2 * tokens * q, 2 * tokens * (q + 2*kv)},
	}, moved)
}
