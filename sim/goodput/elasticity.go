package goodput

import "math"

// Elasticity tells by how many per cent the time of a long run grows when one
// cause grows by one per cent: exact derivatives of the logarithm of Goodput's
// inverse (for Step: of the time for the same steps) at a fixed interval. At the
// best interval they hold for the best interval of the changed job too, to first
// order.
type Elasticity struct {
	Step       float64 // StepS
	Failures   float64 // all failure rates
	Restart    float64 // RestartS
	Checkpoint float64 // BlockS
	Write      float64 // WriteS
}

// Elasticity of the job with a checkpoint every so many steps.
func (j Job) Elasticity(every int64) Elasticity {
	rate := j.Rates.Total()
	decay, q, mean := j.laplace(every, 0, after)
	p, _, _ := j.laplace(every, j.RestartS, again)
	// The logarithm of a segment's time is ln q - ln l - ln p, with q = 1 - E[exp(-lf)]
	// and p = E[exp(-l(R+b))]. What each sum below gains: l dq/dl / q, l dp/dl / p, and
	// the same with the work w of a segment in place of l.
	var lq, lp, wq, wp, work, behind, stalled float64
	for _, s := range []struct {
		share float64
		slow  bool
	}{{1 - j.SlowShare, false}, {j.SlowShare, true}} {
		l := j.segment(every, s.slow)
		w := l.again - j.BlockS - j.WriteS
		f, b := s.share*rate*math.Exp(-rate*l.after)/q, s.share*rate*math.Exp(-rate*(j.RestartS+l.again))/p
		lq, lp, wp = lq+f*l.after, lp-b*(j.RestartS+l.again), wp-b*w
		if w > j.WriteS { // else training waits for the write, whatever a step takes
			wq, work = wq+f*w, work+s.share*w
		} else {
			behind += f * j.WriteS
			stalled += s.share * j.WriteS
		}
	}
	if rate == 0 {
		return Elasticity{Step: work / mean, Checkpoint: j.BlockS / mean, Write: stalled / mean}
	}
	e := Elasticity{Step: wq - wp, Failures: lq - 1 - lp, Restart: rate * j.RestartS, Checkpoint: rate * j.BlockS * (1 + decay/q), Write: rate*j.WriteS + behind}
	if j.Spares != Unlimited && j.Rates.Node > 0 {
		// a dB/da = B (n - a + a B) for n lines under a load of a.
		n, a, b := float64(j.Spares+1), j.Rates.Node*j.RepairS, j.Waiting()
		e.Failures += b * (n - a + a*b) / (1 - b)
	}
	return e
}
