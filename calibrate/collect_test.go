package calibrate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/kernels/bench"
	"orrery/kernels/sample"
)

func testSuite(name string, cases int) bench.Suite {
	return bench.Suite{Name: name, Cases: func() []bench.Case {
		var out []bench.Case
		for i := range cases {
			out = append(out, bench.Case{Family: name, Kernel: "k", Hash: "1", Shape: sample.Shape(fmt.Sprintf("i=%d", i)), Weight: float64(i % 7)})
		}
		return out
	}}
}

func fakeRow(c bench.Case) sample.Row {
	r := sample.Row{Family: c.Family, Kernel: c.Kernel, Hash: c.Hash, Shape: c.Shape, DType: c.DType, Unit: "us", Samples: []float64{1, 2, 3}}
	r.Summarise()
	return r
}

// A plan holds every case once but those that are there, and any beginning of it
// has all suites as evenly as they last, each by weight.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 20), 1, 5).Draw(t, "sizes")
		var suites []bench.Suite
		var rows []sample.Row
		total := 0
		for i, n := range sizes {
			s := testSuite(fmt.Sprint("s", i), n)
			suites = append(suites, s)
			for _, c := range s.Cases() {
				if rapid.IntRange(0, 3).Draw(t, "have") == 0 {
					rows = append(rows, fakeRow(c))
				}
			}
			total += n
		}
		p, err := NewPlan(suites, "", 1, rows)
		require.NoError(t, err)
		require.Equal(t, len(rows), p.Have)
		require.Len(t, p.Cases, total-len(rows))
		seen, count, last := map[string]bool{}, map[string]int{}, map[string]float64{}
		left := map[string]int{}
		for _, c := range p.Cases {
			left[c.Family]++
		}
		for _, c := range p.Cases {
			require.False(t, seen[c.ID()])
			seen[c.ID()] = true
			if w, ok := last[c.Family]; ok {
				require.LessOrEqual(t, c.Weight, w)
			}
			last[c.Family] = c.Weight
			count[c.Family]++
			for f, n := range left {
				require.GreaterOrEqual(t, count[f], min(n, count[c.Family]-1), "%s waits for %s", f, c.Family)
			}
		}
	})
}

func TestPlanSaysWhatItLeavesOut(t *testing.T) {
	many := testSuite("nccl", 3)
	many.Cases = func() []bench.Case {
		cases := testSuite("nccl", 3).Cases()
		cases[1].Needs = 8
		return cases
	}
	absent := testSuite("gemm", 2)
	absent.Missing = func() error { return errors.New("no cuBLASLt") }
	old := fakeRow(many.Cases()[0])
	old.Hash = "0"
	p, err := NewPlan([]bench.Suite{many, absent}, "", 1, []sample.Row{old})
	require.NoError(t, err)
	assert.Equal(t, 1, p.TooFewGPUs)
	assert.Equal(t, 1, p.Stale)
	assert.Len(t, p.Cases, 2)
	assert.Equal(t, map[string]string{"gemm": "no cuBLASLt"}, p.Missing)

	p, err = NewPlan([]bench.Suite{many, absent}, "nccl/*i=2", 8, nil)
	require.NoError(t, err)
	assert.Len(t, p.Cases, 1)
	assert.Empty(t, p.Missing, "a suite that is not asked for is not missed")
	_, err = NewPlan([]bench.Suite{many, absent}, "ncl/*", 8, nil)
	assert.ErrorContains(t, err, "gemm/k, nccl/k")
	_, err = NewPlan(nil, "x", 1, nil)
	assert.ErrorContains(t, err, "no suite of kernels is built in")
}

// glob agrees with a slow one that tries everything.
func TestGlob(t *testing.T) {
	var slow func(p, s string) bool
	slow = func(p, s string) bool {
		if p == "" {
			return s == ""
		}
		if p[0] == '*' {
			return slow(p[1:], s) || s != "" && slow(p, s[1:])
		}
		return s != "" && (p[0] == '?' || p[0] == s[0]) && slow(p[1:], s[1:])
	}
	rapid.Check(t, func(t *rapid.T) {
		p, s := rapid.StringMatching(`[ab/*?]{0,7}`).Draw(t, "pattern"), rapid.StringMatching(`[ab/]{0,9}`).Draw(t, "text")
		want := slow(p, s)
		if !strings.ContainsAny(p, "*?") {
			want = strings.HasPrefix(s, p)
		}
		require.Equal(t, want, glob(p, s), "%q on %q", p, s)
	})
}

// However often a run is interrupted, in whatever way, the file ends up with every
// case once.
func TestInterruptedRunsResume(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprintf("%d.csv", runs))
		suites := []bench.Suite{testSuite("a", 9), testSuite("b", 4)}
		h := sample.Header{GPU: "fake", Synthetic: true}
		for attempt := 0; ; attempt++ {
			require.Less(t, attempt, 200)
			file, before, _, err := sample.Append(path, h)
			require.NoError(t, err)
			plan, err := NewPlan(suites, "", 1, before.Rows)
			require.NoError(t, err)
			require.Equal(t, 13, plan.Have+len(plan.Cases))
			ctx, cancel := context.WithCancel(context.Background())
			stop := rapid.IntRange(0, 6).Draw(t, "stop after")
			c := Collector{Add: file.Add, Now: func() time.Time { return time.Unix(0, 0) }, Progress: func(int, int, bench.Case, sample.Row, error) {},
				Measure: func(ctx context.Context, c bench.Case) (sample.Row, error) {
					if stop--; stop < 0 {
						cancel()
						return fakeRow(c), ctx.Err() // the row in flight
					}
					return fakeRow(c), nil
				}}
			got, err := c.Run(ctx, plan.Cases)
			cancel()
			require.NoError(t, err)
			require.NoError(t, file.Close())
			require.Equal(t, len(plan.Cases), got.Measured+got.Left)
			require.Equal(t, got.Left > 0, got.Interrupted)
			if got.Left == 0 {
				break
			}
		}
		f, err := sample.ReadFile(path)
		require.NoError(t, err)
		var ids []string
		for _, r := range f.Rows {
			ids = append(ids, r.ID())
		}
		slices.Sort(ids)
		require.Len(t, ids, 13)
		require.Len(t, slices.Compact(ids), 13)
	})
}

func TestCollectorGoesOnAfterFailures(t *testing.T) {
	cases := testSuite("a", 20).Cases()
	clock := time.Unix(0, 0)
	kept, told := 0, 0
	c := Collector{
		Add: func(sample.Row) error { kept++; return nil }, Now: func() time.Time { clock = clock.Add(time.Second); return clock },
		Progress: func(int, int, bench.Case, sample.Row, error) { told++ },
		Measure: func(_ context.Context, c bench.Case) (sample.Row, error) {
			switch c.Shape {
			case "i=3":
				return sample.Row{}, errors.New("element 7 is 1, must be 2")
			case "i=4":
				return fakeRow(cases[0]), nil
			}
			return fakeRow(c), nil
		}}
	got, err := c.Run(context.Background(), cases)
	require.NoError(t, err)
	assert.Equal(t, 18, got.Measured)
	assert.Equal(t, 18, kept)
	assert.Equal(t, 20, told)
	require.Len(t, got.Failed, 2)
	assert.Contains(t, got.Failed[0], "a/k//i=3: element 7 is 1")
	assert.Contains(t, got.Failed[1], "returned a row of a/k//i=0")

	c.Budget = 5 * time.Second
	got, err = c.Run(context.Background(), cases)
	require.NoError(t, err)
	assert.Equal(t, 16, got.Left, "five seconds are four cases and a look at the clock")
	assert.False(t, got.Interrupted)

	c.Budget = 0
	c.Measure = func(context.Context, bench.Case) (sample.Row, error) {
		return sample.Row{}, errors.New("illegal address")
	}
	got, err = c.Run(context.Background(), cases)
	assert.ErrorContains(t, err, "lost its context")
	assert.Equal(t, 20, len(got.Failed)+got.Left)
	c.Measure = func(_ context.Context, c bench.Case) (sample.Row, error) { return fakeRow(c), nil }
	c.Add = func(sample.Row) error { return errors.New("disk full") }
	_, err = c.Run(context.Background(), cases)
	assert.ErrorContains(t, err, "disk full")
}
