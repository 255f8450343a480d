package packing

func init() { register(greedy{}) }

// greedy gives each sample, as it comes, to the replica with the fewest tokens,
// and closes a replica's row when a sample does not fit.
type greedy struct{}

func (greedy) Name() string { return "greedy" }

func (greedy) Describe() string {
	return "in arrival order to the replica with the fewest tokens, rows up to the context"
}

func (greedy) Pack(j *Job) (*Plan, error) {
	tokens := newLeast(j.DP)
	open := make([][]int32, j.DP)
	room := make([]int, j.DP)
	plan := &Plan{}
	closeRow := func(r int) {
		if len(open[r]) > 0 {
			plan.Forward = append(plan.Forward, j.row(r, open[r]))
			open[r] = open[r][:0]
		}
		room[r] = j.Context
	}
	for i, l := range j.Lengths {
		r := tokens.add(float64(l))
		if l > room[r] {
			closeRow(r)
		}
		open[r] = append(open[r], int32(i))
		room[r] -= l
	}
	for r := range open {
		closeRow(r)
	}
	plan.Backward = plan.Forward
	return plan, nil
}
