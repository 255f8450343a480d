package capacity

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
)

func planned(t *testing.T, text string) *Result {
	t.Helper()
	c, err := scenarios.ParseCapacity("case.toml", []byte(text))
	require.NoError(t, err)
	r, err := Plan(context.Background(), c)
	require.NoError(t, err)
	return r
}

// small is Llama 3 8B on 16 GPUs, tp 2, and with that dp 8.
const small = `
scenario = "quickstart"
set = ["cluster.gpus=16", "model.name=llama3-8b", "parallel.tp=2", "parallel.pp=1", "parallel.vp=1", "parallel.cp=1"]
checkpoint = { storage_gbps = 10 }
train = { tokens = 2e11 }
`

// Every plan of the catalogue is possible and meets what was published.
func TestCatalogue(t *testing.T) {
	for _, name := range scenarios.CapacityNames() {
		t.Run(name, func(t *testing.T) {
			c, err := scenarios.LoadCapacity(name)
			require.NoError(t, err)
			r, err := Plan(context.Background(), c)
			require.NoError(t, err)
			require.GreaterOrEqual(t, r.Chosen, 0)
			for _, e := range r.Expect {
				require.True(t, e.OK, "%s: %g, published %g", e.Metric, e.Got, e.Expected)
			}
			for i := range r.Options {
				sound(t, c, &r.Options[i])
			}
		})
	}
}

// sound holds an option to what is true of every one.
func sound(t *testing.T, c *scenarios.Capacity, o *Option) {
	t.Helper()
	if o.Problem != "" {
		return
	}
	l := o.Loss
	require.InDelta(t, 1, o.Goodput+l.Checkpoint+l.Redone+l.Restart+l.Spare+l.Straggler, 1e-9)
	require.InDelta(t, o.Interruptions, o.Causes.GPU+o.Causes.Node+o.Causes.Switch+o.Causes.Software, 1e-9*o.Interruptions)
	require.InEpsilon(t, float64(o.Steps)*o.StepTimeS/day, o.Days*o.Goodput, 1e-9)
	// Spares are there at the start, so that a short job waits less than the long
	// run that the closed form stands for: at most the share that is waited.
	require.InDelta(t, o.Days, o.Simulated.Days.Mean, 4*o.Simulated.Days.StdErr+2*l.Spare*o.Days)
	require.InDelta(t, o.Interruptions, o.Simulated.Interruptions.Mean, 4*o.Simulated.Interruptions.StdErr+1e-9)
	require.InEpsilon(t, o.Tokens, float64(o.Steps)*o.run.Result.TokensPerSPerGPU*o.StepTimeS*float64(o.GPUs), 1e-9)
	if c.Tokens > 0 {
		require.GreaterOrEqual(t, o.Tokens, c.Tokens)
	} else {
		require.InEpsilon(t, c.Days, o.Days, 1e-3)
	}
}

func TestSizesAndChoice(t *testing.T) {
	r := planned(t, small)
	var sizes []int64
	for _, o := range r.Options {
		sizes = append(sizes, o.GPUs)
	}
	require.Equal(t, []int64{2, 4, 8, 16, 32, 64, 128}, sizes)
	c, err := scenarios.ParseCapacity("case.toml", []byte(small))
	require.NoError(t, err)
	best := r.Options[r.Chosen]
	for i := range r.Options {
		o := &r.Options[i]
		sound(t, c, o)
		require.True(t, o.Problem != "" || o.CostUSD >= best.CostUSD)
	}

	// A deadline that the cheapest misses buys more GPUs, one that none meets none.
	tight := planned(t, small+fmt.Sprintf("train.days = %g\n", best.Days*0.6))
	require.GreaterOrEqual(t, tight.Chosen, 0)
	require.Greater(t, tight.Options[tight.Chosen].GPUs, best.GPUs)
	require.LessOrEqual(t, tight.Options[tight.Chosen].Days, best.Days*0.6)
	none := planned(t, small+"train.days = 0.01\n[[expect]]\nmetric = \"days\"\nvalue = 1\n")
	require.Equal(t, -1, none.Chosen)
	require.False(t, none.Expect[0].OK)
	require.Empty(t, none.Sensitivity)
}

// A machine that cannot do it says why, and stays in the list.
func TestProblems(t *testing.T) {
	r := planned(t, small+"[[option]]\ngpus = [12, 16, 8]\n[[option]]\ngpu = \"h200\"\ngpus = [16]\nset = [\"parallel.tp=3\"]\n")
	require.Len(t, r.Options, 4)
	require.Contains(t, r.Options[0].Problem, "global_batch a multiple of 6")
	require.Empty(t, r.Options[1].Problem)
	require.Contains(t, r.Options[3].Problem, "tp")
	hopeless := planned(t, small+"failures.gpu_mtbf_hours = 0.5\nrestart.minutes = 60\n[[option]]\ngpus = [16]\n")
	require.Contains(t, hopeless.Options[0].Problem, "hardly gets anywhere")
}

func TestOverridesOfAnOption(t *testing.T) {
	r := planned(t, small+"[[option]]\ngpus = [16]\n[[option]]\ngpus = [16]\nset = [\"training.precision=fp8\"]\nusd_per_gpu_hour = 20\n[[option]]\ngpu = \"h200\"\ngpus = [16]\n")
	bf16, fp8, h200 := r.Options[0], r.Options[1], r.Options[2]
	require.Less(t, fp8.StepTimeS, bf16.StepTimeS)
	require.InEpsilon(t, 10, fp8.CostUSD/fp8.GPUHours/(bf16.CostUSD/bf16.GPUHours), 1e-9)
	require.Equal(t, "h200", h200.run.Scenario.Cluster.GPU)
	for _, o := range r.Options { // none has a deadline
		require.LessOrEqual(t, r.Options[r.Chosen].CostUSD, o.CostUSD)
	}
}

// The batch stays, or grows with the GPUs; then the microbatches stay.
func TestBatch(t *testing.T) {
	fixed := planned(t, small+"[[option]]\ngpus = [8, 16]\n")
	grows := planned(t, small+"train.batch = \"per_gpu\"\n[[option]]\ngpus = [8, 16]\n")
	require.Equal(t, fixed.Options[0].GlobalBatch, fixed.Options[1].GlobalBatch)
	require.Equal(t, 2*grows.Options[0].GlobalBatch, grows.Options[1].GlobalBatch)
	require.Equal(t, grows.Options[0].run.Plan.Microbatches, grows.Options[1].run.Plan.Microbatches)
}

// What is saved: 2 + 4 + 4 + 4 bytes a parameter with Adam, less with FSDP, whose
// shards are the master weights, and with what trains less.
func TestCheckpointBytes(t *testing.T) {
	bytes := func(sets ...string) float64 {
		quoted, err := json.Marshal(sets)
		require.NoError(t, err)
		r := planned(t, strings.Replace(small, "]", ","+strings.Trim(string(quoted), "[")+"", 1)+"[[option]]\ngpus = [8]\n")
		require.Empty(t, r.Options[0].Problem)
		return r.Options[0].Checkpoint.GB * 1e9 / float64(r.Options[0].run.Scenario.Model.Params())
	}
	require.InEpsilon(t, 14, bytes("parallel.zero=1"), 1e-9)
	require.InEpsilon(t, 12, bytes("framework.preset=fsdp", "parallel.zero=3", "parallel.tp=1", "parallel.cp=1"), 1e-9)
	require.InEpsilon(t, 10, bytes("training.optimizer=sgd"), 1e-9)
	require.Less(t, bytes("training.finetune=lora"), 0.1)
}

// Checkpoints behind training block for less and lose a little more; both at
// the best interval, and no interval asked for is better.
func TestCheckpointModes(t *testing.T) {
	at := func(extra string) Option {
		return planned(t, small+extra+"\n[[option]]\ngpus = [16]\n").Options[0]
	}
	blocking, behind := at(""), at("checkpoint.mode = \"behind\"")
	require.Less(t, behind.Checkpoint.BlockS, blocking.Checkpoint.BlockS)
	require.Greater(t, behind.Goodput, blocking.Goodput)
	for _, k := range []int64{blocking.Checkpoint.EverySteps / 2, blocking.Checkpoint.EverySteps * 2} {
		other := at(fmt.Sprintf("checkpoint.interval_steps = %d", k))
		require.Equal(t, k, other.Checkpoint.EverySteps)
		require.Less(t, other.Goodput, blocking.Goodput)
	}
}

func TestNothingFails(t *testing.T) {
	r := planned(t, small+"failures.preset = \"none\"\n[[option]]\ngpus = [16]\n")
	o := r.Options[0]
	require.Zero(t, o.Interruptions)
	require.Zero(t, o.MTBFHours)
	require.Zero(t, o.SpareNodes)
	require.Greater(t, o.Goodput, 0.999)
	for _, e := range r.Sensitivity {
		require.NotEqual(t, "time between failures", e.What)
	}
}

// Derivatives are those of the whole answer: the finite change of ten per cent is
// near a tenth of ten times them, and on the side where more buys less.
func TestSensitivity(t *testing.T) {
	for _, extra := range []string{"", "checkpoint.mode = \"behind\"\n", "stragglers.share = 0.1\nspares.nodes = 0\n", "checkpoint.interval_steps = 50\n"} {
		r := planned(t, small+extra+"[[option]]\ngpus = [16]\n")
		for _, e := range r.Sensitivity {
			require.InDelta(t, e.Days, e.Rerun, 0.15*max(-e.Days, e.Days)+1e-3, "%s %s", extra, e.What)
			if e.What != "restart time" {
				require.LessOrEqual(t, e.Days, 1e-3, "%s %s", extra, e.What)
			}
		}
	}
}

// Threads change nothing, seeds do.
func TestDeterministic(t *testing.T) {
	run := func(threads int, extra string) string {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		b, err := json.Marshal(planned(t, small+extra+"[[option]]\ngpus = [16]\n"))
		require.NoError(t, err)
		return string(b)
	}
	require.Equal(t, run(1, ""), run(8, ""))
	require.NotEqual(t, run(1, ""), run(1, "montecarlo.seed = 2\n"))
}
