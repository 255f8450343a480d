package packing

import (
	"cmp"
	"slices"
)

func init() { register(lengthGrouped{}) }

// lengthGrouped is Hugging Face's LengthGroupedSampler (transformers,
// trainer_pt_utils.py, get_length_grouped_indices): megabatches of 50 batches in
// arrival order, each sorted longest first, so that batches stay random and are
// padded little. A batch is here what the replicas take at a time.
type lengthGrouped struct{}

func (lengthGrouped) Name() string { return "length_grouped" }

func (lengthGrouped) Describe() string {
	return "sorted within megabatches of 50 batches, then padded (Hugging Face transformers, LengthGroupedSampler)"
}

func (lengthGrouped) Pack(j *Job) (*Plan, error) {
	// The sampler's batch has a fixed number of samples: those of one row of mean
	// length on each replica; at most a quarter of the data makes a megabatch, as there.
	mean := max(1, j.Tokens()/len(j.Lengths))
	batch := max(1, j.Context/mean) * j.DP
	mega := max(1, min(50, len(j.Lengths)/(4*batch))) * batch
	order := arrival(j.Lengths)
	for from := 0; from < len(order); from += mega {
		slices.SortStableFunc(order[from:min(from+mega, len(order))], func(a, b int32) int { return cmp.Compare(j.Lengths[b], j.Lengths[a]) })
	}
	return j.padded(order), nil
}
