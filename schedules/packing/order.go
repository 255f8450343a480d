package packing

// Pass is a unit going through a stage: Unit is an index into the plan's Forward or
// Backward.
type Pass struct {
	Backward bool
	Unit     int
}

// Order gives the passes of each rank, by lane and stage, in the order that
// [Evaluate] runs them: what a lowering to real kernels and messages needs. The plan
// must be valid. Lanes that run the same units share their lists.
func Order(j *Job, p *Plan) ([][][]Pass, error) {
	r, err := newRun(j, p)
	if err != nil {
		return nil, err
	}
	out := make([][][]Pass, 0, j.Lanes())
	for b := range r.blocks {
		stages := make([][]Pass, r.p)
		for s := range stages {
			for kind, u := r.next(b, s); u >= 0; kind, u = r.next(b, s) {
				stages[s] = append(stages[s], Pass{kind == bwd, int(u)})
				r.done[kind][b*r.p+s]++
			}
		}
		for range r.blocks[b].lanes {
			out = append(out, stages)
		}
	}
	return out, nil
}
