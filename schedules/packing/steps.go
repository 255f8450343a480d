package packing

// Steps cuts samples, in order, into steps of at most tokens each: a sample that
// does not fit begins the next step; one that is longer than a step is alone. tokens 0
// makes one step. It returns indices into lengths.
func Steps(lengths []int, tokens int) [][]int {
	var out [][]int
	room := 0
	for i, l := range lengths {
		if len(out) == 0 || tokens > 0 && l > room {
			out = append(out, nil)
			room = tokens
		}
		out[len(out)-1] = append(out[len(out)-1], i)
		room -= l
	}
	return out
}

// Run packs every step of a run with p and measures each. job has all but Lengths,
// which are those of samples; steps are indices into them, as [Steps] makes them. A
// [Streaming] packer may move samples between steps.
func Run(p Packer, job Job, lengths []int, steps [][]int) ([]*Metrics, error) {
	if s, ok := p.(Streaming); ok {
		steps = s.Regroup(&job, lengths, steps)
	}
	var out []*Metrics
	for _, samples := range steps {
		if len(samples) == 0 {
			continue // all of it waits for a later step
		}
		step := job
		step.Lengths = make([]int, len(samples))
		for i, s := range samples {
			step.Lengths[i] = lengths[s]
		}
		if err := step.Check(); err != nil {
			return nil, err
		}
		plan, err := p.Pack(&step)
		if err != nil {
			return nil, err
		}
		m, err := Measure(&step, plan)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// Total is the metrics of several steps together: times, bounds and counts are sums;
// shares, imbalances and variations are means weighted by the time of the steps;
// memory is that of the fullest.
func Total(steps []*Metrics) *Metrics {
	sum := &Metrics{Fits: true}
	for _, m := range steps {
		sum.StepS += m.StepS
	}
	for _, m := range steps {
		sum.BoundS += m.BoundS
		sum.Forward, sum.Backward = sum.Forward+m.Forward, sum.Backward+m.Backward
		sum.Merged, sum.Narrow, sum.Sliced = sum.Merged+m.Merged, sum.Narrow+m.Narrow, sum.Sliced+m.Sliced
		w := m.StepS / sum.StepS
		sum.Padding += w * m.Padding
		sum.Recomputed += w * m.Recomputed
		sum.Bubble += w * m.Bubble
		sum.DP += w * m.DP
		sum.Stages += w * m.Stages
		sum.Lanes += w * m.Lanes
		sum.MaxForward += w * m.MaxForward
		sum.MaxBack += w * m.MaxBack
		sum.CVForward += w * m.CVForward
		sum.CVBackward += w * m.CVBackward
		if m.PeakTokens > sum.PeakTokens {
			sum.PeakTokens, sum.PeakGiB = m.PeakTokens, m.PeakGiB
		}
		sum.Fits = sum.Fits && m.Fits
	}
	sum.Gap = sum.StepS/sum.BoundS - 1
	return sum
}
