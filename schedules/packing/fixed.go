package packing

func init() { register(fixed{}) }

// fixed is packing to a fixed length as Megatron-LM trains on it: samples in
// arrival order fill rows of Context tokens, the rest of a row is padding, and a
// document mask keeps samples apart. Megatron's pretraining data set also cuts
// samples at the end of a row, which then do not see what was cut off; here all
// packers compute the same, so samples are whole.
type fixed struct{}

func (fixed) Name() string { return "fixed" }

func (fixed) Describe() string {
	return "rows of exactly the context in arrival order, padded at the end, with a document mask (Megatron-LM)"
}

func (fixed) Pack(j *Job) (*Plan, error) {
	plan := j.dealt(nextFit(j.Lengths, arrival(j.Lengths), j.Context))
	for i := range plan.Forward { // shared with Backward
		u := &plan.Forward[i]
		u.Pad = int32(j.Context - u.Tokens())
	}
	return plan, nil
}
