package balance

func init() { register(ultraAlgorithm1{}) }

// ultraAlgorithm1 is the planner as UltraEP's paper prints it (Algorithm 1). Its
// hard floor of min_tokens on a replica leaves the last tokens of a rank where
// they are, so that it balances far worse than what is shipped; it is here to
// compare.
type ultraAlgorithm1 struct{}

func (ultraAlgorithm1) Name() string { return "ultraep_algorithm1" }

func (ultraAlgorithm1) Describe() string {
	return "UltraEP's planner as printed, with its hard floor on quotas (arXiv:2606.04101, algorithm 1)"
}

func (ultraAlgorithm1) Params() map[string]string {
	return map[string]string{
		"beta":       "lowest target over the mean, 1.01",
		"min_tokens": "least tokens of a replica, 1024",
		"locality":   "whether a source uses copies on its own rank first, true",
	}
}

func (b ultraAlgorithm1) Start(s Setup) (Planner, error) {
	p := s.params(b)
	return startUltra(s, ultraOptions{
		literal:    true,
		zeroMaster: true,
		beta:       p.number("beta", 1, 1000, 1.01),
		minTokens:  int64(p.whole("min_tokens", 1, 1<<30, 1024)),
		locality:   p.truth("locality", true),
	}, p.err)
}
