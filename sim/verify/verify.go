package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/unit"
)

// Status tells what became of a row.
type Status string

// The statuses of a row.
const (
	Predicted     Status = "predicted"
	Inexpressible Status = "inexpressible" // the row does not say enough, or asks for what has no model
	Failed        Status = "failed"        // expressed, but the simulator refused it
)

// Outcome is one row held against its prediction.
type Outcome struct {
	ID        string  `json:"id"`
	Source    string  `json:"source"`
	GPU       string  `json:"gpu"`
	Model     string  `json:"model"`
	Metric    string  `json:"metric"`
	Precision string  `json:"precision,omitempty"`
	Measured  float64 `json:"measured"`
	Predicted float64 `json:"predicted"`
	Error     float64 `json:"error"` // signed, relative
	Fits      bool    `json:"fits"`  // as predicted; a run that was measured did fit
	Status    Status  `json:"status"`
	Reason    string  `json:"reason,omitempty"`
}

// Memory reports whether the metric is one of memory.
func (o Outcome) Memory() bool { return strings.HasPrefix(o.Metric, "peak_") }

// Errors sums up absolute relative errors.
type Errors struct {
	Count  int     `json:"count"`
	Median float64 `json:"median"`
	Mean   float64 `json:"mean"`
	P90    float64 `json:"p90"`
}

// Group is the errors of the rows that share a value.
type Group struct {
	By     string `json:"by"` // source, gpu, reason, all
	Value  string `json:"value"`
	Time   Errors `json:"time"`
	Memory Errors `json:"memory"`
	Other  int    `json:"not_predicted"`
}

// Report is the outcome of all rows.
type Report struct {
	Rows    []Outcome `json:"rows"`
	Summary Summary   `json:"summary"`
}

// Summary counts what was predicted and how well.
type Summary struct {
	Rows      int            `json:"rows"`
	Expressed int            `json:"expressed"`
	Share     float64        `json:"expressed_share"`
	Time      Errors         `json:"time"`
	Memory    Errors         `json:"memory"`
	Groups    []Group        `json:"groups"`
	Reasons   map[string]int `json:"reasons"`
}

// Run predicts every row. Rows run side by side; the answer does not depend on
// how many. Rows of one configuration share a simulation.
func Run(ctx context.Context, rows []Row) (*Report, error) {
	out := make([]Outcome, len(rows))
	work := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range work {
				out[i] = predict(ctx, rows[i])
			}
		})
	}
	for i := range rows {
		work <- i
	}
	close(work)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &Report{out, summarise(out)}, nil
}

func predict(ctx context.Context, r Row) Outcome {
	o := Outcome{ID: r["id"], Source: r["source"], GPU: r["gpu"], Model: r["model"], Metric: r["metric"], Precision: r["precision"]}
	fail := func(s Status, err error) Outcome {
		o.Status, o.Reason = s, strings.ReplaceAll(err.Error(), "\n", "; ")
		return o
	}
	if _, err := fmt.Sscanf(r["value"], "%g", &o.Measured); err != nil || !(o.Measured > 0) {
		return fail(Inexpressible, fmt.Errorf("value %q is not a positive number", r["value"]))
	}
	run, err := Simulate(ctx, r)
	var why inexpressible
	switch {
	case errors.As(err, &why):
		return fail(Inexpressible, err)
	case err != nil:
		return fail(Failed, err)
	}
	if o.Predicted, err = metric(r["metric"], run); err != nil {
		return fail(Inexpressible, err)
	}
	o.Error, o.Status, o.Fits = o.Predicted/o.Measured-1, Predicted, run.Result.Fits
	return o
}

// Simulate runs the scenario that a row expresses.
func Simulate(ctx context.Context, r Row) (*sim.Run, error) {
	values, err := Express(r)
	if err != nil {
		return nil, err
	}
	res, err := scenarios.Resolve(r["id"], values)
	if err != nil {
		return nil, err
	}
	return sim.Simulate(ctx, &res.Scenario, sim.Options{})
}

// metric is the prediction in the unit of a column metric.
func metric(name string, run *sim.Run) (float64, error) {
	res := run.Result
	switch name {
	case "step_time_s":
		return res.StepTimeS, nil
	case "tokens_per_s_per_gpu":
		return res.TokensPerSPerGPU, nil
	case "model_tflops_per_gpu":
		return res.ModelTFLOPSPerGPU, nil
	case "mfu_pct":
		return 100 * res.MFU, nil
	case "peak_mem_gib", "peak_alloc_gib":
		return res.PeakMemoryGiB, nil
	case "peak_mem_gb", "peak_alloc_gb":
		return res.PeakMemoryGiB * float64(unit.GiB) / 1e9, nil
	}
	return 0, fmt.Errorf("metric %q is not one that the simulator predicts", name)
}

// summarise computes the errors of all rows, by source and by GPU.
func summarise(rows []Outcome) Summary {
	s := Summary{Rows: len(rows), Reasons: map[string]int{}}
	for _, o := range rows {
		if o.Status == Predicted {
			s.Expressed++
		} else {
			s.Reasons[o.Reason]++
		}
	}
	s.Share = float64(s.Expressed) / math.Max(float64(len(rows)), 1)
	all := group("all", "", rows)
	s.Time, s.Memory = all.Time, all.Memory
	s.Groups = append(s.Groups, grouped("source", rows, func(o Outcome) string { return o.Source })...)
	s.Groups = append(s.Groups, grouped("gpu", rows, func(o Outcome) string { return o.GPU })...)
	s.Groups = append(s.Groups, all)
	return s
}

func grouped(by string, rows []Outcome, key func(Outcome) string) []Group {
	m := map[string][]Outcome{}
	for _, o := range rows {
		m[key(o)] = append(m[key(o)], o)
	}
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var out []Group
	for _, k := range keys {
		out = append(out, group(by, k, m[k]))
	}
	return out
}

func group(by, value string, rows []Outcome) Group {
	g := Group{By: by, Value: value}
	var time, memory []float64
	for _, o := range rows {
		switch {
		case o.Status != Predicted:
			g.Other++
		case o.Memory():
			memory = append(memory, math.Abs(o.Error))
		default:
			time = append(time, math.Abs(o.Error))
		}
	}
	g.Time, g.Memory = errorsOf(time), errorsOf(memory)
	return g
}

func errorsOf(abs []float64) Errors {
	if len(abs) == 0 {
		return Errors{}
	}
	slices.Sort(abs)
	e := Errors{Count: len(abs), Median: quantile(abs, 0.5), P90: quantile(abs, 0.9)}
	for _, x := range abs {
		e.Mean += x / float64(len(abs))
	}
	return e
}

// quantile interpolates linearly between order statistics (type 7).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
