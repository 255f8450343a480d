package packing

func init() { register(dcp{}) }

// dcp is context parallelism by blocks (DCP, SOSP 2025): short samples go whole to a
// rank, long ones in blocks, and only what is cut is exchanged. The paper places
// blocks by partitioning a hypergraph; here the dearest go first to the rank with
// the least work. Rows are those of ffd.
type dcp struct{}

func (dcp) Name() string { return "dcp" }

func (dcp) Describe() string {
	return "rows of ffd whose samples and blocks are placed on the ranks of a replica (DCP, SOSP 2025; greedy)"
}

func (dcp) Pack(j *Job) (*Plan, error) {
	plan := j.dealt(firstFit(j.Lengths, descending(j.Lengths), j.Context))
	for i := range plan.Forward { // shared with Backward
		plan.Forward[i].Sharding = Blocks
	}
	return plan, nil
}
