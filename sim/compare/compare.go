// Package compare tells two runs apart: what changed in the input, in the step
// and in memory, in parts that add up to the whole to the last picosecond and
// byte.
package compare

import (
	"slices"
	"strings"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/unit"
)

// Side is one of the two runs.
type Side struct {
	Result *sim.Result
	Inputs []scenarios.Origin // nil: not known, the run came as a result
}

// Comparison is B against A; `sim compare --json` prints it. A change is B - A.
type Comparison struct {
	A       Summary  `json:"a"`
	B       Summary  `json:"b"`
	Inputs  []Input  `json:"inputs"` // that differ; empty where they are not known
	Metrics []Metric `json:"metrics"`
	Step    Split    `json:"step_ps"`           // of the mean rank's step, picoseconds
	Memory  Split    `json:"peak_memory_bytes"` // of the rank that needs most
	Notes   []string `json:"notes"`
}

// Summary names a side and where its prices are from.
type Summary struct {
	Name         string             `json:"name"`
	GPUs         int64              `json:"gpus"`
	Schedule     string             `json:"schedule"`
	Profile      string             `json:"profile"`
	PriceSources map[string]float64 `json:"price_sources"` // shares of kernel time
	RelError     float64            `json:"step_time_rel_error"`
	PeakOf       string             `json:"peak_of"` // "stage 0 at forward of microbatch 3, stage 0"
	InputsKnown  bool               `json:"inputs_known"`
}

// Input is a key whose value differs; "" where a side has no such key.
type Input struct {
	Key   string `json:"key"`
	A     string `json:"a"`
	B     string `json:"b"`
	FromA string `json:"from_a"`
	FromB string `json:"from_b"`
}

// Metric is a figure of the result on both sides.
type Metric struct {
	Name   string  `json:"name"`
	A      float64 `json:"a"`
	B      float64 `json:"b"`
	Change float64 `json:"change"` // relative to A; 0 where A is 0
}

// Split is a whole and its parts on both sides. Each group is the sum of its
// rows, and A, B and Change are the sums of the groups: exactly, as integers.
type Split struct {
	A      int64   `json:"a"`
	B      int64   `json:"b"`
	Change int64   `json:"change"`
	Groups []Group `json:"groups"`
}

// Group is a set of rows.
type Group struct {
	Name   string `json:"name"`
	A      int64  `json:"a"`
	B      int64  `json:"b"`
	Change int64  `json:"change"`
	Rows   []Row  `json:"rows"` // the largest change first
}

// Row is one entry of a breakdown.
type Row struct {
	Name   string `json:"name"`
	A      int64  `json:"a"`
	B      int64  `json:"b"`
	Change int64  `json:"change"`
}

// The groups of the step's rows, in the order in which they are shown.
const (
	kernels       = "kernels"
	communication = "communication"
	bubbles       = "bubbles"
	memorySaved   = "memory saved" // what needing less memory costs
	other         = "other"        // the host, and the slowest rank
)

var groups = []string{kernels, communication, bubbles, memorySaved, other}

// groupOf is the group of a row of the step's breakdown: of the rows that are no
// waits, all that are not named here are classes of kernels.
func groupOf(row string) string {
	switch {
	case row == "recompute" || row == "offload_exposed":
		return memorySaved
	case row == "pipeline_send" || strings.HasSuffix(row, "_exposed"):
		return communication
	case row == "bubble":
		return bubbles
	case row == "host" || row == "jitter":
		return other
	}
	return kernels
}

// Compare compares B with A.
func Compare(a, b Side) *Comparison {
	ra, rb := a.Result, b.Result
	c := &Comparison{A: summary(a), B: summary(b), Inputs: inputs(a.Inputs, b.Inputs), Notes: notes(ra, rb)}
	for _, name := range scenarios.Metrics {
		x, errA := ra.Metric(name)
		y, errB := rb.Metric(name)
		if errA != nil || errB != nil || name == "fits" {
			continue
		}
		m := Metric{Name: name, A: x, B: y}
		if x != 0 {
			m.Change = y/x - 1
		}
		c.Metrics = append(c.Metrics, m)
	}
	c.Step = split(apportion(ra.BreakdownS, int64(unit.Seconds(ra.StepTimeS))), apportion(rb.BreakdownS, int64(unit.Seconds(rb.StepTimeS))), groupOf)
	slices.SortFunc(c.Step.Groups, func(x, y Group) int { return slices.Index(groups, x.Name) - slices.Index(groups, y.Name) })
	pa, pb := peak(ra), peak(rb)
	c.Memory = split(apportion(pa.Breakdown, wholeBytes(pa.PeakGiB)), apportion(pb.Breakdown, wholeBytes(pb.PeakGiB)), func(row string) string { return row })
	return c
}

func wholeBytes(gib float64) int64 { return int64(gib*float64(unit.GiB) + 0.5) }

// peak is the stage that needs most memory; the first of equals.
func peak(r *sim.Result) (worst sim.StageMemory) {
	for _, s := range r.MemoryGiBByStage {
		if s.PeakGiB > worst.PeakGiB {
			worst = s
		}
	}
	return worst
}

// split sums the rows of both sides by group. Groups come by name, their rows by
// size of change.
func split(a, b map[string]int64, group func(string) string) Split {
	byName := map[string]*Group{}
	names := map[string]bool{}
	for k := range a {
		names[k] = true
	}
	for k := range b {
		names[k] = true
	}
	var s Split
	for _, name := range sorted(names) {
		row := Row{Name: name, A: a[name], B: b[name], Change: b[name] - a[name]}
		g := byName[group(name)]
		if g == nil {
			g = &Group{Name: group(name)}
			byName[g.Name] = g
		}
		g.Rows = append(g.Rows, row)
		g.A, g.B, g.Change = g.A+row.A, g.B+row.B, g.Change+row.Change
		s.A, s.B, s.Change = s.A+row.A, s.B+row.B, s.Change+row.Change
	}
	for _, name := range sorted(byName) {
		g := byName[name]
		slices.SortStableFunc(g.Rows, func(x, y Row) int { return larger(x.Change, y.Change) })
		s.Groups = append(s.Groups, *g)
	}
	return s
}

// larger orders the larger size first.
func larger(x, y int64) int {
	x, y = max(x, -x), max(y, -y)
	switch {
	case x > y:
		return -1
	case x < y:
		return 1
	}
	return 0
}

func summary(s Side) Summary {
	r, p := s.Result, peak(s.Result)
	out := Summary{Name: r.Name, GPUs: r.GPUs, Schedule: r.Schedule, Profile: r.Profile, PriceSources: r.Sources, RelError: r.StepTimeRelError, InputsKnown: s.Inputs != nil}
	if p.At != "" {
		out.PeakOf = stageName(p)
	}
	return out
}

// inputs lists the keys that differ, in the order of the schema; where one side
// is a result they are not known.
func inputs(a, b []scenarios.Origin) []Input {
	out := []Input{}
	if a == nil || b == nil {
		return out
	}
	at := map[string]scenarios.Origin{}
	for _, o := range b {
		at[o.Key] = o
	}
	seen := map[string]bool{}
	for _, o := range a {
		seen[o.Key] = true
		other := at[o.Key]
		if o.Value != other.Value && !isText(o.Key) {
			out = append(out, Input{o.Key, o.Value, other.Value, o.From, other.From})
		}
	}
	for _, o := range b {
		if !seen[o.Key] && !isText(o.Key) {
			out = append(out, Input{Key: o.Key, B: o.Value, FromB: o.From})
		}
	}
	return out
}

// isText reports whether a key only describes.
func isText(key string) bool {
	return slices.Contains([]string{"name", "description", "source", "model.title"}, key) || strings.HasPrefix(key, "expect")
}
