// Package capacity answers how many GPUs, of which kind, for how long and at
// what cost a training run takes: the simulated step at each size, and what
// failures, checkpoints and restarts make of it (package goodput).
package capacity

import (
	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/goodput"
)

// Result is the answer; `sim capacity --json` prints it. The fields are a
// contract: docs/capacity.md describes each.
type Result struct {
	Name         string             `json:"name"`
	Scenario     string             `json:"scenario"`
	Tokens       float64            `json:"tokens"`        // asked for; 0 where the time decides
	DeadlineDays float64            `json:"deadline_days"` // 0 is none
	Options      []Option           `json:"options"`
	Chosen       int                `json:"chosen"` // index of the cheapest option in time; -1 if there is none
	Sensitivity  []Effect           `json:"sensitivity,omitempty"`
	Expect       []sim.Expectation  `json:"expect,omitempty"`
	Assumptions  []scenarios.Origin `json:"assumptions"`
}

// Option is one machine.
type Option struct {
	GPU         string `json:"gpu"`
	GPUs        int64  `json:"gpus"`
	Problem     string `json:"problem,omitempty"` // why it cannot run the job; then the rest is zero
	Nodes       int64  `json:"nodes"`
	SpareNodes  int64  `json:"spare_nodes"`
	DP          int64  `json:"dp"`
	GlobalBatch int64  `json:"global_batch"`

	StepTimeS        float64 `json:"step_time_s"`
	StepTimeRelError float64 `json:"step_time_rel_error"`
	SlowestRankS     float64 `json:"slowest_rank_s"` // part of the step: the slowest of all ranks over the mean
	Steps            int64   `json:"steps"`
	Tokens           float64 `json:"tokens"`

	MTBFHours  float64    `json:"mtbf_hours"` // of the whole job; 0 if nothing fails
	Causes     Causes     `json:"interruptions_by_cause"`
	Checkpoint Checkpoint `json:"checkpoint"`
	RestartS   float64    `json:"restart_s"`

	// The closed form, and the simulation that it is held against.
	Days          float64       `json:"days"`
	Goodput       float64       `json:"goodput"`
	Interruptions float64       `json:"interruptions"`
	Loss          Loss          `json:"loss"`
	Simulated     *Distribution `json:"simulated"`

	InTime    bool    `json:"in_time"` // expected to meet the deadline
	GPUHours  float64 `json:"gpu_hours"`
	CostUSD   float64 `json:"cost_usd"`
	EnergyMWh float64 `json:"energy_mwh"`

	job   goodput.Job
	run   *sim.Run
	price float64 // USD a GPU and hour
}

// Causes are expected interruptions by what failed.
type Causes struct {
	GPU      float64 `json:"gpu"`
	Node     float64 `json:"node"`
	Switch   float64 `json:"switch"`
	Software float64 `json:"software"`
}

// Checkpoint is what saving the job's state takes.
type Checkpoint struct {
	GB         float64 `json:"gb"`
	BlockS     float64 `json:"block_s"` // training waits
	WriteS     float64 `json:"write_s"` // behind training
	EverySteps int64   `json:"every_steps"`
	EveryS     float64 `json:"every_s"` // of training
	YoungS     float64 `json:"young_s"` // Young's and Daly's optimum, and the exact one, to compare
	DalyS      float64 `json:"daly_s"`
	ExactS     float64 `json:"exact_s"`
}

// Loss is where the time goes that is not useful, as shares; with the goodput
// they add up to 1.
type Loss struct {
	Checkpoint float64 `json:"checkpoint"`
	Straggler  float64 `json:"straggler"`
	Restart    float64 `json:"restart"`
	Spare      float64 `json:"wait_for_spare"`
	Redone     float64 `json:"redone"`
}

// Distribution is what the simulated runs came to.
type Distribution struct {
	Runs          int     `json:"runs"`
	Goodput       Spread  `json:"goodput"`
	Days          Spread  `json:"days"`
	Interruptions Spread  `json:"interruptions"`
	InTime        float64 `json:"in_time"` // share of runs that meet the deadline; 0 without one
}

// Spread is the mean of a figure over runs, its standard error, and quantiles.
type Spread struct {
	Mean     float64 `json:"mean"`
	StdErr   float64 `json:"std_err"`
	P5       float64 `json:"p5"`
	P50      float64 `json:"p50"`
	P95      float64 `json:"p95"`
	Smallest float64 `json:"min"`
	Largest  float64 `json:"max"`
}

// Effect is what one per cent more of a figure buys, for the chosen machine.
// Negative changes are savings.
type Effect struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Step and Days are relative changes of the step and of the whole run for one
	// per cent more, times 100: derivatives.
	Step float64 `json:"step_elasticity"`
	Days float64 `json:"days_elasticity"`
	// Rerun is the relative change of the days with ten per cent more, run again,
	// over 0.1.
	Rerun float64 `json:"days_rerun"`
	// PerUnitDays is the derivative in days for one more unit of the figure.
	PerUnitDays float64 `json:"days_per_unit"`
}
