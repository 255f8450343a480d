package search

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
)

// assumed are a capacity plan's defaults (scenarios.CapacityDefault).
var assumed = Assumptions{USDPerGPUHour: 2, USDPerKWh: 0.1, HostWPerGPU: 575, Load: 1, PUE: 1.1}

const dense = `
[cluster]
gpu = "h100"
gpus = 16
[model]
name = "gpt3-5b"
[training]
sequence_length = 2048
global_batch = 16
`

const moe = `
[cluster]
gpu = "h200"
gpus = 16
[model]
name = "moonlight-16b-a3b"
[training]
sequence_length = 4096
global_batch = 16
[parallel]
ep = 8
[framework]
preset = "nemo"
`

// small are spaces of which every point can be simulated.
var small = []struct {
	name, text string
	set        []string
	axes       []string
	fixed      []string
	gpus       int64
	memory     float64
}{
	{name: "dense, layouts", text: dense, axes: []string{"training.recompute=none,full", "parallel.vp=1,2,3"}, fixed: []string{"parallel.sp", "parallel.zero", "parallel.order", "parallel.cp_kind", "parallel.cp"}},
	{name: "dense, 20 GiB", text: dense, axes: []string{"parallel.tp=2,4", "parallel.pp=1,2,4", "training.micro_batch=1,2"}, fixed: []string{"parallel.vp", "parallel.cp", "parallel.sp", "schedule.name", "parallel.order"}, memory: 20},
	{name: "dense, schedules and memory", text: dense, axes: []string{"parallel.tp=1,4", "parallel.pp=4", "parallel.vp=1,2", "training.micro_batch=1",
		"schedule.name=auto,zb_h1,zbv,zb_auto,zbv_auto,gpipe,vhalf,vmin,chimera,dualpipev", "training.recompute=none,selective:mlp,full:2"}, fixed: []string{"parallel.cp", "parallel.zero", "parallel.sp", "parallel.order"}},
	{name: "dense, numbers of GPUs, more layers recomputed than other layouts have", text: dense, set: []string{"training.recompute=full:24"}, axes: []string{"parallel.tp=1,2", "parallel.pp=1,2", "training.micro_batch=1", "training.recompute=none,full"}, fixed: []string{"parallel.vp", "parallel.cp", "parallel.sp", "schedule.name"}, gpus: 32},
	{name: "eager, launches and another axis", text: dense, set: []string{"framework.preset=torchtitan", "training.sequence_length=512"}, axes: []string{"framework.cuda_graphs=false,true", "parallel.tp=1,2", "parallel.pp=1,4", "training.recompute=none,full"}, fixed: []string{"parallel.vp", "parallel.cp", "parallel.sp"}},
	{name: "mixture of experts", text: moe, axes: []string{"parallel.tp=1,2", "parallel.pp=1,2,4", "parallel.ep=2,8", "parallel.vp=1,2", "training.micro_batch=1,2", "training.recompute=none,selective:moe_act,full"}, fixed: []string{"parallel.cp", "parallel.sp", "parallel.zero", "parallel.order"}},
}

func opened(t testing.TB, text string) *scenarios.Base {
	t.Helper()
	file := filepath.Join(t.TempDir(), "small.toml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	base, err := scenarios.Open(file)
	require.NoError(t, err)
	return base
}

func options(t testing.TB, set, axes []string) (opt Options) {
	t.Helper()
	opt = Options{Objective: StepTime, Assumptions: assumed}
	for _, text := range set {
		o, err := scenarios.ParseOverride(text)
		require.Nil(t, err)
		opt.Set = append(opt.Set, o)
	}
	for _, text := range axes {
		a, err := ParseAxis(text)
		require.NoError(t, err)
		opt.Axes = append(opt.Axes, a)
	}
	return opt
}

// everyPoint simulates the whole space and returns the points that fit.
func everyPoint(t *testing.T, base *scenarios.Base, opt Options) (all []*Point, runs int) {
	t.Helper()
	sp, err := newSpace(base, &opt)
	require.NoError(t, err)
	groups, err := sp.walk()
	require.NoError(t, err)
	s := &search{opt: opt, sp: sp, profile: shared(), groups: groups, best: -1, result: &Result{}, refusals: map[refusal]string{}}
	for g := range groups {
		for rc := range sp.axes[len(sp.axes)-1].Values {
			sc, err := sp.scenario(groups[g], rc)
			if err != nil {
				continue
			}
			run, err := sim.Simulate(context.Background(), sc, sim.Options{NoAdvice: true, Profile: s.profile})
			if err != nil {
				continue
			}
			runs++
			c := candidate{gpus: sc.Cluster.GPUs, power: sc.Cluster.PowerW, tokens: float64(sc.Training.GlobalBatch * sc.Training.SequenceLength)}
			if p := s.point(&c, run.Result, runs); p.Fits {
				all = append(all, p)
			}
		}
	}
	return all, runs
}

// frontOf is the front of points by brute force, as values.
func frontOf(all []*Point) (out []triple) {
	for _, p := range all {
		t := found(p)
		better := func(q *Point) bool { return found(q).covers(t) && found(q) != t }
		if !slices.ContainsFunc(all, better) && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// What is left out is never the best, nor on the front.
func TestNothingIsLost(t *testing.T) {
	for i, c := range small {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && i > 0 {
				t.Skip("-short: every point of the other spaces takes long; the whole test runs without it")
			}
			base := opened(t, c.text)
			opt := options(t, c.set, c.axes)
			opt.Fixed, opt.MaxGPUs, opt.MaxMemoryGiB = c.fixed, c.gpus, c.memory
			all, runs := everyPoint(t, base, opt)
			require.Greater(t, runs, 30, "the space is too small to lose anything")
			wantFront := frontOf(all)
			for _, objective := range []Objective{StepTime, Cost, Memory, Energy} {
				opt.Objective = objective
				res, err := Run(context.Background(), base, "small", opt)
				require.NoError(t, err)
				require.Equal(t, runs, res.Counts.Valid-res.Counts.CannotBeRun, "points")
				want := slices.MinFunc(all, func(a, b *Point) int {
					if a.Of(objective) < b.Of(objective) {
						return -1
					}
					return 1
				}).Of(objective)
				require.Equal(t, want, res.Best.Of(objective), objective)
				require.Zero(t, res.Gap)
				require.Equal(t, want, res.Bound)
				require.Less(t, res.Counts.Simulated, runs, "nothing was left out")
				var front []triple
				for i := range res.Front {
					front = append(front, found(&res.Front[i]))
				}
				require.True(t, res.FrontWhole)
				require.ElementsMatch(t, wantFront, front)
				require.Equal(t, res.Counts.Valid, res.Counts.PrunedMemory+res.Counts.PrunedBound+res.Counts.Simulated)
				t.Logf("%s: %d of %d points simulated", objective, res.Counts.Simulated, runs)
			}
		})
	}
}

// The same search gives the same bytes on any number of workers.
func TestWorkersChangeNothing(t *testing.T) {
	c := small[1]
	base := opened(t, c.text)
	var first []byte
	for _, workers := range []int{1, 2, 7} {
		opt := options(t, c.set, c.axes)
		opt.Fixed, opt.Workers = c.fixed, workers
		res, err := Run(context.Background(), base, "small", opt)
		require.NoError(t, err)
		text, err := json.Marshal(res)
		require.NoError(t, err)
		if first == nil {
			first = text
		}
		require.Equal(t, string(first), string(text), workers)
	}
}

// The settings of a point are those of its run: sim run gives the same step.
func TestSettingsRun(t *testing.T) {
	for _, c := range []int{1, 5} {
		base := opened(t, small[c].text)
		opt := options(t, small[c].set, small[c].axes)
		opt.Fixed, opt.NoFront = small[c].fixed, true
		res, err := Run(context.Background(), base, "small", opt)
		require.NoError(t, err)
		for _, p := range res.Points[:min(4, len(res.Points))] {
			again, err := scenarios.Parse("small.toml", []byte(small[c].text), p.Set, nil)
			require.NoError(t, err, p.Set)
			run, err := sim.Simulate(context.Background(), &again.Scenario, sim.Options{NoAdvice: true})
			require.NoError(t, err)
			require.Equal(t, p.StepTimeS, run.Result.StepTimeS, p.Set)
			require.Equal(t, p.PeakMemoryGiB, run.Result.PeakMemoryGiB, p.Set)
		}
	}
}

// A search that ends early says by how much it may be off.
func TestBudget(t *testing.T) {
	c := small[5]
	base := opened(t, c.text)
	opt := options(t, c.set, c.axes)
	opt.Fixed = c.fixed
	whole, err := Run(context.Background(), base, "small", opt)
	require.NoError(t, err)
	opt.Simulations = 1
	short, err := Run(context.Background(), base, "small", opt)
	require.NoError(t, err)
	require.Equal(t, 1, short.Counts.Simulated)
	require.Equal(t, "out of simulations", short.Stopped)
	require.False(t, short.FrontWhole)
	require.LessOrEqual(t, short.Bound, whole.Best.StepTimeS)
	require.GreaterOrEqual(t, short.Best.StepTimeS, whole.Best.StepTimeS)
	require.InEpsilon(t, short.Best.StepTimeS*(1-short.Gap), short.Bound, 1e-12)

	ctx, stop := context.WithCancel(context.Background())
	stop()
	none, err := Run(ctx, base, "small", opt)
	require.NoError(t, err)
	require.Nil(t, none.Best)
	require.Equal(t, "interrupted", none.Stopped)
	require.Zero(t, none.Bound)
}

// Every reason compares with the best: the parts add up to the change of the step.
func TestReasonsAddUp(t *testing.T) {
	c := small[5]
	base := opened(t, c.text)
	opt := options(t, c.set, c.axes)
	opt.Fixed = c.fixed
	res, err := Run(context.Background(), base, "small", opt)
	require.NoError(t, err)
	bests, others := map[string]int{}, 0
	for _, r := range res.Reasons {
		if r.Best {
			bests[r.Key]++
			require.Equal(t, res.Best.StepTimeS, r.Objective)
			continue
		}
		if r.Objective == 0 {
			require.NotEmpty(t, r.Why)
			continue
		}
		others++
		sum := r.RestS
		for _, p := range r.Parts {
			sum += p.ChangeS
		}
		require.InDelta(t, r.Objective-res.Best.StepTimeS, sum, 1e-9, "%s=%s", r.Key, r.Value)
		require.LessOrEqual(t, r.Bound, r.Objective)
		require.GreaterOrEqual(t, r.Over, 0.0)
	}
	for key, n := range bests {
		require.Equal(t, 1, n, key)
	}
	require.Greater(t, others, 5)
}

// The published layout of Llama 3.1 405B on 1,024 H100 is within a few per cent of
// the best, which keeps its tensor, pipeline and context parallelism.
func TestPublishedLayoutIsNearTheBest(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: thousands of points")
	}
	base, err := scenarios.Open("llama3.1-405b-h100")
	require.NoError(t, err)
	opt := options(t, nil, []string{"training.recompute=none,selective:layernorm,full"})
	opt.Fixed, opt.NoFront = []string{keyZeRO, keySP, keyCPKind}, true
	res, err := Run(context.Background(), base, "llama3.1-405b-h100", opt)
	require.NoError(t, err)
	require.Zero(t, res.Gap)
	require.Greater(t, res.Counts.Valid, 2000)
	require.Less(t, res.AsItStands.StepTimeS, 1.02*res.Best.StepTimeS)
	require.GreaterOrEqual(t, res.AsItStands.StepTimeS, res.Best.StepTimeS)
	require.Equal(t, []any{int64(8), int64(8), int64(2)}, []any{res.Best.Values[keyTP], res.Best.Values[keyPP], res.Best.Values[keyCP]})
	t.Logf("%d points, %d simulated: %.2f s as published, %.2f s with %v", res.Counts.Valid, res.Counts.Simulated, res.AsItStands.StepTimeS, res.Best.StepTimeS, res.Best.Values)
}

func TestAxesAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"parallel.tp":        `"parallel.tp" is no axis`,
		"parallel.tp=1,1":    "has 1 twice",
		"parallel.tq=1":      "unknown key",
		"parallel.tp=banana": "wrong type",
	} {
		_, err := ParseAxis(text)
		require.ErrorContains(t, err, want, text)
	}
	base := opened(t, dense)
	_, err := Run(context.Background(), base, "small", Options{Objective: StepTime, Fixed: []string{"framework.preset"}})
	require.ErrorContains(t, err, "no axis of it")
	_, err = Run(context.Background(), base, "small", Options{Objective: StepTime, Axes: []Axis{{Key: keyTP, Values: []any{int64(3)}}}})
	require.ErrorContains(t, err, "no combination")
}

// BenchmarkBounds is how many points a second are resolved and bounded, of the
// space of Llama 3.1 405B on 1,024 H100.
func BenchmarkBounds(b *testing.B) {
	base, err := scenarios.Open("llama3.1-405b-h100")
	require.NoError(b, err)
	opt := options(b, nil, nil)
	opt.Fixed, opt.Workers = []string{keyZeRO, keySP, keyOrder, keyCPKind, keySchedule}, 1
	points := 0
	for b.Loop() {
		sp, err := newSpace(base, &opt)
		require.NoError(b, err)
		s := &search{opt: opt, sp: sp, profile: shared(), best: -1, result: &Result{}, refusals: map[refusal]string{}}
		s.groups, err = sp.walk()
		require.NoError(b, err)
		require.NoError(b, s.bound(context.Background()))
		points += len(s.candidates)
	}
	b.ReportMetric(float64(points)/b.Elapsed().Seconds(), "points/s")
	b.ReportMetric(float64(points)/float64(b.N), "points")
}

// BenchmarkSearch is the whole search of that space, its best point proven.
func BenchmarkSearch(b *testing.B) {
	base, err := scenarios.Open("llama3.1-405b-h100")
	require.NoError(b, err)
	opt := options(b, nil, nil)
	opt.Fixed = []string{keyZeRO, keySP, keyOrder, keyCPKind, keySchedule}
	points := 0
	for b.Loop() {
		res, err := Run(context.Background(), base, "llama3.1-405b-h100", opt)
		require.NoError(b, err)
		require.Zero(b, res.Gap)
		points += res.Counts.Valid
	}
	b.ReportMetric(float64(points)/b.Elapsed().Seconds(), "points/s")
	b.ReportMetric(float64(points)/float64(b.N), "points")
}
