package goodput

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Outcome is one simulated run of a job.
type Outcome struct {
	TotalS, WaitS float64
	Interruptions int64
}

// Distribution is what many runs of one job came to.
type Distribution struct {
	Runs    int
	Goodput Spread
	TotalS  Spread
	Failed  Spread // interruptions
	Wait    Spread // share of the time that waits for a spare node

	totals []float64 // ascending
}

// Within is the share of runs that take no longer than so many seconds.
func (d *Distribution) Within(seconds float64) float64 {
	n, _ := slices.BinarySearchFunc(d.totals, seconds, func(t, s float64) int {
		if t <= s {
			return -1
		}
		return 1
	})
	return float64(n) / float64(len(d.totals))
}

// Spread is the mean of a quantity over runs, how well it is known, and its
// quantiles.
type Spread struct {
	Mean     float64
	StdErr   float64 // standard error of the mean
	P5, P50  float64
	P95      float64
	Min, Max float64
}

// maxFailures bounds one run, so that a job that gets nowhere ends.
const maxFailures = 10_000_000

// MonteCarlo simulates runs of the job, with a checkpoint every so many steps.
// Run i draws from the i-th stream of the seed (PCG), so that the result depends
// on neither the number of threads nor their order. A run that is interrupted
// ten million times is given up: TotalS is infinite and its goodput zero.
func (j Job) MonteCarlo(ctx context.Context, every int64, runs int, seed uint64) (*Distribution, error) {
	out := make([]Outcome, runs)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), runs) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(runs) && ctx.Err() == nil; i = next.Add(1) - 1 {
				out[i] = j.Simulate(every, rand.New(rand.NewPCG(seed, uint64(i))))
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	useful := float64(j.Steps) * j.StepS
	var last []float64
	pick := func(f func(Outcome) float64) Spread {
		last = make([]float64, runs)
		for i, o := range out {
			last[i] = f(o)
		}
		return spread(last)
	}
	total := pick(func(o Outcome) float64 { return o.TotalS })
	return &Distribution{
		Runs:    runs,
		totals:  last,
		TotalS:  total,
		Goodput: pick(func(o Outcome) float64 { return useful / o.TotalS }),
		Failed:  pick(func(o Outcome) float64 { return float64(o.Interruptions) }),
		Wait: pick(func(o Outcome) float64 {
			if o.WaitS == 0 {
				return 0
			}
			return o.WaitS / o.TotalS
		}),
	}, nil
}

// spread summarises values; it sorts them.
func spread(v []float64) Spread {
	slices.Sort(v) // sums in this order: the same on every machine
	n := float64(len(v))
	if n == 0 {
		return Spread{}
	}
	s := Spread{Min: v[0], Max: v[len(v)-1], P5: quantile(v, 0.05), P50: quantile(v, 0.5), P95: quantile(v, 0.95)}
	for _, x := range v {
		s.Mean += x / n
	}
	if n > 1 {
		for _, x := range v {
			s.StdErr += (x - s.Mean) * (x - s.Mean) / (n - 1) / n
		}
		s.StdErr = math.Sqrt(s.StdErr)
	}
	return s
}

// quantile interpolates between the order statistics around p (n-1).
func quantile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	lo := int(at)
	if lo+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[lo] + (at-float64(lo))*(sorted[lo+1]-sorted[lo])
}

// Simulate runs the job once.
func (j Job) Simulate(every int64, rng *rand.Rand) Outcome {
	every = min(max(every, 1), j.Steps)
	r := run{Job: j, rng: rng, every: every, left: j.Steps}
	rate := j.Rates.Total()
	r.clean = again // nothing is in flight before the first segment
	for {
		life := math.Inf(1)
		if rate > 0 {
			life = rng.ExpFloat64() / rate
		}
		if r.attempt(life) {
			return r.out
		}
		r.out.Interruptions++
		if r.out.Interruptions == maxFailures {
			r.out.TotalS = math.Inf(1)
			return r.out
		}
		r.replace()
	}
}

// run is the state of one simulated run.
type run struct {
	Job
	rng    *rand.Rand
	every  int64
	left   int64                   // steps after the last safe checkpoint
	clean  func(s segment) float64 // length of the next segment's first attempt
	failed bool                    // the next attempt begins with a restart
	repair []float64               // when the nodes in repair are back, ascending
	out    Outcome
}

// attempt runs until the job is done (true) or life has passed.
func (r *run) attempt(life float64) bool {
	at := 0.0
	if r.failed {
		at = r.RestartS
		r.clean = again
	}
	for r.left > 0 {
		if r.SlowShare == 0 && r.left > r.every && at < life {
			at += r.skip(life - at)
		}
		steps := min(r.every, r.left)
		slow := r.SlowShare > 0 && r.rng.Float64() < r.SlowShare
		at += r.clean(r.segment(steps, slow))
		if at > life {
			r.out.TotalS += life
			r.failed = true
			return false
		}
		r.left -= steps
		r.clean = after
	}
	r.out.TotalS += at
	return true
}

// skip finishes the whole segments of one length that fit before a failure, all
// but the job's last, and returns the time that they take: what attempt would
// do one by one.
func (r *run) skip(life float64) float64 {
	if r.clean(r.segment(r.every, false)) != after(r.segment(r.every, false)) {
		return 0 // the first is of another length
	}
	length := after(r.segment(r.every, false))
	n := min(int64(min(life/length, float64(r.left)))-1, (r.left-1)/r.every) // life may be infinite
	if n <= 0 {
		return 0
	}
	r.left -= n * r.every
	r.clean = after
	return float64(n) * length
}

// replace takes a spare for the node that broke, if one did, or waits for one.
func (r *run) replace() {
	if r.Spares == Unlimited || r.Rates.Node == 0 || r.rng.Float64()*r.Rates.Total() >= r.Rates.Node {
		return
	}
	now := r.out.TotalS
	back := 0
	for back < len(r.repair) && r.repair[back] <= now {
		back++
	}
	r.repair = append(slices.Delete(r.repair, 0, back), now+r.RepairS)
	if int64(len(r.repair)) > r.Spares {
		r.out.WaitS += r.repair[0] - now
		r.out.TotalS = r.repair[0]
		r.repair = slices.Delete(r.repair, 0, 1)
	}
}
