package goodput

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawn is any job whose failures are rarer than its segments are long by far
// enough to end.
func drawn(t *rapid.T) Job {
	j := Job{
		Steps: rapid.Int64Range(1, 5000).Draw(t, "steps"), StepS: rapid.Float64Range(0.1, 60).Draw(t, "step"),
		BlockS: rapid.Float64Range(0, 120).Draw(t, "block"), WriteS: rapid.Float64Range(0, 300).Draw(t, "write"),
		RestartS: rapid.Float64Range(0, 1800).Draw(t, "restart"),
		Rates: Rates{Node: 1 / rapid.Float64Range(1e3, 1e7).Draw(t, "nodes' MTBF"),
			Else: 1 / rapid.Float64Range(1e3, 1e7).Draw(t, "others' MTBF")},
		Spares: Unlimited,
	}
	if rapid.Bool().Draw(t, "stragglers") {
		j.SlowShare, j.SlowBy = rapid.Float64Range(0, 1).Draw(t, "slow share"), rapid.Float64Range(0, 2).Draw(t, "slow by")
	}
	if rapid.Bool().Draw(t, "spares") {
		j.Spares, j.RepairS = rapid.Int64Range(0, 20).Draw(t, "spare nodes"), rapid.Float64Range(0, 1e5).Draw(t, "repair")
	}
	return j
}

func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawn(t)
		every := rapid.Int64Range(1, 200).Draw(t, "every")
		require.NoError(t, j.Check())
		e := j.Expect(every)
		require.Greater(t, e.Goodput, 0.0)
		require.LessOrEqual(t, e.Goodput, 1+1e-12)
		l := e.Loss
		for name, x := range map[string]float64{"checkpoint": l.Checkpoint, "straggler": l.Straggler, "restart": l.Restart, "spare": l.Spare, "redone": l.Redone} {
			require.GreaterOrEqual(t, x, -1e-9, name)
		}
		require.InDelta(t, 1, e.Goodput+l.Checkpoint+l.Straggler+l.Restart+l.Spare+l.Redone, 1e-12)

		for name, worse := range map[string]func(*Job){
			"failures of nodes":  func(j *Job) { j.Rates.Node *= 1.5 },
			"failures of others": func(j *Job) { j.Rates.Else *= 1.5 },
			"restart":            func(j *Job) { j.RestartS += 100 },
			"block":              func(j *Job) { j.BlockS += 10 },
			"write":              func(j *Job) { j.WriteS += 10 },
			"repair":             func(j *Job) { j.RepairS *= 2 },
			"stragglers":         func(j *Job) { j.SlowBy += 0.1 },
		} {
			other := j
			worse(&other)
			require.LessOrEqual(t, other.Goodput(every), j.Goodput(every)*(1+1e-9), name)
		}
	})
}

// No interval near the best is better, nor any of a sample of all others.
func TestBestInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawn(t)
		best := j.BestInterval()
		require.GreaterOrEqual(t, best, int64(1))
		require.LessOrEqual(t, best, j.Steps)
		g := j.Goodput(best)
		for _, k := range []int64{best - 2, best - 1, best + 1, best + 2, best / 2, best * 2, rapid.Int64Range(1, j.Steps).Draw(t, "other")} {
			if k >= 1 && k <= j.Steps {
				require.LessOrEqual(t, j.Goodput(k), g*(1+1e-9), "every %d steps instead of %d", k, best)
			}
		}
	})
}

// Without a write that goes on behind, without stragglers and in whole steps, the
// best interval is the exact one, and Daly's and Young's are near it where a
// checkpoint is short against the time between failures.
func TestOptimaAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mtbf := rapid.Float64Range(1e3, 1e7).Draw(t, "mtbf")
		block := mtbf * math.Pow(10, rapid.Float64Range(-6, -1.5).Draw(t, "log of C/M"))
		exact := ExactS(block, mtbf)
		j := Job{Steps: 1e6, StepS: exact / 5000, BlockS: block, RestartS: 100, Rates: Rates{Else: 1 / mtbf}, Spares: Unlimited}
		require.InDelta(t, 5000, j.BestInterval(), 2)
		require.InEpsilon(t, exact, DalyS(block, mtbf), 0.001+2*math.Pow(block/mtbf, 1.5))
		require.InEpsilon(t, exact, YoungS(block, mtbf)-block*2/3, 0.01) // the series' second term
		x := exact / mtbf
		require.InDelta(t, 1-x, math.Exp(-x-block/mtbf), 1e-12)
	})
	require.Equal(t, 100.0, DalyS(300, 100)) // beyond its range, Daly's rule
}

// The mean of the simulated times is the closed form within five of its own
// standard errors, in every kind of job; waiting for spares is exact in the long
// run only, so that those jobs are long.
func TestMonteCarloConverges(t *testing.T) {
	day := 86400.0
	for name, c := range map[string]struct {
		job   Job
		every int64
		runs  int
	}{
		"blocking":         {Job{Steps: 3000, StepS: 5, BlockS: 30, RestartS: 300, Rates: Rates{1e-4, 1e-4}, Spares: Unlimited}, 60, 20000},
		"behind":           {Job{Steps: 3000, StepS: 5, BlockS: 3, WriteS: 200, RestartS: 300, Rates: Rates{1e-4, 1e-4}, Spares: Unlimited}, 60, 20000},
		"slow writes":      {Job{Steps: 3000, StepS: 5, BlockS: 3, WriteS: 500, RestartS: 300, Rates: Rates{1e-4, 1e-4}, Spares: Unlimited}, 60, 20000},
		"stragglers":       {Job{Steps: 3000, StepS: 5, BlockS: 30, WriteS: 100, RestartS: 300, Rates: Rates{1e-4, 1e-4}, SlowShare: 0.3, SlowBy: 0.5, Spares: Unlimited}, 60, 20000},
		"hopeless restart": {Job{Steps: 100, StepS: 5, BlockS: 30, RestartS: 3000, Rates: Rates{5e-4, 5e-4}, Spares: Unlimited}, 10, 100000},
		"one segment":      {Job{Steps: 10, StepS: 60, BlockS: 30, WriteS: 60, RestartS: 60, Rates: Rates{1e-3, 0}, Spares: Unlimited}, 10, 20000},
		"a rest":           {Job{Steps: 137, StepS: 60, BlockS: 30, WriteS: 60, RestartS: 60, Rates: Rates{1e-3, 0}, Spares: Unlimited}, 10, 20000},
		"spares":           {Job{Steps: 400000, StepS: 30, BlockS: 30, RestartS: 300, Rates: Rates{4e-5, 4e-5}, Spares: 2, RepairS: day}, 60, 400},
		"no spares":        {Job{Steps: 400000, StepS: 30, BlockS: 30, RestartS: 300, Rates: Rates{4e-6, 4e-5}, Spares: 0, RepairS: day}, 60, 400},
	} {
		t.Run(name, func(t *testing.T) {
			e := c.job.Expect(c.every)
			d, err := c.job.MonteCarlo(context.Background(), c.every, c.runs, 1)
			require.NoError(t, err)
			t.Logf("closed form %.6g s, simulated %.6g ± %.2g s, goodput %.4f", e.TotalS, d.TotalS.Mean, d.TotalS.StdErr, e.Goodput)
			require.InDelta(t, e.TotalS, d.TotalS.Mean, 5*d.TotalS.StdErr+1e-9*e.TotalS)
			require.InDelta(t, e.Interruptions, d.Failed.Mean, 5*d.Failed.StdErr)
			require.InDelta(t, e.WaitShare, d.Wait.Mean, 5*d.Wait.StdErr+1e-3*e.WaitShare)
			require.Less(t, d.TotalS.StdErr, 0.01*e.TotalS, "the test would accept anything")
		})
	}
}

// The same for generated jobs, with a wider net for the many draws.
func TestMonteCarloConvergesGenerated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawn(t)
		j.Spares = Unlimited
		j.Steps = min(j.Steps, 500)
		every := rapid.Int64Range(1, 200).Draw(t, "every")
		e := j.Expect(every)
		if e.Interruptions > 200 {
			t.Skip("too long")
		}
		const runs = 400
		d, err := j.MonteCarlo(context.Background(), every, runs, 1)
		require.NoError(t, err)
		// Where failures are rare the sample's own error says little: not below
		// that of counting as many as are expected, and a few more.
		// A failure brings clump more where restarts fail as well.
		clump := math.Exp(j.RestartS * j.Rates.Total())
		counting := max(d.Failed.StdErr, math.Sqrt(2*clump*e.Interruptions/runs))
		require.InDelta(t, e.Interruptions, d.Failed.Mean, 6*counting+6*clump/runs)
	})
}

func TestSameSeedSameBytes(t *testing.T) {
	j := Job{Steps: 20000, StepS: 5, BlockS: 30, WriteS: 40, RestartS: 300, Rates: Rates{1e-4, 1e-4}, Spares: 3, RepairS: 7200, SlowShare: 0.1, SlowBy: 0.1}
	run := func(threads int, seed uint64) *Distribution {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		d, err := j.MonteCarlo(context.Background(), 50, 200, seed)
		require.NoError(t, err)
		return d
	}
	require.Equal(t, run(1, 7), run(8, 7))
	require.NotEqual(t, run(1, 7), run(1, 8))
}

// Segments skipped over in one step are those that would have run one by one.
func TestSkippingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawn(t)
		j.SlowShare, j.SlowBy = 0, 0
		every := rapid.Int64Range(1, 50).Draw(t, "every")
		seed := rapid.Uint64().Draw(t, "seed")
		life := rapid.Float64Range(0, 1e5).Draw(t, "life")
		fast := run{Job: j, rng: rand.New(rand.NewPCG(seed, 0)), every: every, left: j.Steps, clean: again}
		slow := fast
		slow.SlowShare, slow.SlowBy = 1e-300, 0 // takes the long way
		require.Equal(t, slow.attempt(life), fast.attempt(life))
		require.Equal(t, slow.left, fast.left)
		require.InEpsilon(t, max(slow.out.TotalS, 1e-9), max(fast.out.TotalS, 1e-9), 1e-9)
	})
}

// Elasticities are the slopes of the closed form.
func TestElasticity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawn(t)
		every := rapid.Int64Range(1, 200).Draw(t, "every")
		e := j.Elasticity(every)
		const h = 1e-5
		slope := func(change func(*Job, float64)) float64 {
			up, down := j, j
			change(&up, 1+h)
			change(&down, 1/(1+h))
			return math.Log(down.Goodput(every)/up.Goodput(every)) / (2 * math.Log1p(h))
		}
		within := func(name string, got, want float64) {
			require.InDelta(t, want, got, 1e-5*(1+math.Abs(want)), name)
		}
		if work := float64(every) * j.StepS; math.Abs(work-j.WriteS) > 1 && math.Abs(work*(1+j.SlowBy)-j.WriteS) > 1 { // no kink
			// Goodput counts a longer step as more useful time.
			within("write", e.Write, slope(func(j *Job, f float64) { j.WriteS *= f }))
			within("step", e.Step, 1+slope(func(j *Job, f float64) { j.StepS *= f }))
		}
		within("failures", e.Failures, slope(func(j *Job, f float64) { j.Rates.Node *= f; j.Rates.Else *= f }))
		within("restart", e.Restart, slope(func(j *Job, f float64) { j.RestartS *= f }))
		within("checkpoint", e.Checkpoint, slope(func(j *Job, f float64) { j.BlockS *= f }))
	})
}

// Erlang's formula B against the usual tables: at a blocking of 1 % 10 lines
// carry 4.461 erlangs and 20 lines 12.03.
func TestErlangB(t *testing.T) {
	require.InDelta(t, 0.01, erlangB(10, 4.461), 1e-5)
	require.InDelta(t, 0.01, erlangB(20, 12.03), 1e-5)
	require.Zero(t, erlangB(3, 0))
}

// No other number of spares takes fewer node-hours.
func TestBestSpares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.Int64Range(1, 4096).Draw(t, "nodes")
		j := Job{Rates: Rates{Node: 1 / rapid.Float64Range(1e3, 1e7).Draw(t, "mtbf")}, RepairS: rapid.Float64Range(0, 1e5).Draw(t, "repair")}
		hours := func(spares int64) float64 {
			j.Spares = spares
			return float64(nodes+spares) / (1 - j.Waiting())
		}
		best := j.BestSpares(nodes)
		for s := range best + 50 {
			require.LessOrEqual(t, hours(best), hours(s)*(1+1e-9), "%d spares instead of %d", s, best)
		}
	})
}

func TestNoFailures(t *testing.T) {
	require.Equal(t, Elasticity{Step: 0.8, Checkpoint: 0.2}, Job{Steps: 100, StepS: 2, BlockS: 1, Spares: Unlimited}.Elasticity(2))
	j := Job{Steps: 100, StepS: 2, BlockS: 1, Spares: Unlimited}
	require.Equal(t, int64(100), j.BestInterval())
	require.Equal(t, 201.0, j.Expect(100).TotalS)
	require.Equal(t, 210.0, j.Expect(10).TotalS)
	require.Equal(t, 210.0, j.Simulate(10, rand.New(rand.NewPCG(1, 1))).TotalS)
}

func TestWithin(t *testing.T) {
	d := Distribution{totals: []float64{1, 2, 2, 5}}
	for s, want := range map[float64]float64{0: 0, 1: 0.25, 2: 0.75, 4.9: 0.75, 5: 1} {
		require.Equal(t, want, d.Within(s), s)
	}
}

func TestCheck(t *testing.T) {
	good := Job{Steps: 1, StepS: 1, Spares: Unlimited}
	require.NoError(t, good.Check())
	for want, bad := range map[string]func(*Job){
		"step time is 0":                func(j *Job) { j.StepS = 0 },
		"restart time is NaN":           func(j *Job) { j.RestartS = math.NaN() },
		"rate of node failures is +Inf": func(j *Job) { j.Rates.Node = math.Inf(1) },
		"0 steps":                       func(j *Job) { j.Steps = 0 },
		"share 2":                       func(j *Job) { j.SlowShare = 2 },
		"-1 spare nodes":                func(j *Job) { j.Spares = -1 },
	} {
		j := good
		bad(&j)
		require.ErrorContains(t, j.Check(), want)
	}
}

// Ten thousand runs of Llama 3's 54 days: 7.8 failures a day.
func BenchmarkMonteCarlo10000(b *testing.B) {
	j := Job{Steps: 700_000, StepS: 6.2, BlockS: 3, RestartS: 600, Rates: Rates{321 / (54 * 86400.0), 98 / (54 * 86400.0)}, Spares: 10, RepairS: 86400}
	every := j.BestInterval()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.MonteCarlo(context.Background(), every, 10_000, 1); err != nil {
			b.Fatal(err)
		}
	}
}
