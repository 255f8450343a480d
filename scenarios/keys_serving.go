package scenarios

var servingKeys = []*field{
	{key: "serving.prompt_tokens", def: 0.0, min: 0, max: 1 << 24, unit: "tokens", doc: "Mean length of prompts; with it, or with serving.file, the scenario is of serving and `sim prefill` runs it.",
		at: func(s *Scenario) any { return &s.Serving.PromptTokens }},
	{key: "serving.prompt_sigma", def: 0.0, min: 0, max: 4, doc: "Standard deviation of the logarithm of a prompt's length; 0: all are alike.",
		at: func(s *Scenario) any { return &s.Serving.PromptSigma }},
	{key: "serving.file", def: "", doc: "Requests from a CSV file of arrival_s,tokens, relative to the scenario; rates stretch its time.",
		at: func(s *Scenario) any { return &s.Serving.File }},
	{key: "serving.requests", def: int64(20000), min: 1, max: 1 << 22, doc: "Requests that arrive, as a Poisson process.",
		at: func(s *Scenario) any { return &s.Serving.Requests }},
	{key: "serving.rate", def: 0.0, min: 0, max: 1e9, unit: "requests/s", doc: "Rate at which times to the first token are told; 0: at the rate of the objective.",
		at: func(s *Scenario) any { return &s.Serving.Rate }},
	{key: "serving.slo_s", def: 3.0, min: 1e-3, max: 1e6, unit: "s", doc: "Service level objective: the mean time to the first token.",
		at: func(s *Scenario) any { return &s.Serving.SLOS }},
	{key: "serving.chunk", def: int64(8192), min: 64, max: 1 << 20, unit: "tokens", doc: "Most tokens of a rank's batch; longer prompts are cut (chunked prefill).",
		at: func(s *Scenario) any { return &s.Serving.Chunk }},
	{key: "serving.samples", def: int64(16), min: 1, max: 4096, unit: "batches", doc: "Batches whose expert loads are drawn; later ones repeat them.",
		at: func(s *Scenario) any { return &s.Serving.Samples }},
	{key: "serving.seed", def: int64(1), min: 0, max: maxInt, doc: "Seed of arrivals and lengths.",
		at: func(s *Scenario) any { return &s.Serving.Seed }},
}
