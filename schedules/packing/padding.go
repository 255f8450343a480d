package packing

func init() { register(padding{}) }

// padding is what training loops do by default: batches in arrival order, each
// sample padded to the longest of its microbatch.
type padding struct{}

func (padding) Name() string { return "padding" }

func (padding) Describe() string {
	return "microbatches in arrival order, padded to their longest sample"
}

func (padding) Pack(j *Job) (*Plan, error) { return j.padded(arrival(j.Lengths)), nil }
