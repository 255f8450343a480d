package packing

func init() { register(chunkFlow{}) }

// chunkFlow is ChunkFlow (arXiv:2503.02356): chunks of one size, of which short
// samples share one and long ones fill several; state-aware 1F1B keeps the
// activations of the last K chunks of a sample and runs the forward of the others
// again. Size and K are searched, as in the paper, here with the simulator.
type chunkFlow struct{}

func (chunkFlow) Name() string { return "chunkflow" }

func (chunkFlow) Describe() string {
	return "chunks of one size; all but the last K of a sample are recomputed (ChunkFlow, arXiv:2503.02356)"
}

func (c chunkFlow) Pack(j *Job) (*Plan, error) {
	replicas := make([][]int32, j.DP)
	tokens := newLeast(j.DP)
	for _, i := range descending(j.Lengths) {
		r := tokens.add(float64(j.Lengths[i]))
		replicas[r] = append(replicas[r], i)
	}
	return j.fastest(func(yield func(*Plan) bool) {
		for _, size := range j.capacities() {
			size = min(size*j.CP, j.Context)
			seen := -1
			for keep := 1; keep <= 64; keep *= 4 {
				plan, dropped := c.chunks(j, replicas, size, keep)
				if dropped == seen {
					break // more is kept than there is
				}
				seen = dropped
				if !yield(plan) {
					return
				}
			}
		}
	})
}

// chunks makes the plan for a size and K, and says how many chunks are recomputed.
func (chunkFlow) chunks(j *Job, replicas [][]int32, size, keep int) (plan *Plan, dropped int) {
	plan = &Plan{}
	for r, samples := range replicas {
		var short []int32
		for _, i := range samples {
			l := j.Lengths[i]
			if l <= size {
				short = append(short, i)
				continue
			}
			n := (l + size - 1) / size
			units := make([]Unit, n)
			for k := range units {
				units[k] = Unit{First: int32(r * j.CP), Width: int32(j.CP), Recompute: k < n-keep,
					Slices: []Slice{{Sample: i, X0: int32(k * size), X1: int32(min((k+1)*size, l))}}}
				if units[k].Recompute {
					dropped++
				}
			}
			plan.Forward = append(plan.Forward, units...)
			plan.Backward = append(plan.Backward, reversed(units)...)
		}
		for _, row := range firstFit(j.Lengths, short, size) {
			u := j.row(r, row)
			plan.Forward, plan.Backward = append(plan.Forward, u), append(plan.Backward, u)
		}
	}
	return plan, dropped
}
