package search

import "orrery/sim"

// Result is the answer; `sim search --json` prints it. The fields are a contract:
// docs/search.md describes each.
type Result struct {
	Name        string      `json:"name"`
	Objective   Objective   `json:"objective"`
	Counts      Counts      `json:"counts"`
	Best        *Point      `json:"best"`  // nil where nothing fits
	Bound       float64     `json:"bound"` // nothing in the space is better, in the objective's unit
	Gap         float64     `json:"gap"`   // of the best over the bound, relative to the best; 0 is proven
	Stopped     string      `json:"stopped,omitempty"`
	AsItStands  *Standing   `json:"as_it_stands,omitempty"` // the scenario's own layout; nil where it cannot be run
	Front       []Point     `json:"front"`                  // of time, memory and cost, fastest first
	FrontWhole  bool        `json:"front_complete"`         // what is not on it is dominated
	Reasons     []Reason    `json:"reasons"`
	Points      []Point     `json:"points"` // all that were simulated, best first
	Loose       string      `json:"loose_bounds,omitempty"`
	Assumptions Assumptions `json:"assumptions"`
}

// Nothing says why there is no best point.
func (r *Result) Nothing() string {
	if r.Counts.Simulated == 0 && r.Stopped != "" {
		return "nothing was simulated: " + r.Stopped
	}
	return "nothing that was looked at fits"
}

// Counts are numbers of points.
type Counts struct {
	Enumerated    int `json:"enumerated"`
	Refused       int `json:"refused"`          // by the scenario language
	Valid         int `json:"valid"`            // Enumerated - Refused
	PrunedMemory  int `json:"pruned_by_memory"` // need more than there is, by the bound
	PrunedBound   int `json:"pruned_by_bound"`  // cannot be better, nor be on the front
	Simulated     int `json:"simulated"`
	DoNotFit      int `json:"do_not_fit"`    // of the simulated
	CannotBeRun   int `json:"cannot_be_run"` // of the simulated
	NotConsidered int `json:"not_considered"`
}

// Point is a layout that was simulated.
type Point struct {
	Set           []string       `json:"set"`    // as sim run takes it
	Values        map[string]any `json:"values"` // of the axes
	StepTimeS     float64        `json:"step_time_s"`
	BoundS        float64        `json:"bound_s"` // of its step time
	PeakMemoryGiB float64        `json:"peak_memory_gib"`
	Fits          bool           `json:"fits"` // the GPU and the limits of the search
	GPUs          int64          `json:"gpus"`
	MFU           float64        `json:"mfu"`
	USDPerTTokens float64        `json:"usd_per_1e12_tokens"`
	MWhPerTTokens float64        `json:"mwh_per_1e12_tokens"`
	Schedule      string         `json:"schedule"`

	result *sim.Result
	at     int // of the candidate; -1 for the scenario's own
}

// Of is the point's value of an objective.
func (p *Point) Of(o Objective) float64 {
	switch o {
	case Cost:
		return p.USDPerTTokens
	case Memory:
		return p.PeakMemoryGiB
	case Energy:
		return p.MWhPerTTokens
	}
	return p.StepTimeS
}

// Standing is the scenario's own layout, and what its step takes more than the best
// one's.
type Standing struct {
	Point
	Parts []Part  `json:"parts,omitempty"`
	RestS float64 `json:"rest_s,omitempty"`
}

// Reason tells why one value of an axis is not the best point's.
type Reason struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Best  bool   `json:"best"` // the best point has it
	// Valid are points with it; where there are none, Why tells.
	Valid int    `json:"valid"`
	Why   string `json:"why,omitempty"`
	// Least that a point with it needs, where none fits.
	LeastMemoryGiB float64 `json:"least_memory_gib,omitempty"`
	// Objective is that of the best simulated point with it, Bound of what none of
	// them is below, Over the Objective over the best point's, less 1.
	Objective float64 `json:"objective,omitempty"`
	Bound     float64 `json:"bound,omitempty"`
	Over      float64 `json:"over,omitempty"`
	// Parts are the changes of the step, in seconds, from the best point to that
	// one; they and Rest add up to the whole change.
	Parts []Part   `json:"parts,omitempty"`
	RestS float64  `json:"rest_s,omitempty"`
	Set   []string `json:"set,omitempty"` // of that point, what differs from the best
}

// Part is a row of the step's breakdown.
type Part struct {
	Name    string  `json:"name"`
	ChangeS float64 `json:"change_s"`
}

// Assumptions are what money and energy are computed from.
type Assumptions struct {
	USDPerGPUHour float64 `json:"usd_per_gpu_hour"`
	USDPerKWh     float64 `json:"usd_per_kwh"`
	HostWPerGPU   float64 `json:"host_w_per_gpu"`
	Load          float64 `json:"load"`
	PUE           float64 `json:"pue"`
}
