package packing

func init() { register(sorted{}) }

// sorted pads as padding does, after all samples of the step were sorted: little
// padding, and replicas that differ, since squares are dealt out with the rows.
type sorted struct{}

func (sorted) Name() string { return "sorted" }

func (sorted) Describe() string {
	return "samples of the step sorted by length, longest first, then padded as by padding"
}

func (sorted) Pack(j *Job) (*Plan, error) { return j.padded(descending(j.Lengths)), nil }
