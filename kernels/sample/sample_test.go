package sample

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchmath"
	"pgregory.net/rapid"
)

func drawText(t *rapid.T, label string) string {
	return rapid.StringMatching(`[a-zA-Z0-9_+.,"'#:µ-]([a-zA-Z0-9_ ,"-]{0,8}[a-z0-9"])?`).Draw(t, label)
}

func drawHeader(t *rapid.T) Header {
	count := rapid.IntRange(0, 1<<20)
	return Header{GPU: drawText(t, "gpu"), Driver: drawText(t, "driver"), CUDA: "13.0", SMs: count.Draw(t, "sms"), ClockMHz: count.Draw(t, "clock"),
		MemMHz: count.Draw(t, "mem"), PowerCapW: rapid.Float64Range(0, 1e4).Draw(t, "cap"), Date: "2026-01-31T12:00:00Z", Launcher: "dlopen",
		Host: rapid.SampledFrom([]string{"", "torch 2.11.0+cu130, cudnn 9.1"}).Draw(t, "host"), Synthetic: rapid.Bool().Draw(t, "synthetic")}
}

func drawRows(t *rapid.T) []Row {
	n := rapid.IntRange(0, 8).Draw(t, "rows")
	rows := []Row{}
	for i := range n {
		r := Row{Family: drawText(t, "family"), Kernel: drawText(t, "kernel"), Hash: drawText(t, "hash"), Shape: Shape(fmt.Sprintf("i=%d m=%s", i, "8x4")),
			DType: rapid.SampledFrom([]string{"", "bf16"}).Draw(t, "dtype"), Unit: rapid.SampledFrom(units).Draw(t, "unit"),
			State:   State{ClockMHz: i, PowerW: rapid.Float64Range(0, 700).Draw(t, "power"), TempC: -3, Throttle: "none"},
			Samples: rapid.SliceOfN(rapid.Float64Range(0, 1e9), 1, 40).Draw(t, "samples")}
		r.Summarise()
		rows = append(rows, r)
	}
	return rows
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, rows := drawHeader(t), drawRows(t)
		var b bytes.Buffer
		require.NoError(t, Write(&b, h, rows))
		require.True(t, Is(b.Bytes()))
		f, err := Read(b.Bytes(), "x.csv")
		require.NoError(t, err)
		require.Equal(t, h, f.Header)
		require.Equal(t, rows, append([]Row{}, f.Rows...))
		require.EqualValues(t, b.Len(), f.Whole)
		var again bytes.Buffer
		require.NoError(t, Write(&again, f.Header, f.Rows))
		require.Equal(t, b.String(), again.String())
	})
}

// Cut anywhere after the header, a file gives its whole rows, and appending the
// others again gives the bytes of the run that was not interrupted.
func TestTruncatedFilesResume(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		h, rows := drawHeader(t), drawRows(t)
		var head, all bytes.Buffer
		require.NoError(t, Write(&head, h, nil))
		require.NoError(t, Write(&all, h, rows))
		cut := rapid.IntRange(head.Len(), all.Len()).Draw(t, "cut")
		path := filepath.Join(dir, "s.csv")
		require.NoError(t, os.WriteFile(path, all.Bytes()[:cut], 0o644))
		a, before, line, err := Append(path, h)
		require.NoError(t, err)
		require.Equal(t, line == 0, int(before.Whole) == cut)
		require.Equal(t, rows[:len(before.Rows)], append(rows[:0:0], before.Rows...))
		for _, r := range rows[len(before.Rows):] {
			require.NoError(t, a.Add(r))
		}
		require.NoError(t, a.Close())
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, all.String(), string(data))
	})
}

func TestAppendRefusesAnotherGPU(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.csv")
	a, f, cut, err := Append(path, Header{GPU: "NVIDIA H200"})
	require.NoError(t, err)
	assert.Empty(t, f.Rows)
	assert.Zero(t, cut)
	require.NoError(t, a.Close())
	for _, h := range []Header{{GPU: "NVIDIA H100"}, {GPU: "NVIDIA H200", Synthetic: true}} {
		_, _, _, err = Append(path, h)
		assert.ErrorContains(t, err, "give another --out")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

const good = Magic + `
# gpu: NVIDIA H200
# driver: 580.159
# cuda: 13.0
# sms: 132
# clock_mhz: 1980
# mem_mhz: 3201
# power_cap_w: 700
# date: 2026-01-31T12:00:00Z
# launcher: dlopen
# host:
# synthetic: false
family,kernel,hash,shape,dtype,unit,n,median,low,high,within,clock_mhz,mem_mhz,power_w,temp_c,throttle,samples
memory_bound,copy,0123456789ab,read=1 write=1,bf16,us,7,4,1,7,false,1980,3201,300.5,50,none,1 2 3 4 5 6 7
`

func TestReadSaysWhereAndWhat(t *testing.T) {
	f, err := Read([]byte(good), "f.csv")
	require.NoError(t, err)
	require.Len(t, f.Rows, 1)
	assert.Equal(t, []int{14}, f.Lines)
	assert.Equal(t, "memory_bound/copy/bf16/read=1 write=1", f.Rows[0].ID())
	crlf, err := Read([]byte(strings.ReplaceAll(good, "\n", "\r\n")), "f.csv")
	require.NoError(t, err)
	assert.Equal(t, f.Rows, crlf.Rows)

	for _, c := range []struct{ from, to, want string }{
		{"v1\n", "v2\n", "f.csv:1:1: the first line is"},
		{"# sms: 132", "# smss: 132", `f.csv:5:3: no header is called "smss" (did you mean "sms"?)`},
		{"# sms: 132", "# sms: many", `f.csv:5:3: header sms: "many" is no whole number`},
		{"# sms: 132\n", "", `no header "sms"`},
		{"# host:", "# sms: 1", "header sms is there twice"},
		{"date: 2026-01-31T12:00:00Z", "date: yesterday", "RFC 3339"},
		{"synthetic: false", "synthetic: False", `"False" (did you mean "false"?)`},
		{",samples\n", ",sample\n", "f.csv:13:1: columns are"},
		{",us,7,4", ",ms,7,4", `f.csv:14:1: unit: "ms"; must be one of us`},
		{",us,7,4", ",us,x,4", `f.csv:14:55: n: "x" is no whole number`},
		{",us,7,4", ",us,6,4", "n is 6, but there are 7 samples"},
		{",us,7,4", ",us,7,4.01", "median is 4.01, but that of the samples is 4"},
		{",4,1,7,", ",4,3.5,7,", "low is 3.5"},
		{",4,1,7,", ",4,1,4.5,", "high is 4.5"},
		{",7,false", ",7,true", "within is true"},
		{"read=1 write=1", "read=1  write=1", "shape"},
		{"read=1 write=1", "read=1 read=1", `key "read" is there twice`},
		{"1 2 3", "1 NaN 3", `sample 2: "NaN" is no number`},
		{"1 2 3", "1 -2 3", "sample 2"},
		{"memory_bound,copy", "memory_bound", "16 columns, must be 17"},
		{"memory_bound,copy", `"memory_bound,copy`, "f.csv:14:"},
		{"memory_bound,copy", ",copy", "no family"},
	} {
		_, err := Read([]byte(strings.Replace(good, c.from, c.to, 1)), "f.csv")
		assert.ErrorContains(t, err, c.want, "%q for %q", c.to, c.from)
	}
	twice := good + good[strings.Index(good, "memory_bound"):]
	_, err = Read([]byte(twice), "f.csv")
	assert.ErrorContains(t, err, "f.csv:15:1: memory_bound/copy/bf16/read=1 write=1 was measured in line 14 already")

	// a kernel that was changed: the later row counts
	f, err = Read([]byte(good+strings.Replace(good[strings.Index(good, "memory_bound"):], "0123456789ab", "ffff", 1)), "f.csv")
	require.NoError(t, err)
	require.Len(t, f.Current(), 1)
	assert.Equal(t, "ffff", f.Current()[0].Hash)
}

func TestWriteRefusesWhatReadWould(t *testing.T) {
	row := Row{Family: "f", Kernel: "k", Unit: "us", Samples: []float64{1}}
	row.Summarise()
	require.NoError(t, Write(&bytes.Buffer{}, Header{}, []Row{row}))
	for name, change := range map[string]func(*Row){
		"newline":   func(r *Row) { r.Kernel = "a\nb" },
		"unit":      func(r *Row) { r.Unit = "ms" },
		"shape":     func(r *Row) { r.Shape = "m" },
		"median":    func(r *Row) { r.Median = 2 },
		"no sample": func(r *Row) { r.Samples = nil; r.N = 0 },
	} {
		bad := row
		change(&bad)
		assert.Error(t, Write(&bytes.Buffer{}, Header{}, []Row{bad}), name)
	}
	assert.Error(t, Write(&bytes.Buffer{}, Header{GPU: "a\nb"}, nil))
	assert.Error(t, Write(&bytes.Buffer{}, Header{Date: "today"}, nil))
}

func TestIntervalHoldsTheMedian(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(0, 1e6), 1, 300).Draw(t, "samples")
		median, low, high := Interval(x)
		require.LessOrEqual(t, low, median)
		require.LessOrEqual(t, median, high)
		y := slices.Clone(x)
		slices.Reverse(y)
		m2, l2, h2 := Interval(y)
		require.Equal(t, [3]float64{median, low, high}, [3]float64{m2, l2, h2}, "the order of samples does not matter")
	})
}

// benchmath's interval may be a rank tighter at an end (it is not symmetric), and
// passes for what a file may say.
func TestIntervalAgreesWithBenchmath(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := fewestForInterval; n < 400; n++ {
		x := make([]float64, n)
		for i := range x {
			x[i] = 100 * rng.Float64()
		}
		r := Row{Family: "f", Kernel: "k", Unit: "us", Samples: x}
		r.Summarise()
		require.NoError(t, r.valid())
		s := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(x), &benchmath.DefaultThresholds), 0.95)
		require.InDelta(t, s.Center, r.Median, 1e-9)
		r.Low, r.High, r.Within = s.Lo, s.Hi, false
		require.NoError(t, r.valid(), "n=%d", n)
	}
}

// In 95 of 100 draws or more the interval covers the median of the distribution.
func TestIntervalCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{6, 11, 30, 101} {
		hit, runs := 0, 4000
		for range runs {
			x := make([]float64, n)
			for i := range x {
				x[i] = rng.ExpFloat64()
			}
			if _, low, high := Interval(x); low <= 0.6931 && 0.6932 <= high {
				hit++
			}
		}
		assert.Greater(t, float64(hit)/float64(runs), 0.94, "n=%d", n)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(good[:len(good)-3]))
	f.Add([]byte(Magic + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Read(data, "x")
		var truncated *TruncatedError
		if err != nil && !errors.As(err, &truncated) {
			return
		}
		var b bytes.Buffer
		require.NoError(t, Write(&b, file.Header, file.Rows))
		again, err := Read(b.Bytes(), "x")
		require.NoError(t, err)
		require.Equal(t, file.Header, again.Header)
		require.Equal(t, file.Rows, again.Rows)
	})
}
