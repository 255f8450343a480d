package goodput

import "math"

// Estimate is what a job takes on average.
type Estimate struct {
	Every         int64   // steps between checkpoints
	TotalS        float64 // from the first step until the last checkpoint is safe
	Goodput       float64 // Steps x StepS over TotalS
	Interruptions float64 // failures in TotalS
	WaitShare     float64 // share of TotalS that waits for a spare node
	Loss          Loss
}

// Loss is where the time goes that is not useful, as shares of TotalS. With the
// goodput they add up to 1.
type Loss struct {
	Checkpoint float64 // training waits for a checkpoint
	Straggler  float64 // in segments that were kept
	Restart    float64
	Spare      float64 // waiting for a node
	Redone     float64 // steps that a failure threw away, and stalls behind a slow write
}

// laplace is the mean of exp(-rate x length) and of length over the two kinds of
// segments, with lengths plus an offset.
func (j Job) laplace(steps int64, offset float64, length func(segment) float64) (decay, gone, mean float64) {
	rate := j.Rates.Total()
	add := func(p float64, slow bool) {
		if p == 0 {
			return
		}
		l := offset + length(j.segment(steps, slow))
		decay += p * math.Exp(-rate*l)
		gone -= p * math.Expm1(-rate*l)
		mean += p * l
	}
	add(1-j.SlowShare, false)
	add(j.SlowShare, true)
	return decay, gone, mean
}

func after(s segment) float64 { return s.after }
func again(s segment) float64 { return s.again }

// segmentS is the expected time of a segment, waits for spares apart: the first
// attempt takes f, each further one R + b, of which a failure leaves what is safe
// untouched. With q = E[exp(-lf)] and p = E[exp(-l(R+b))] an attempt lasts (1-q)/l
// or (1-p)/l on average and 1/p further ones follow a failed first, so that
//
//	E = (1-q)/l + (1-q) (1-p)/(l p) = (1-q) / (l p)
//
// which for a checkpoint that blocks (f = b) and no stragglers is Daly's
// equation 20: exp(lR) (exp(lb) - 1) / l.
func (j Job) segmentS(steps int64, first func(segment) float64) float64 {
	rate := j.Rates.Total()
	_, q, mean := j.laplace(steps, 0, first)
	if rate == 0 {
		return mean
	}
	p, _, _ := j.laplace(steps, j.RestartS, again)
	return q / (rate * p)
}

// slowS is the expected time that stragglers add to a segment's last attempt,
// the one that is kept.
func (j Job) slowS(steps int64, first func(segment) float64) float64 {
	if j.SlowShare == 0 {
		return 0
	}
	rate, slow := j.Rates.Total(), j.segment(steps, true)
	_, q, _ := j.laplace(steps, 0, first)
	p, _, _ := j.laplace(steps, j.RestartS, again)
	kept := math.Exp(-rate*first(slow)) + q*math.Exp(-rate*(j.RestartS+again(slow)))/p
	return j.SlowShare * kept * float64(steps) * j.StepS * j.SlowBy
}

// Goodput is the share of a long run's time that is useful with a checkpoint
// every so many steps. It is 0 where the job never gets anywhere, within the
// range of floats.
func (j Job) Goodput(every int64) float64 {
	return float64(every) * j.StepS / j.segmentS(every, after) * (1 - j.Waiting())
}

// Waiting is the long-run share of time without a node to run on. Nodes in
// repair behave like calls in a group of Spares+1 lines: they arrive at the rate
// of failures, a job that waits has none, so that all lines are busy for the
// share of Erlang's formula B, whatever the distribution of repair times.
func (j Job) Waiting() float64 {
	if j.Spares == Unlimited {
		return 0
	}
	return erlangB(j.Spares+1, j.Rates.Node*j.RepairS)
}

// erlangB is the share of time in which n lines are all busy under a load of
// that many calls (Erlang 1917), by its recurrence.
func erlangB(n int64, load float64) float64 {
	b := 1.0
	for i := int64(1); i <= n; i++ {
		b = load * b / (float64(i) + load*b)
		if b == 0 {
			break
		}
	}
	return b
}

// BestSpares is the number of spare nodes with which a job on that many nodes
// takes the fewest node-hours: those of spares against those of all that wait.
func (j Job) BestSpares(nodes int64) int64 {
	load, b := j.Rates.Node*j.RepairS, 1.0
	best, least := int64(0), math.Inf(1)
	for n := int64(1); b > 1e-9; n++ { // then a spare more saves nothing
		b = load * b / (float64(n) + load*b)
		if hours := float64(nodes+n-1) / (1 - b); hours < least {
			best, least = n-1, hours
		}
	}
	return best
}

// Expect is the closed-form estimate of a job with a checkpoint every so many
// steps (at most the whole job).
func (j Job) Expect(every int64) Estimate {
	every = min(max(every, 1), j.Steps)
	full, rest := j.Steps/every, j.Steps%every
	// Nothing is in flight before the first segment.
	running := j.segmentS(every, again) + float64(full-1)*j.segmentS(every, after)
	slow := j.slowS(every, again) + float64(full-1)*j.slowS(every, after)
	segments := float64(full)
	if rest > 0 {
		running += j.segmentS(rest, after)
		slow += j.slowS(rest, after)
		segments++
	}
	e := Estimate{Every: every, WaitShare: j.Waiting()}
	useful := float64(j.Steps) * j.StepS
	e.TotalS = running / (1 - e.WaitShare)
	rate := j.Rates.Total()
	e.Interruptions = rate * running
	e.Goodput = useful / e.TotalS
	l := &e.Loss
	l.Checkpoint = segments * j.BlockS / e.TotalS
	l.Straggler = slow / e.TotalS
	if rate > 0 { // a restart lasts until the next failure at most
		l.Restart = -math.Expm1(-rate*j.RestartS) * running / e.TotalS
	}
	l.Spare = e.WaitShare
	l.Redone = 1 - e.Goodput - l.Checkpoint - l.Straggler - l.Restart - l.Spare
	return e
}
