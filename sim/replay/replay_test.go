package replay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim"
	"orrery/sim/replay"
)

func simulate(t *testing.T, c replay.Case, sets ...string) *sim.Run {
	t.Helper()
	res, err := c.Load(sets)
	require.NoError(t, err)
	run, err := sim.Simulate(context.Background(), &res.Scenario, sim.Options{})
	require.NoError(t, err)
	return run
}

// synthetic is a result in which every op and pass takes scale(pass, op) times its
// prediction, in microseconds; op is -1 for the pass itself.
func synthetic(e *replay.Export, scale func(pass, op int) float64) *replay.Result {
	r := &replay.Result{Format: replay.ResultFormat, Version: replay.ResultVersion, ExportDigest: e.Digest, Name: e.Name, Device: "cuda", GPU: "made up"}
	times := func(us float64) replay.Times { return replay.Times{N: 3, MedianUS: us, LowUS: us, HighUS: us} }
	step := 0.0
	for i, p := range e.Passes {
		if p.Microbatch < 0 {
			continue
		}
		n := 0
		for _, u := range p.Blocks {
			for _, op := range e.Blocks[u.Block].Ops {
				if op.Lane != "compute" {
					continue
				}
				r.Ops = append(r.Ops, replay.OpTime{Pass: i, Op: n, Name: op.Name, Layer: u.Layer, Microbatch: p.Microbatch, Times: times(float64(op.AlonePS) / 1e6 * scale(i, n))})
				n++
			}
		}
		us := float64(p.ReplayPS) / 1e6 * scale(i, -1)
		step += us
		r.Passes = append(r.Passes, replay.PassTime{Pass: i, Times: times(us)})
	}
	r.Step, r.Memory = times(step), replay.ResultMemory{HeldBytes: 1, PeakBytes: e.Memory.ReplayPeakBytes}
	return r
}

// What an export says of a rank is what the run has: every op of the rank's lanes
// once, the parts of a pass add up, and memory is the simulator's.
func TestExportIsTheProgram(t *testing.T) {
	for _, c := range replay.Cases {
		t.Run(c.Name, func(t *testing.T) {
			run := simulate(t, c)
			e, err := replay.New(run, c.Options)
			require.NoError(t, err)
			seen := map[int32]int{}
			for _, p := range e.Passes {
				took := int64(0)
				for _, op := range p.Ops {
					seen[op]++
					took += int64(run.Timeline.End[op] - run.Timeline.Start[op])
				}
				require.Equal(t, took, p.DurationPS)
				require.Equal(t, p.DurationPS, p.ComputePS+p.ExposedPS+p.ContendedPS+p.HostPS)
				require.GreaterOrEqual(t, p.ExposedPS, int64(0))
				inStep := int64(0)
				for _, u := range p.Blocks {
					for _, op := range e.Blocks[u.Block].Ops {
						if op.Lane == "compute" {
							inStep += op.InStepPS
						}
					}
				}
				require.Equal(t, p.ComputePS, inStep, "the ops of a pass add up")
			}
			for _, m := range e.Messages {
				seen[m.Op]++
			}
			for i, lane := range run.Program.Lane {
				want := 0
				if int(run.Program.Lanes[lane].Rank) == c.Options.Rank {
					want = 1
				}
				require.Equal(t, want, seen[int32(i)], "op %d", i)
			}
			curve := run.MemoryCurve(c.Options.Rank)
			require.Len(t, e.Memory.Curve, len(curve))
			for i, pt := range curve {
				require.Equal(t, replay.Point{AtPS: int64(pt.At), Bytes: pt.Bytes}, e.Memory.Curve[i])
			}
			require.InEpsilon(t, run.Result.MemoryGiBByStage[c.Options.Rank].PeakGiB*(1<<30), float64(e.Memory.PeakBytes), 1e-9)
			require.Zero(t, e.Passes[len(e.Passes)-1].AfterBytes, "every activation is given back")
			stages := map[int32]replay.Chunk{}
			for _, chunk := range e.Chunks {
				stages[chunk.Stage] = chunk
			}
			for _, p := range e.Passes {
				layers := map[int64]int{}
				for _, u := range p.Blocks {
					if u.Layer >= 0 {
						layers[u.Layer]++
					}
				}
				require.Len(t, layers, int(stages[p.Stage].Layers))
				for l, n := range layers {
					require.Equal(t, 1, n, "layer %d", l)
				}
			}
		})
	}
}

// The perturbation that a result was made with is what the comparison finds.
func TestCompareFindsThePerturbation(t *testing.T) {
	e, err := replay.New(simulate(t, replay.Cases[0]), replay.Cases[0].Options)
	require.NoError(t, err)
	ops := len(synthetic(e, func(int, int) float64 { return 1 }).Ops)
	rapid.Check(t, func(t *rapid.T) {
		hit, by := rapid.IntRange(0, ops-1).Draw(t, "op"), rapid.Float64Range(0.2, 5).Draw(t, "by")
		all := rapid.Float64Range(0.5, 2).Draw(t, "all")
		res := synthetic(e, func(_, op int) float64 {
			if op < 0 {
				return all
			}
			return 1
		})
		o := &res.Ops[hit]
		o.MedianUS, o.LowUS, o.HighUS = o.MedianUS*by, o.LowUS*by, o.HighUS*by
		c, err := replay.Compare(e, res)
		require.NoError(t, err)
		require.Len(t, c.Ops, ops)
		for i, row := range c.Ops {
			want := 1.0
			if i == hit {
				want = by
			}
			require.InDelta(t, 1/want-1, row.Error, 1e-9)
			require.Equal(t, want-1 <= row.RelError+1e-12 && 1-want <= row.RelError+1e-12, row.Inside)
		}
		require.InDelta(t, 1/all-1, c.Step.Error, 1e-9)
		for _, p := range c.Passes {
			require.InDelta(t, 1/all-1, p.Error, 1e-9)
		}
		require.InDelta(t, 0, c.Peak.Error, 1e-9)
		count := 0
		for _, g := range c.ByName {
			count += g.Ops
		}
		require.Equal(t, ops, count)
	})
}

func TestResultsThatAreRefused(t *testing.T) {
	e, err := replay.New(simulate(t, replay.Cases[0]), replay.Cases[0].Options)
	require.NoError(t, err)
	for want, change := range map[string]func(*replay.Result){
		"export and run again":     func(r *replay.Result) { r.ExportDigest = "0123456789abcdef" },
		"measures nothing":         func(r *replay.Result) { r.Tiny = true },
		"is not in the result":     func(r *replay.Result) { r.Ops = r.Ops[1:] },
		"measured twice":           func(r *replay.Result) { r.Ops = append(r.Ops, r.Ops[0]) },
		"in the export":            func(r *replay.Result) { r.Ops[0].Name = "other" },
		"pass 0 (F stage":          func(r *replay.Result) { r.Passes = r.Passes[1:] },
		"the export does not have": func(r *replay.Result) { r.Passes = append(r.Passes, replay.PassTime{Pass: 99}) },
	} {
		r := synthetic(e, func(int, int) float64 { return 1 })
		change(r)
		_, err := replay.Compare(e, r)
		require.ErrorContains(t, err, want)
	}
}

func TestReadersAreStrict(t *testing.T) {
	e, err := replay.New(simulate(t, replay.Cases[0]), replay.Cases[0].Options)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, e.Write(&b))
	text := b.String()
	again, err := replay.ReadExport(strings.NewReader(text))
	require.NoError(t, err)
	var second bytes.Buffer
	require.NoError(t, again.Write(&second))
	require.Equal(t, text, second.String(), "written, read and written again")
	for want, bad := range map[string]string{
		"was changed":        strings.Replace(text, `"hidden": 4096`, `"hidden": 4097`, 1),
		"unknown field":      strings.Replace(text, `"hidden"`, `"hiden"`, 1),
		"version":            strings.Replace(text, `"version": 1`, `"version": 2`, 1),
		"more than one JSON": text + "{}",
	} {
		_, err := replay.ReadExport(strings.NewReader(bad))
		require.ErrorContains(t, err, want)
	}
	r := synthetic(e, func(int, int) float64 { return 1 })
	r.Ops[3].MedianUS = -1
	out, err := json.Marshal(r)
	require.NoError(t, err)
	_, err = replay.ReadResult(bytes.NewReader(out))
	require.ErrorContains(t, err, "is no measurement")
}

// What one GPU cannot stand for is refused, with the key that says so.
func TestRefusedScenarios(t *testing.T) {
	for set, want := range map[string]string{
		"parallel.cp=2":             "parallel.cp is 2",
		"training.finetune=lora":    "training.finetune",
		"schedule.offload=0.5":      "schedule.offload",
		"training.microbatches=1":   "ranks 0 to 2", // with a rank that is not there
		"framework.moe_imbalance=1": "routing zipf: llama3-8b has no experts",
	} {
		c := replay.Cases[0]
		switch want {
		case "ranks 0 to 2":
			c.Options.Rank = 9
		case "routing zipf: llama3-8b has no experts":
			c.Options.Routing = "zipf"
		case "schedule.offload":
			c = replay.Cases[6]
		}
		res, err := c.Load([]string{set})
		require.NoError(t, err, set)
		run, err := sim.Simulate(context.Background(), &res.Scenario, sim.Options{})
		require.NoError(t, err, set)
		_, err = replay.New(run, c.Options)
		require.ErrorContains(t, err, want, set)
	}
}

// Rows are conserved, whatever the skew.
func TestRoutingConservesRows(t *testing.T) {
	sums := map[string]int64{}
	for _, c := range replay.Cases {
		if c.Options.Routing == "" {
			continue
		}
		e, err := replay.New(simulate(t, c), c.Options)
		require.NoError(t, err)
		for _, r := range e.Model.Rows {
			sums[c.Options.Routing] += r
		}
		if c.Options.Routing == "zipf" {
			require.Greater(t, e.Model.Rows[0], 2*e.Model.Rows[len(e.Model.Rows)-1])
		}
	}
	require.Equal(t, int64(4096*2), sums["even"])
	require.Equal(t, sums["even"], sums["zipf"])
}

func writeExport(t *testing.T, path string, e *replay.Export) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, e.Write(&b))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
}

// The planning part of kernels/replay.py, and with torch its gradients.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is missing")
	}
	dir := t.TempDir()
	for _, c := range replay.Cases {
		e, err := replay.New(simulate(t, c), c.Options)
		require.NoError(t, err)
		writeExport(t, dir+"/"+c.Name+".json", e)
	}
	cmd := exec.Command(python, "-B", "-m", "unittest", "-v", "replay_lib.test_replay")
	cmd.Dir = "../../kernels"
	cmd.Env = append(cmd.Environ(), "REPLAY_CASES="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}
