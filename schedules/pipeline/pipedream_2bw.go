package pipeline

import "fmt"

// PipeDream2BW times PipeDream-2BW (Narayanan et al. 2021, arXiv:2006.09503):
// 1F1B that goes on from batch to batch without a flush. shape has the
// microbatches of one batch, at least p of them; batches is how many are run.
// Every stage keeps two versions of its weights (see [WeightVersion2BW]). The
// optimizer's work is not timed: it would come after the last backward pass of a
// batch on each stage. Training is not that of a flushed schedule: gradients are
// of weights that are one update old, which is why no scenario can choose it.
func PipeDream2BW(shape Shape, batches int, c Costs) (*Timing, error) {
	if err := shape.checkPlain(); err != nil {
		return nil, err
	}
	switch {
	case batches < 1:
		return nil, fmt.Errorf("batches: %d, want 1 or more", batches)
	case shape.Microbatches < shape.Devices:
		return nil, fmt.Errorf("%d microbatches a batch are fewer than the %d devices: two versions of the weights would not do", shape.Microbatches, shape.Devices)
	case batches > maxPasses/shape.passes():
		return nil, fmt.Errorf("more than %d forward passes: %d batches of %d", maxPasses, batches, shape.passes())
	}
	shape.Microbatches *= batches
	return Simulate(oneFOneB{}, shape, c)
}

// WeightVersion2BW is the number of updates in the weights that the microbatches
// of a batch (from 0) use forward and backward: W(t+1) = W(t) - lr*grad(W(t-1)).
func WeightVersion2BW(batch int) int { return max(batch-1, 0) }
