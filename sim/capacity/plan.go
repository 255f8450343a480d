package capacity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/goodput"
)

const (
	hour = 3600.0
	day  = 24 * hour
)

// Plan simulates every machine of a capacity plan. A machine that cannot run the
// job is an option with a Problem; an error is a plan that makes no sense.
func Plan(ctx context.Context, c *scenarios.Capacity) (*Result, error) {
	res := &Result{Name: c.Name, Scenario: c.Scenario, Tokens: c.Tokens, DeadlineDays: c.Days, Chosen: -1, Assumptions: c.Origins}
	base, err := scenarios.Load(c.Scenario, c.Set)
	if err != nil {
		return nil, err
	}
	options := c.Options
	if len(options) == 0 {
		options = []scenarios.CapacityOption{{}}
	}
	for _, o := range options {
		if err := planOption(ctx, c, &base.Scenario, o, res); err != nil {
			return nil, err
		}
	}
	res.choose()
	if res.Chosen >= 0 {
		if res.Sensitivity, err = sensitivity(ctx, c, &res.Options[res.Chosen]); err != nil {
			return nil, err
		}
	}
	return res, res.expect(c)
}

// planOption adds the sizes of one kind of machine.
func planOption(ctx context.Context, c *scenarios.Capacity, s *scenarios.Scenario, o scenarios.CapacityOption, res *Result) error {
	counts := o.GPUs
	if counts == nil {
		counts = around(s)
	}
	for _, n := range counts {
		opt := Option{GPU: s.Cluster.GPU, GPUs: n, price: c.USDPerGPUHour}
		if o.GPU != "" {
			opt.GPU = o.GPU
		}
		if o.USDPerGPUHour > 0 {
			opt.price = o.USDPerGPUHour
		}
		err := opt.fill(ctx, c, slices.Concat(c.Set, resized(c, s, &opt), o.Set))
		var no notPossible
		switch {
		case errors.As(err, &no):
			opt.Problem = no.Error()
		case err != nil:
			return err
		}
		res.Options = append(res.Options, opt)
	}
	return nil
}

// around are the numbers of GPUs that are tried where none are named: the
// scenario's, and up to 8 times fewer and more by data parallelism.
func around(s *scenarios.Scenario) []int64 {
	var out []int64
	for div := int64(8); div > 1; div /= 2 {
		if s.Parallel.DP%div == 0 {
			out = append(out, s.Cluster.GPUs/div)
		}
	}
	for mul := int64(1); mul <= 8; mul *= 2 {
		out = append(out, s.Cluster.GPUs*mul)
	}
	return out
}

// resized are the overrides that bring a scenario to another machine.
func resized(c *scenarios.Capacity, s *scenarios.Scenario, o *Option) []string {
	sets := []string{fmt.Sprint("cluster.gpus=", o.GPUs), "parallel.dp=auto", "parallel.edp=auto", "parallel.shard=auto", "cluster.topology=auto"}
	if c.Batch == scenarios.BatchPerGPU {
		sets = append(sets, "training.global_batch=auto", fmt.Sprint("training.microbatches=", s.Training.Microbatches))
	} else {
		sets = append(sets, fmt.Sprint("training.global_batch=", s.Training.GlobalBatch), "training.microbatches=auto")
	}
	if o.GPU != s.Cluster.GPU {
		sets = append(sets, "cluster.gpu="+o.GPU, "cluster.node=auto", "cluster.profile=auto")
		for _, key := range []string{"gpus_per_node", "nvlink_domain", "nvlink_gbps", "nic_gbps", "host_gbps", "hbm_gib", "hbm_gbps", "power_w"} {
			sets = append(sets, "cluster.override."+key+"=auto")
		}
	}
	return sets
}

// notPossible says why a machine cannot run the job.
type notPossible struct{ error }

func (o *Option) fill(ctx context.Context, c *scenarios.Capacity, sets []string) error {
	res, err := scenarios.Load(c.Scenario, sets)
	if err != nil {
		return notPossible{shortened(err)}
	}
	s := &res.Scenario
	s.Expect = nil // of the scenario's own size
	run, err := sim.Simulate(ctx, s, sim.Options{})
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return notPossible{err}
	}
	if !run.Result.Fits {
		return notPossible{errors.New(run.Result.FitAdvice)}
	}
	o.run = run
	o.DP, o.GlobalBatch = s.Parallel.DP, s.Training.GlobalBatch
	o.StepTimeS, o.StepTimeRelError = run.Result.StepTimeS, run.Result.StepTimeRelError
	o.SlowestRankS = run.Result.BreakdownS["jitter"]
	o.Nodes = (s.Cluster.GPUs + s.Cluster.GPUsPerNode - 1) / s.Cluster.GPUsPerNode
	o.job = o.newJob(c)
	return o.evaluate(ctx, c)
}

// shortened is the first of joined errors without its file, which for overrides
// is of no help.
func shortened(err error) error {
	var e *scenarios.Error
	if !errors.As(err, &e) {
		return err
	}
	short := *e
	short.File, short.Line = "", 0
	return &short
}

// newJob is the job on a machine, but for the number of its steps.
func (o *Option) newJob(c *scenarios.Capacity) goodput.Job {
	s := o.run.Scenario
	gpus, nodes := float64(s.Cluster.GPUs), float64(o.Nodes)
	switches := 0.0
	if s.Cluster.Topology != scenarios.SingleNode {
		switches = math.Ceil(gpus / float64(c.Failures.GPUsPerSwitch))
	}
	f := c.Failures
	perS := Causes{GPU: gpus / f.GPUHours / hour, Node: nodes / f.NodeHours / hour,
		Switch: switches / f.SwitchHours / hour, Software: gpus / f.SoftwareHours / hour}
	o.Causes = perS // times the running time, once that is known
	j := goodput.Job{StepS: o.StepTimeS, Rates: goodput.Rates{Node: perS.GPU + perS.Node, Else: perS.Switch + perS.Software},
		SlowShare: c.SlowShare, SlowBy: c.SlowBy, Spares: c.SpareNodes, RepairS: c.RepairHours * hour}
	if negligible := 1 / (1e6 * hour * 24 * 365); j.Rates.Total() < negligible { // a failure in a million years
		j.Rates = goodput.Rates{}
	}
	if rate := j.Rates.Total(); rate > 0 {
		o.MTBFHours = 1 / rate / hour
	}
	o.Checkpoint.GB = c.Checkpoint.GB
	if o.Checkpoint.GB == 0 {
		o.Checkpoint.GB = checkpointBytes(o.run) / 1e9
	}
	written := o.Checkpoint.GB / c.Checkpoint.StorageGBps
	if c.Checkpoint.Mode == scenarios.CheckpointBehind {
		j.BlockS, j.WriteS = copyToHostS(o.run, o.Checkpoint.GB), written
	} else {
		j.BlockS = written
	}
	j.BlockS += c.Checkpoint.OverheadS
	j.RestartS = c.RestartMinutes*60 + o.Checkpoint.GB/c.ReadGBps
	if c.SpareNodes == scenarios.AutoSpares {
		j.Spares = j.BestSpares(o.Nodes)
	}
	o.SpareNodes, o.RestartS = j.Spares, j.RestartS
	return j
}

// checkpointBytes is what has to be saved: each parameter that trains in 2 bytes
// with its master weight and moments (Megatron's distributed checkpoint). FSDP's
// sharded parameters are their own master weights.
func checkpointBytes(r *sim.Run) float64 {
	s := r.Scenario
	fw := s.Framework
	params := float64(s.Model.Params())
	if s.Training.Finetune == "lora" {
		params = 0
		for rank := range r.Plan.Held {
			params += float64(r.Plan.AdapterParams(rank) * s.Parallel.TP)
		}
	}
	state := map[string]float64{"adam": 2, "sgd": 1}[s.Training.Optimizer] * fw.MomentDType.Bytes()
	if s.Training.Optimizer != "none" {
		state += fw.MainParamDType.Bytes()
	}
	weights := 2.0
	if s.Parallel.ZeRO == 3 && s.Parallel.PP == 1 && state > 0 {
		weights = 0
	}
	return params * (weights + state)
}

// copyToHostS is how long the ranks take to copy what they save to their hosts'
// memory, at the published rate of the link: each an equal part where ZeRO shards
// the optimizer's states, else the ranks of one data-parallel replica all of it.
func copyToHostS(r *sim.Run, gb float64) float64 {
	s := r.Scenario
	writers := s.Cluster.GPUs
	if s.Parallel.ZeRO == 0 {
		writers /= s.Parallel.DP * s.Parallel.CP
	}
	return gb / float64(max(writers, 1)) / s.Cluster.HostGBps
}

// evaluate fills in what the job takes, from its steps or from the time it has.
func (o *Option) evaluate(ctx context.Context, c *scenarios.Capacity) error {
	j := &o.job
	perStep := float64(o.run.Plan.StepTokens())
	const maxSteps = 1e12
	steps := math.Ceil(c.Tokens / perStep)
	if c.Tokens == 0 {
		steps = math.Floor(c.Days * day / j.StepS)
	}
	if !(steps >= 1 && steps <= maxSteps) {
		return notPossible{fmt.Errorf("%.3g steps of %.3g tokens and %.3g s in the amount or time that the plan gives; from 1 to %g are possible", steps, perStep, j.StepS, float64(maxSteps))}
	}
	j.Steps = int64(steps)
	if err := j.Check(); err != nil {
		return notPossible{err}
	}
	every := c.Checkpoint.Steps
	if every == 0 {
		every = j.BestInterval()
	}
	e := j.Expect(every)
	if !(e.Goodput > minGoodput) {
		return notPossible{fmt.Errorf("it hardly gets anywhere: a failure every %.3g s against %.3g s to restart and %.3g s to the next checkpoint",
			1/j.Rates.Total(), j.RestartS, float64(e.Every)*j.StepS+j.BlockS+j.WriteS)}
	}
	if c.Tokens == 0 { // as many steps as the time allows
		j.Steps = max(int64(steps*e.Goodput), 1)
		e = j.Expect(every)
	}
	o.Steps, o.Tokens = j.Steps, float64(j.Steps)*perStep
	k := &o.Checkpoint
	k.BlockS, k.WriteS, k.EverySteps, k.EveryS = j.BlockS, j.WriteS, e.Every, float64(e.Every)*j.StepS
	if rate := j.Rates.Total(); rate > 0 && j.BlockS > 0 {
		k.YoungS, k.DalyS, k.ExactS = goodput.YoungS(j.BlockS, 1/rate), goodput.DalyS(j.BlockS, 1/rate), goodput.ExactS(j.BlockS, 1/rate)
	}
	o.Days, o.Goodput, o.Interruptions, o.Loss = e.TotalS/day, e.Goodput, e.Interruptions, Loss(e.Loss)
	running := e.TotalS * (1 - e.WaitShare)
	if j.Rates.Total() == 0 {
		running = 0
	}
	o.Causes = Causes{o.Causes.GPU * running, o.Causes.Node * running, o.Causes.Switch * running, o.Causes.Software * running}
	d, err := j.MonteCarlo(ctx, e.Every, int(c.Runs), uint64(c.Seed))
	if err != nil {
		return err
	}
	o.simulated(d, c)
	o.InTime = c.Days == 0 || c.Tokens == 0 || o.Days <= c.Days
	o.bill(c)
	return nil
}

// minGoodput is where a job is given up: its simulation would take for ever.
const minGoodput = 1e-3

func (o *Option) simulated(d *goodput.Distribution, c *scenarios.Capacity) {
	spread := func(s goodput.Spread, unit float64) Spread {
		return Spread{Mean: s.Mean / unit, StdErr: s.StdErr / unit, P5: s.P5 / unit, P50: s.P50 / unit, P95: s.P95 / unit, Smallest: s.Min / unit, Largest: s.Max / unit}
	}
	o.Simulated = &Distribution{Runs: d.Runs, Goodput: spread(d.Goodput, 1), Days: spread(d.TotalS, day), Interruptions: spread(d.Failed, 1)}
	if c.Days > 0 && c.Tokens > 0 {
		o.Simulated.InTime = d.Within(c.Days * day)
	}
}

// bill adds up GPU-hours, energy and money. Spares are rented and idle.
func (o *Option) bill(c *scenarios.Capacity) {
	s := o.run.Scenario
	hours := o.Days * 24
	spares := float64(o.SpareNodes * s.Cluster.GPUsPerNode)
	o.GPUHours = hours * (float64(o.GPUs) + spares)
	gpuW := s.Cluster.PowerW
	waits := o.Loss.Checkpoint + o.Loss.Restart + o.Loss.Spare
	busyW := gpuW*(c.LoadShare*(1-waits)+c.IdleShare*waits) + c.HostW
	idleW := gpuW*c.IdleShare + c.HostW
	o.EnergyMWh = hours * (float64(o.GPUs)*busyW + spares*idleW) * c.PUE / 1e6
	o.CostUSD = o.GPUHours*o.price + o.EnergyMWh*1000*c.USDPerKWh
}

// choose takes the cheapest option that is in time; of equal ones the fastest.
// Where the time decides how much is trained, it is the cheapest per token.
func (r *Result) choose() {
	cost := func(o *Option) float64 { return o.CostUSD / o.Tokens }
	for i := range r.Options {
		o := &r.Options[i]
		if o.Problem != "" || !o.InTime {
			continue
		}
		if r.Chosen < 0 || cost(o) < cost(&r.Options[r.Chosen]) ||
			cost(o) == cost(&r.Options[r.Chosen]) && o.Days < r.Options[r.Chosen].Days {
			r.Chosen = i
		}
	}
}
