package packing

func init() { register(ffd{}) }

// ffd is first-fit decreasing: at most 11/9 of the fewest rows, plus 6/9 (Dósa
// 2007). It balances tokens, so attention, which grows with squares, makes
// stragglers of the rows with long samples.
type ffd struct{}

func (ffd) Name() string { return "ffd" }

func (ffd) Describe() string {
	return "first-fit decreasing: longest first into the first row of the context with room"
}

func (ffd) Pack(j *Job) (*Plan, error) {
	return j.dealt(firstFit(j.Lengths, descending(j.Lengths), j.Context)), nil
}
