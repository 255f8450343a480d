package calibrate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"orrery/kernels/sample"
)

// significant is the family-wise error rate of a comparison, over its families.
const significant = 0.05

// fewestRanked rows of a family can show a difference by the ranks of their
// ratios; with fewer the samples themselves are compared.
const fewestRanked = 8

// Comparison holds two files of samples against each other. A ratio is a time of
// the new file over the baseline's: above 1 is slower.
type Comparison struct {
	Baseline  string             `json:"baseline"`
	New       string             `json:"new"`
	Threshold float64            `json:"threshold"` // slowdown that fails, e.g. 0.03
	Synthetic bool               `json:"synthetic,omitempty"`
	Warnings  []string           `json:"warnings"`
	Families  []FamilyComparison `json:"families"`
	// OnlyBaseline and OnlyNew are IDs of rows without a partner.
	OnlyBaseline []string `json:"only_baseline"`
	OnlyNew      []string `json:"only_new"`
	// NotJudged counts rows whose unit tells of no speed: watts.
	NotJudged int  `json:"not_judged"`
	Slower    bool `json:"slower"` // a family is, significantly and by more than the threshold
}

// FamilyComparison sums up the rows of a family.
type FamilyComparison struct {
	Family string  `json:"family"`
	Rows   int     `json:"rows"`
	Ratio  float64 `json:"ratio"` // geometric mean over rows of the ratio of medians
	Low    float64 `json:"low"`   // 95 % interval of Ratio, by bootstrap over rows
	High   float64 `json:"high"`
	P      float64 `json:"p"` // two-sided, adjusted over families by Holm's method
	Test   string  `json:"test"`
	// Verdict is "slower", "faster", "same" (no significant difference) or "small"
	// (a significant difference within the threshold).
	Verdict string          `json:"verdict"`
	Worst   []RowComparison `json:"worst,omitempty"` // rows slower than the threshold whose intervals do not meet
}

// RowComparison is one kernel in both files.
type RowComparison struct {
	ID    string  `json:"id"`
	Ratio float64 `json:"ratio"`
	Old   float64 `json:"baseline_median"`
	New   float64 `json:"new_median"`
	Unit  string  `json:"unit"`
}

// Compare holds a new file against a baseline. threshold is the slowdown that
// counts, relative: 0.03.
func Compare(baseline, fresh *sample.File, threshold float64) (Comparison, error) {
	c := Comparison{Baseline: baseline.Name, New: fresh.Name, Threshold: threshold, Synthetic: baseline.Header.Synthetic || fresh.Header.Synthetic,
		Warnings: append([]string{}, headerWarnings(baseline, fresh)...), OnlyBaseline: []string{}, OnlyNew: []string{}, Families: []FamilyComparison{}}
	news := map[string]sample.Row{}
	for _, r := range fresh.Current() {
		news[r.ID()] = r
	}
	paired := map[string][][2]sample.Row{}
	changed := 0
	for _, old := range baseline.Current() {
		r, ok := news[old.ID()]
		if !ok {
			c.OnlyBaseline = append(c.OnlyBaseline, old.ID())
			continue
		}
		delete(news, old.ID())
		switch {
		case old.Unit != r.Unit:
			return c, fmt.Errorf("%s is in %s in %s, and in %s in %s", old.ID(), old.Unit, baseline.Name, r.Unit, fresh.Name)
		case old.Unit == "watt" || old.Median <= 0 || r.Median <= 0:
			c.NotJudged++
			continue
		case old.Hash != r.Hash:
			changed++
		}
		paired[old.Family] = append(paired[old.Family], [2]sample.Row{old, r})
	}
	c.OnlyNew = append(c.OnlyNew, sortedKeys(news)...)
	slices.Sort(c.OnlyBaseline)
	if len(paired) == 0 {
		return c, errors.New("the files have no row in common: nothing to compare")
	}
	if changed > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%d kernels have other code or another library's version (hash)", changed))
	}
	var ps []float64
	for _, name := range sortedKeys(paired) {
		if w := clockWarning(name, paired[name]); w != "" {
			c.Warnings = append(c.Warnings, w)
		}
		f := compareFamily(name, paired[name], threshold)
		ps = append(ps, f.P)
		c.Families = append(c.Families, f)
	}
	for i, p := range holm(ps) {
		f := &c.Families[i]
		f.P = p
		f.Verdict = verdict(*f, threshold)
		c.Slower = c.Slower || f.Verdict == "slower"
	}
	return c, nil
}

func verdict(f FamilyComparison, threshold float64) string {
	switch {
	case f.P >= significant || f.Rows >= fewestRanked && f.Low <= 1 && f.High >= 1:
		return "same"
	case f.Ratio > 1+threshold:
		return "slower"
	case f.Ratio < 1/(1+threshold):
		return "faster"
	}
	return "small"
}

// compareFamily compares the rows of one family; P is not adjusted yet.
func compareFamily(name string, rows [][2]sample.Row, threshold float64) FamilyComparison {
	f := FamilyComparison{Family: name, Rows: len(rows)}
	logs := make([]float64, len(rows))
	sum := 0.0
	for i, r := range rows {
		ratio := slowdown(r[0], r[1])
		logs[i] = math.Log(ratio)
		sum += logs[i]
		apart := r[1].Low > r[0].High || r[1].High < r[0].Low
		if ratio > 1+threshold && apart {
			f.Worst = append(f.Worst, RowComparison{r[0].ID(), ratio, r[0].Median, r[1].Median, r[0].Unit})
		}
	}
	slices.SortStableFunc(f.Worst, func(a, b RowComparison) int { return cmp.Compare(b.Ratio, a.Ratio) })
	f.Ratio = math.Exp(sum / float64(len(rows)))
	low, high := bootstrapMean(logs)
	f.Low, f.High = math.Exp(low), math.Exp(high)
	if len(rows) >= fewestRanked {
		f.Test, f.P = "signed rank of the rows' ratios", signedRank(logs)
		return f
	}
	f.Test = "rank sum of samples within rows"
	pairs := make([][2][]float64, len(rows))
	for i, r := range rows {
		pairs[i] = [2][]float64{r[0].Samples, r[1].Samples}
		if r[0].Unit == "mhz" {
			pairs[i] = [2][]float64{r[1].Samples, r[0].Samples}
		}
	}
	f.P = rankSum(pairs)
	return f
}

// slowdown is the ratio of times; of clocks the reverse.
func slowdown(old, fresh sample.Row) float64 {
	if old.Unit == "mhz" {
		return old.Median / fresh.Median
	}
	return fresh.Median / old.Median
}

// headerWarnings tell what else differs between the files.
func headerWarnings(a, b *sample.File) []string {
	var out []string
	h, g := a.Header, b.Header
	for _, f := range []struct{ what, old, fresh string }{
		{"GPU", h.GPU, g.GPU}, {"driver", h.Driver, g.Driver}, {"CUDA", h.CUDA, g.CUDA},
		{"highest SM clock (MHz)", fmt.Sprint(h.ClockMHz), fmt.Sprint(g.ClockMHz)}, {"highest memory clock (MHz)", fmt.Sprint(h.MemMHz), fmt.Sprint(g.MemMHz)},
		{"power cap (W)", fmt.Sprint(h.PowerCapW), fmt.Sprint(g.PowerCapW)}, {"launcher", h.Launcher, g.Launcher}, {"host", h.Host, g.Host},
	} {
		if f.old != f.fresh {
			out = append(out, fmt.Sprintf("%s differs: %q and %q", f.what, f.old, f.fresh))
		}
	}
	if h.Synthetic != g.Synthetic {
		out = append(out, "one file is synthetic, the other is measured")
	}
	return out
}

// clockWarning tells where the GPU ran at another clock, or was throttled in one
// of the files: then the clock is what a difference may come from.
func clockWarning(family string, rows [][2]sample.Row) string {
	var ratios []float64
	throttled := [2]int{}
	for _, r := range rows {
		if r[0].ClockMHz > 0 && r[1].ClockMHz > 0 {
			ratios = append(ratios, float64(r[1].ClockMHz)/float64(r[0].ClockMHz))
		}
		for i := range throttled {
			if t := r[i].Throttle; t != "" && t != "none" {
				throttled[i]++
			}
		}
	}
	var parts []string
	if len(ratios) > 0 {
		if m := quantile(ratios, 0.5); math.Abs(m-1) > 0.02 {
			parts = append(parts, fmt.Sprintf("SM clock %.3g times the baseline's (median)", m))
		}
	}
	if throttled[0] != throttled[1] {
		parts = append(parts, fmt.Sprintf("throttled in %d rows, %d in the baseline", throttled[1], throttled[0]))
	}
	if len(parts) == 0 {
		return ""
	}
	return family + ": " + strings.Join(parts, "; ")
}
