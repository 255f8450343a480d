package packing

func init() { register(zeppelin{}) }

// zeppelin is the hierarchical partition of Zeppelin (arXiv:2509.21841): a sample
// stays on one rank if it fits there, else it is spread over a node, else over
// nodes. Its routing over several ports is in the caller's exchange times; its
// remapping of tokens for the linear layers is left out, since a lane here computes
// the linear layers of the tokens that it attends for.
type zeppelin struct{}

func (zeppelin) Name() string { return "zeppelin" }

func (zeppelin) Describe() string {
	return "samples on a rank, a node or several nodes by length, without its remapping (Zeppelin, arXiv:2509.21841)"
}

func (zeppelin) Pack(j *Job) (*Plan, error) {
	node := floorPower(j.Lanes())
	if j.Cost.Node > 0 {
		node = min(node, floorPower(j.Cost.Node))
	}
	return j.fastest(func(yield func(*Plan) bool) {
		for _, tokens := range j.capacities() {
			units := j.unitsOf(j.spread(func(l int) int {
				if l <= tokens {
					return 1
				}
				return max(node, powerFor(l, tokens))
			}), tokens)
			if !yield(&Plan{Forward: units, Backward: units}) {
				return
			}
		}
	})
}
