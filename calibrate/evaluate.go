package calibrate

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"orrery/sim/cost"
)

// longEnough bounds the rows that errors are judged on, in microseconds: shorter
// ones are mostly launch.
const longEnough = 20

// FamilyError is how far prices are from measurements in one family and format.
// An error is |price/measured - 1|.
type FamilyError struct {
	Family            cost.Family `json:"family"` // with the reason behind it for rows set apart: moe_mistuned
	DType             string      `json:"dtype"`
	Count             int         `json:"count"`      // rows priced
	CountLong         int         `json:"count_20us"` // of those, rows that measured 20 us or more
	MedianAbsError    float64     `json:"median_abs_error"`
	P90AbsError       float64     `json:"p90_abs_error"`
	Coverage90        float64     `json:"coverage90"` // share of rows inside the predicted 90 % interval
	MedianAbsErrorAll float64     `json:"median_abs_error_all"`
	MedianSpread      float64     `json:"median_spread,omitempty"` // of the collections of a row, largest over smallest
	Unpriced          int         `json:"unpriced,omitempty"`
	Why               string      `json:"why_unpriced,omitempty"` // of the first
}

// Evaluation holds a profile against tables.
type Evaluation struct {
	Profile  string        `json:"profile"`
	From     string        `json:"from"`
	Families []FamilyError `json:"families"`
	Tables   []TableUse    `json:"tables"`
	Unread   []string      `json:"unread"`
}

// Evaluate prices every row of the tables under dir.
func Evaluate(ctx context.Context, dir string, p *cost.Profile) (Evaluation, error) {
	ev := Evaluation{Profile: p.Name, From: dir}
	t, err := readTables(ctx, dir, p.Hardware())
	if err != nil {
		return ev, err
	}
	ev.Tables, ev.Unread = t.Used, append([]string{}, t.Unread...)
	ev.Families, err = judgeSamples(ctx, p, t.Samples)
	return ev, err
}

// judgeSamples prices samples and sums up their errors by family and format.
func judgeSamples(ctx context.Context, p *cost.Profile, samples []Sample) ([]FamilyError, error) {
	type outcome struct {
		price cost.Estimate
		err   error
	}
	outcomes := make([]outcome, len(samples))
	workers := min(runtime.GOMAXPROCS(0), max(len(samples)/256, 1))
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < len(samples) && ctx.Err() == nil; i += workers {
				outcomes[i].price, outcomes[i].err = p.Price(samples[i].Kernel)
			}
		})
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type key struct {
		family cost.Family
		dtype  string
	}
	type tally struct {
		FamilyError
		long, all, spreads []float64
		covered            int
	}
	tallies := map[key]*tally{}
	for i, s := range samples {
		k := key{s.Kernel.Family(), s.DType}
		if s.Apart != "" {
			k.family += cost.Family("_" + s.Apart)
		}
		t := tallies[k]
		if t == nil {
			t = &tally{FamilyError: FamilyError{Family: k.family, DType: k.dtype}}
			tallies[k] = t
		}
		if err := outcomes[i].err; err != nil {
			if t.Unpriced++; t.Unpriced == 1 {
				t.Why = fmt.Sprintf("%s:%d: %v", s.Table, s.Line, err)
			}
			continue
		}
		price := outcomes[i].price.Time.Micros()
		miss := math.Abs(price/s.Micros - 1)
		t.all = append(t.all, miss)
		if s.Micros >= longEnough {
			t.long = append(t.long, miss)
		}
		if math.Abs(s.Micros-price) <= outcomes[i].price.RelErr*price {
			t.covered++
		}
		if s.Spread > 0 {
			t.spreads = append(t.spreads, s.Spread)
		}
	}
	var out []FamilyError
	for _, t := range tallies {
		t.Count, t.CountLong = len(t.all), len(t.long)
		t.MedianAbsError, t.P90AbsError = quantile(t.long, 0.5), quantile(t.long, 0.9)
		t.MedianAbsErrorAll = quantile(t.all, 0.5)
		t.Coverage90 = float64(t.covered) / float64(max(t.Count, 1))
		t.MedianSpread = quantile(t.spreads, 0.5)
		out = append(out, t.FamilyError)
	}
	slices.SortFunc(out, func(a, b FamilyError) int {
		return cmpStrings(string(a.Family), string(b.Family), a.DType, b.DType)
	})
	return out, nil
}
