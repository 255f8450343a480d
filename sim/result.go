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
	Launching           Launching          `json:"launching"`
	// Packing is of samples of unequal length; nil where sequences are whole.
	Packing *Packing `json:"packing,omitempty"`
	// PaddingFraction is the share of the rows of tokens that are padding.
	PaddingFraction float64            `json:"padding_fraction,omitempty"`
	GPUs            int64              `json:"gpus"`
	Schedule        string             `json:"schedule"`
	ScheduleFit     *ScheduleFit       `json:"schedule_fit,omitempty"`
	Profile         string             `json:"profile"`
	Sources         map[string]float64 `json:"price_sources"`
	Experts         *Experts           `json:"experts,omitempty"`
	Expect          []Expectation      `json:"expect,omitempty"`
	Warnings        []string           `json:"warnings"`
	// Modules are the encoder and the generator beside the LLM.
	Modules []ModuleResult `json:"modules,omitempty"`
}

// ModuleResult is what an encoder or a generator takes of the step.
type ModuleResult struct {
	Module string  `json:"module"` // encoder, generator
	Params float64 `json:"params"` // of the whole, its connector included
	// Of the busiest data-parallel replica, for one rank: tokens of the mean and of the
	// largest microbatch, and the time of the mean pass over one.
	Tokens    float64 `json:"tokens_per_microbatch"`
	MaxTokens int64   `json:"max_tokens_per_microbatch"`
	ForwardS  float64 `json:"forward_s"`
	BackwardS float64 `json:"backward_s"`
	// LiveUnits is the most microbatches whose activations a rank holds, UnitGiB what
	// those of the mean one take, PeakGiB the most that a rank holds of the module.
	LiveUnits int     `json:"live_units"`
	UnitGiB   float64 `json:"unit_gib"`
	PeakGiB   float64 `json:"peak_gib"`
}

// ScheduleFit is what the order of an automatic schedule was fitted to: the times of
// a forward pass, of the halves of a backward pass and of a send, in seconds, and
// the limit on activations in microbatches.
type ScheduleFit struct {
	ForwardS        float64 `json:"forward_s"`
	BackwardInputS  float64 `json:"backward_input_s"`
	BackwardWeightS float64 `json:"backward_weight_s"`
	SendS           float64 `json:"send_s"`
	MemoryLimit     float64 `json:"memory_limit"` // 0: the schedule's own
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
