package packing

func init() { register(bfd{}) }

// bfd is best-fit decreasing, with the same guarantee as ffd (arXiv:2404.10830
// packs training data so).
type bfd struct{}

func (bfd) Name() string { return "bfd" }

func (bfd) Describe() string {
	return "best-fit decreasing: longest first into the row of the context that it fills best (arXiv:2404.10830)"
}

func (bfd) Pack(j *Job) (*Plan, error) {
	return j.dealt(bestFit(j.Lengths, descending(j.Lengths), j.Context)), nil
}
