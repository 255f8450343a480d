package report

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
)

func runOf(t testing.TB, options sim.Options, scenario string, sets ...string) *sim.Run {
	t.Helper()
	res, err := scenarios.Load(scenario, sets)
	require.NoError(t, err)
	options.NoAdvice = true
	run, err := sim.Simulate(context.Background(), &res.Scenario, options)
	require.NoError(t, err)
	return run
}

// data is what a page's script reads.
func data(t testing.TB, page []byte) (d stepData) {
	t.Helper()
	_, rest, ok := strings.Cut(string(page), `<script type="application/json" id="data">`)
	require.True(t, ok)
	text, _, _ := strings.Cut(rest, "</script>")
	require.NotContains(t, text, ":null", "the script takes every list for one")
	require.NoError(t, json.Unmarshal([]byte(text), &d))
	return d
}

// The page of a real step: its kernels and works are those of the run, names have their
// microbatch, equal runs give equal bytes, and each rank tells how many it stands for.
func TestPageOfAStep(t *testing.T) {
	for _, c := range []struct {
		scenario string
		options  sim.Options
		of       int64
		name     string // of some op
	}{
		{"quickstart", sim.Options{}, 16, "forward of microbatch #, stage 0"},
		{"quickstart", sim.Options{Expand: true}, 1, "send of backward of microbatch #, stage 3"},
		{"deepseek-v3-dualpipev-h800", sim.Options{}, 128, "backward of microbatch #, stage 0"},
		{"varlen/llama3-8b-128k-128-web-slimpack", sim.Options{}, 8, "forward of unit #, stage 0"},
		{"nlp/mmnlu22-xlmr-base", sim.Options{}, 1, "forward of microbatch #, stage 0"},
		{"multimodal/qwen3-30b-vit-bigmac", sim.Options{}, 0, "encoder forward of microbatch #"},
	} {
		t.Run(c.scenario, func(t *testing.T) {
			if testing.Short() && c.scenario != "quickstart" {
				t.Skip("-short: quickstart alone")
			}
			run := runOf(t, c.options, c.scenario)
			var a, b bytes.Buffer
			require.NoError(t, HTML(&a, run))
			again := run
			if c.scenario == "quickstart" { // others take long to simulate twice
				again = runOf(t, c.options, c.scenario)
			}
			require.NoError(t, HTML(&b, again))
			require.True(t, bytes.Equal(a.Bytes(), b.Bytes()), "the same scenario, the same bytes")
			d := data(t, a.Bytes())
			require.Len(t, d.Ranks, len(run.Lanes))
			gpus := int64(0)
			for _, r := range d.Ranks {
				gpus += r.StandsFor
			}
			require.Equal(t, run.Result.GPUs, gpus)
			if c.of > 0 {
				require.Equal(t, c.of, d.Ranks[0].StandsFor)
			}
			var texts []string
			for _, l := range d.Labels {
				texts = append(texts, l.Text)
			}
			require.True(t, slices.Contains(texts, c.name), c.name)
			require.Len(t, d.Works, len(run.Program.Works))
			for _, w := range d.Works {
				sum := 0.0
				for _, s := range w.Sources {
					sum += s.Share
				}
				if w.Time > 0 && w.Time > w.Host {
					require.InDelta(t, 1, sum, 1e-3, w.Name)
					require.Positive(t, w.RelErr, w.Name)
				}
				require.LessOrEqual(t, w.Exposed+w.Slowed+w.Host, w.Time)
			}
			checkKernels(t, &d)
		})
	}
}

// checkKernels: a block's kernels lie within the work that they are of, unless that is a
// pair's, and their numbers name texts.
func checkKernels(t *testing.T, d *stepData) {
	t.Helper()
	r := newReader(t, d.Kernels)
	length := make([]int64, len(d.Blocks))
	for b, block := range d.Blocks {
		for range block.N {
			for range 5 {
				require.Less(t, r.u(), int64(len(d.Strings)))
			}
			require.LessOrEqual(t, r.u(), int64(1))
			length[b] = max(length[b], r.u()+r.u())
			r.u()
		}
	}
	require.Empty(t, r.b)
	for _, w := range d.Works {
		sum := int64(0)
		for _, use := range w.Blocks {
			require.GreaterOrEqual(t, use[0], int64(0))
			sum += length[use[0]] * use[1]
		}
		if !w.Paired {
			require.LessOrEqual(t, sum, w.Time, w.Name)
		}
	}
}

// What a page has no room for is said on it.
func TestPageLeavesOut(t *testing.T) {
	run := runOf(t, sim.Options{}, "quickstart")
	var b bytes.Buffer
	require.NoError(t, writeHTML(&b, run, 2000, 10, 300))
	d := data(t, b.Bytes())
	require.Positive(t, d.LeftOutRanks)
	require.Positive(t, d.LeftOut)
	require.Equal(t, 3, d.Memory.LeftOut)
	for _, want := range []string{"ranks with", "kinds of blocks are left out", "Memory over time is left out for the last 3 ranks"} {
		require.Contains(t, b.String(), want)
	}
	b.Reset()
	require.NoError(t, HTML(&b, run))
	require.NotContains(t, strings.ToLower(b.String()), "left out:")
}

// A page of points refuses what it could not draw, and has each value to seven digits.
func TestPointsPage(t *testing.T) {
	good := func() PointsPage {
		return PointsPage{Title: "p", Columns: []Column{{Key: "t", Name: "time", Unit: "s", Better: Lower}, {Key: "m", Name: "memory", Unit: "GiB"}}, X: "t",
			Points: []Point{{Name: "0", Status: StatusOK, Values: []float64{1.0 / 3, math.NaN()}, Settings: map[string]string{"parallel.tp": "4"}}, {Name: "1", Status: "refused", Values: []float64{math.Inf(1), 2}}}}
	}
	var b bytes.Buffer
	require.NoError(t, Points(&b, good()))
	require.Contains(t, b.String(), `"values":[[0.3333333,null],[null,2]]`)
	require.Contains(t, b.String(), `{"key":"parallel.tp","values":["4"],"at":[1,0]}`)
	for want, harm := range map[string]func(*PointsPage){
		"needs a column":       func(p *PointsPage) { p.Columns = nil },
		`two columns "t"`:      func(p *PointsPage) { p.Columns[1].Key = "t" },
		"without a key":        func(p *PointsPage) { p.Columns[1].Key = "" },
		`better is "smaller"`:  func(p *PointsPage) { p.Columns[0].Better = "smaller" },
		`no column "x"`:        func(p *PointsPage) { p.Y = "x" },
		"point 1 has 1 values": func(p *PointsPage) { p.Points[1].Values = []float64{1} },
	} {
		p := good()
		harm(&p)
		var none bytes.Buffer
		require.ErrorContains(t, Points(&none, p), want)
		require.Zero(t, none.Len())
	}
	require.NoError(t, Points(io.Discard, PointsPage{Columns: []Column{{Key: "t"}}}), "no points are no error")
}

// Writing the page of a step of 160,000 ops on 64 ranks.
func BenchmarkHTML(b *testing.B) {
	run := runOf(b, sim.Options{Expand: true}, "quickstart", "training.global_batch=256")
	b.ReportAllocs()
	for b.Loop() {
		var page bytes.Buffer
		if err := HTML(&page, run); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(page.Len()))
	}
	b.ReportMetric(float64(run.Program.Len())*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}
