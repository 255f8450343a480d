package sim

// Result is the answer, in SI units; `sim run --json` prints it. The fields
// are a contract: docs/scenario.md describes each.
type Result struct {
	Name                 string  `json:"name"`
	StepTimeS            float64 `json:"step_time_s"`
	StepTimeRelError     float64 `json:"step_time_rel_error"`
	TokensPerSPerGPU     float64 `json:"tokens_per_s_per_gpu"`
	ModelTFLOPSPerGPU    float64 `json:"model_tflops_per_gpu"`
	HardwareTFLOPSPerGPU float64 `json:"hardware_tflops_per_gpu"`
	MFU                  float64 `json:"mfu"`
	BubbleFraction       float64 `json:"bubble_fraction"`
	ExposedCommFraction  float64 `json:"exposed_comm_fraction"`
	PeakMemoryGiB        float64 `json:"peak_memory_gib"`
	// MegatronEstimateGiB is Megatron-LM's own theoretical estimate, to compare; 0
	// where it does not cover the scenario.
	MegatronEstimateGiB float64            `json:"megatron_estimate_gib,omitempty"`
	MemoryGiBByStage    []StageMemory      `json:"memory_gib_by_stage"`
	Fits                bool               `json:"fits"`
	FitAdvice           string             `json:"fit_advice,omitempty"`
	BreakdownS          map[string]float64 `json:"breakdown_s"`
	PhasesS             map[string]float64 `json:"phases_s"` // compute of the mean rank by pass
	HiddenCommS         map[string]float64 `json:"hidden_comm_s"`
	CriticalPath        map[string]float64 `json:"critical_path"`
	GPUs                int64              `json:"gpus"`
	Schedule            string             `json:"schedule"`
	Profile             string             `json:"profile"`
	Sources             map[string]float64 `json:"price_sources"`
	Experts             *Experts           `json:"experts,omitempty"`
	Expect              []Expectation      `json:"expect,omitempty"`
	Warnings            []string           `json:"warnings"`
}

// StageMemory is the memory of one pipeline rank at its peak, in GiB.
type StageMemory struct {
	Stage   int     `json:"stage"` // pipeline rank
	PeakGiB float64 `json:"peak_gib"`
	At      string  `json:"at"` // the op that made the peak
	// Expert is the rank of the expert-parallel groups that holds so much, with what
	// it receives most of then; nil where loads are even.
	Expert    *HotRank           `json:"expert_rank,omitempty"`
	Breakdown map[string]float64 `json:"breakdown_gib"`
}

// Expectation is a published figure held against the run.
type Expectation struct {
	Metric    string  `json:"metric"`
	Balancer  string  `json:"balancer,omitempty"`
	Expected  float64 `json:"expected"`
	Got       float64 `json:"got"`
	Error     float64 `json:"error"` // signed, relative
	Tolerance float64 `json:"tolerance"`
	OK        bool    `json:"ok"`
	Source    string  `json:"source"`
}
