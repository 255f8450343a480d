package packing

import (
	"math"

	"orrery/sim/unit"
)

// Metrics is what is said of the plan of one step, or of several together.
type Metrics struct {
	StepS      float64 `json:"step_s"`        // time of the step, s
	BoundS     float64 `json:"lower_bound_s"` // certified, s
	Gap        float64 `json:"gap"`           // step over bound, less 1
	Forward    int     `json:"forward_units"`
	Backward   int     `json:"backward_units"`
	Merged     int     `json:"merged_samples"`   // on more lanes than a replica's
	Narrow     int     `json:"narrow_samples"`   // on fewer
	Sliced     int     `json:"sliced_samples"`   // in more than one forward or backward unit
	Padding    float64 `json:"padding"`          // share of the computed tokens
	Recomputed float64 `json:"recomputed"`       // share of the tokens
	Bubble     float64 `json:"bubble"`           // share of the step in which the mean rank idles
	DP         float64 `json:"imbalance_dp"`     // busy time of replicas, max over mean
	Stages     float64 `json:"imbalance_stages"` // of stages
	Lanes      float64 `json:"imbalance_cp"`     // time of units over what perfect sharing takes
	MaxForward float64 `json:"imbalance_forward_units"`
	MaxBack    float64 `json:"imbalance_backward_units"`
	CVForward  float64 `json:"cv_forward_units"` // std over mean of the units' times
	CVBackward float64 `json:"cv_backward_units"`
	PeakTokens float64 `json:"peak_tokens"` // activations of a stage on the fullest rank
	PeakGiB    float64 `json:"peak_gib"`
	Fits       bool    `json:"fits"`
}

// Measure validates and times a plan and sums it up.
func Measure(j *Job, p *Plan) (*Metrics, error) {
	if err := Validate(j, p); err != nil {
		return nil, err
	}
	t, err := Evaluate(j, p)
	if err != nil {
		return nil, err
	}
	m := &Metrics{StepS: t.Step.Seconds(), BoundS: LowerBound(j).Seconds(), Forward: len(p.Forward), Backward: len(p.Backward)}
	m.Gap = m.StepS/m.BoundS - 1
	m.samples(j, p)
	m.busy(j, t)
	m.MaxForward, m.CVForward = spread(t.Forward)
	m.MaxBack, m.CVBackward = spread(t.Backward)
	m.Lanes = sharing(j, p, t)
	for _, tokens := range t.Peak {
		m.PeakTokens = max(m.PeakTokens, tokens)
	}
	m.PeakGiB = m.PeakTokens * j.Footprint.Activation / float64(unit.GiB)
	m.Fits = t.outcome(j).fits
	return m, nil
}

func (m *Metrics) samples(j *Job, p *Plan) {
	padding, recomputed, tokens := 0, 0, j.Tokens()
	sliced := make([]bool, len(j.Lengths))
	for _, units := range [2][]Unit{p.Forward, p.Backward} {
		for i := range units {
			for _, s := range units[i].Slices {
				if s.Tokens() < j.Lengths[s.Sample] && !sliced[s.Sample] {
					sliced[s.Sample] = true
					m.Sliced++
				}
			}
		}
	}
	for i := range p.Forward {
		u := &p.Forward[i]
		padding += u.padding()
		if u.Recompute {
			recomputed += u.Tokens()
		}
		for _, s := range u.Slices {
			if s.X0 == 0 && int(u.Width) > j.CP {
				m.Merged++
			}
			if s.X0 == 0 && int(u.Width) < j.CP {
				m.Narrow++
			}
		}
	}
	m.Padding = float64(padding) / float64(tokens+padding)
	m.Recomputed = float64(recomputed) / float64(tokens)
}

// busy fills in what depends on how long each rank computes.
func (m *Metrics) busy(j *Job, t *Timing) {
	replicas, stages := make([]float64, j.DP), make([]float64, j.PP)
	total := 0.0
	for lane, row := range t.Busy {
		for s, b := range row {
			replicas[lane/j.CP] += b.Seconds()
			stages[s] += b.Seconds()
			total += b.Seconds()
		}
	}
	m.Bubble = 1 - total/(m.StepS*float64(j.Lanes()*j.PP))
	m.DP, m.Stages = maxOverMean(replicas), maxOverMean(stages)
}

// sharing is the lanes' time in all units over their mean work: 1 where no lane
// waits for another, nor for what it exchanges, and nothing is lost to tiles.
func sharing(j *Job, p *Plan, t *Timing) float64 {
	spent, needed := 0.0, 0.0
	for k, units := range [2][]Unit{p.Forward, p.Backward} {
		times := t.Forward
		if k == bwd {
			times = t.Backward
		}
		for i := range units {
			u := &units[i]
			w := float64(u.Width)
			linear, attention := j.Cost.TokenS*float64(u.Tokens()+u.padding()), 0.0
			for _, s := range u.Slices {
				attention += j.Cost.PairS * j.Cost.pairs(float64(s.X0), float64(s.X1+s.Pad))
			}
			ideal := linear + attention
			if k == bwd {
				forward := ideal
				ideal = j.Cost.BackToken*linear + j.Cost.BackPair*attention
				if u.Recompute {
					ideal += forward + w*j.Cost.UnitS
				}
				ideal += w * j.Cost.UnitBackS
			} else {
				ideal += w * j.Cost.UnitS
			}
			spent += w * times[i].Seconds()
			needed += ideal
		}
	}
	return spent / needed
}

func maxOverMean(x []float64) float64 {
	most, sum := 0.0, 0.0
	for _, v := range x {
		most, sum = max(most, v), sum+v
	}
	if sum == 0 {
		return 1
	}
	return most * float64(len(x)) / sum
}

// spread is max over mean and standard deviation over mean of times.
func spread(times []unit.Time) (peak, cv float64) {
	x := make([]float64, len(times))
	mean := 0.0
	for i, t := range times {
		x[i] = t.Seconds()
		mean += x[i] / float64(len(times))
	}
	variance := 0.0
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	return maxOverMean(x), math.Sqrt(variance) / mean
}
