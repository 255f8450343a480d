package packing

func init() { register(hybridDP{}) }

// hybridDP is dynamic parallelism as ByteScale (arXiv:2502.21231, hybrid data
// parallelism) and Hydraulis (arXiv:2412.07894) have it: each sample gets as many
// ranks as its tokens need and no more, and work is balanced over all ranks. The
// tokens of a rank and unit are chosen by the simulator. Without ByteScale's
// offloading.
type hybridDP struct{}

func (hybridDP) Name() string { return "hybrid_dp" }

func (hybridDP) Describe() string {
	return "as many ranks for a sample as its tokens need (ByteScale, arXiv:2502.21231; Hydraulis, arXiv:2412.07894)"
}

func (hybridDP) Pack(j *Job) (*Plan, error) {
	return j.fastest(func(yield func(*Plan) bool) {
		for _, tokens := range j.capacities() {
			units := j.unitsOf(j.spread(func(l int) int { return powerFor(l, tokens) }), tokens)
			if !yield(&Plan{Forward: units, Backward: units}) {
				return
			}
		}
	})
}
