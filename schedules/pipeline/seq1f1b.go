package pipeline

func init() { register(seq1F1B{}) }

// seq1F1B is Seq1F1B (arXiv:2406.03488; thunlp/Seq1F1B and sail-sg/zero-bubble,
// whose orders agree): 1F1B over slices of sequences. Device d starts its first
// backward after n + p-1-d forwards, which is what it holds at most. The paper
// cuts slices of equal work, see [BalancedSlices].
type seq1F1B struct{ looped }

func (seq1F1B) Name() string { return "seq1f1b" }

func (seq1F1B) Describe() string {
	return "1f1b over n slices of each sequence, bubble (p-1)/(nm+p-1) (arXiv:2406.03488)"
}

func (seq1F1B) Check(s Shape) error { return s.checkSliced() }

func (q seq1F1B) Order(s Shape) ([][]Slot, error) {
	if err := q.Check(s); err != nil {
		return nil, err
	}
	return sliced{group: 1, lead: s.slices() - 1, hop: 1}.order(s), nil
}
