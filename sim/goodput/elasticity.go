package goodput

import "math"

// Elasticity tells by how many per cent the time of a long run grows when one
// cause grows by one per cent: exact derivatives of the logarithm of Goodput's
// inverse at a fixed interval. At the best interval they hold for the best
// interval of the changed job too, to first order.
type Elasticity struct {
	Failures   float64 // all failure rates
	Restart    float64 // RestartS
	Checkpoint float64 // BlockS
}

// Elasticity of the job with a checkpoint every so many steps.
func (j Job) Elasticity(every int64) Elasticity {
	rate := j.Rates.Total()
	decay, q, _ := j.laplace(every, 0, after)
	p, _, _ := j.laplace(every, j.RestartS, again)
	if rate == 0 {
		_, _, mean := j.laplace(every, 0, after)
		return Elasticity{Checkpoint: j.BlockS / mean}
	}
	// l x dp/dl over p and l x dq/dl over q, with q = 1 - E[exp(-lf)].
	var dp, dq float64
	for _, s := range []struct {
		share float64
		slow  bool
	}{{1 - j.SlowShare, false}, {j.SlowShare, true}} {
		l := j.segment(every, s.slow)
		dp -= s.share * rate * (j.RestartS + l.again) * math.Exp(-rate*(j.RestartS+l.again)) / p
		dq += s.share * rate * l.after * math.Exp(-rate*l.after) / q
	}
	e := Elasticity{Failures: dq - 1 - dp, Restart: rate * j.RestartS, Checkpoint: rate * j.BlockS * (1 + decay/q)}
	if j.Spares != Unlimited && j.Rates.Node > 0 {
		// a dB/da = B (n - a + a B) for n lines under a load of a.
		n, a, b := float64(j.Spares+1), j.Rates.Node*j.RepairS, j.Waiting()
		e.Failures += b * (n - a + a*b) / (1 - b)
	}
	return e
}
