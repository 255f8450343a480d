package calibrate

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"orrery/kernels/bench"
	"orrery/kernels/sample"
	"orrery/sim/cost"
)

func row(family, kernel, dtype, shape string, us ...float64) sample.Row {
	r := sample.Row{Family: family, Kernel: kernel, Hash: "1", Shape: sample.Shape(shape), DType: dtype, Unit: "us", Samples: us}
	r.Summarise()
	return r
}

func fileText(t *testing.T, h sample.Header, rows []sample.Row) string {
	var b bytes.Buffer
	require.NoError(t, sample.Write(&b, h, rows))
	return b.String()
}

// No embedded profile is made of numbers of a fake GPU, and no embedded file of
// samples is: what the program ships was measured.
func TestNothingEmbeddedIsSynthetic(t *testing.T) {
	for _, name := range ProfileNames() {
		for _, v := range profile(t, name).Provenance {
			assert.False(t, v.Synthetic, "%s: %s from %s", name, v.Family, v.Table)
		}
	}
	files, err := MeasuredFiles()
	require.NoError(t, err)
	for _, f := range files {
		assert.False(t, f.Header.Synthetic, f.Name)
	}
}

func TestMeasuredFilesRefuse(t *testing.T) {
	rows := []sample.Row{row("launch", "empty", "", "", 1, 2, 3)}
	for want, h := range map[string]sample.Header{"is synthetic": {GPU: "NVIDIA H200", Synthetic: true}, "lies with h200 but is of NVIDIA H100": {GPU: "NVIDIA H100"}} {
		_, err := measuredFiles(fstest.MapFS{"samples/h200/a.csv": {Data: []byte(fileText(t, h, rows))}})
		assert.ErrorContains(t, err, want)
	}
	text := fileText(t, sample.Header{GPU: "NVIDIA H200"}, rows)
	_, err := measuredFiles(fstest.MapFS{"samples/h200/a.csv": {Data: []byte(text[:len(text)-2])}})
	assert.ErrorContains(t, err, "cut off")
	files, err := measuredFiles(fstest.MapFS{"samples/README.md": {}, "samples/h200/a.csv": {Data: []byte(text)}})
	require.NoError(t, err)
	require.Len(t, files, 1)
	assert.Equal(t, "h200/a.csv", files[0].Name)
}

func TestStatusOfSamples(t *testing.T) {
	suite := testSuite("launch", 4)
	stale := fakeRow(suite.Cases()[1])
	stale.Hash = "old"
	sure := fakeRow(suite.Cases()[0])
	sure.Samples = []float64{1, 1, 1, 1, 1, 1}
	sure.Summarise()
	f := MeasuredFile{"h200", &sample.File{Name: "h200/a.csv", Header: sample.Header{GPU: "NVIDIA H200", Date: "2026-01-02T03:04:05Z"}, Rows: []sample.Row{sure, stale}}}
	st := StatusOfSamples([]MeasuredFile{f}, []bench.Suite{suite})
	assert.Equal(t, []MeasuredFamily{{GPU: "h200", Family: "launch", Rows: 2, Within: 0.5, File: "h200/a.csv", Date: "2026-01-02T03:04:05Z", Stale: 1}}, st.Measured)
	assert.Equal(t, []MissingFamily{{GPU: "h200", Family: "launch", Cases: 4, Missing: 3, First: "launch/k//i=3"}}, st.Missing)
	st = StatusOfSamples(nil, []bench.Suite{suite})
	assert.Empty(t, st.Measured)
	assert.Equal(t, []MissingFamily{{Family: "launch", Cases: 4, Missing: 4, First: "launch/k//i=3"}}, st.Missing)
}

// ownRows are GEMMs that take a factor of their price, two libraries' each, and
// what has no prices.
func ownRows(t *testing.T, factor float64) []sample.Row {
	p := profile(t, "h200")
	var rows []sample.Row
	for m := 256; m <= 8192; m *= 2 {
		for _, n := range []int{1024, 2048, 4096, 8192} {
			for _, k := range []int{1024, 4096, 8192} {
				us := factor * micros(t, p, cost.GEMM{M: int64(m), N: int64(n), K: int64(k), DType: "bf16"})
				shape := fmt.Sprintf("m=%d n=%d k=%d layout=fwd", m, n, k)
				rows = append(rows, row("gemm", "cublaslt_gemm", "bf16", shape, us, us*1.01, us*0.99), row("gemm", "slow_gemm", "bf16", shape, 3*us))
			}
		}
	}
	return append(rows, row("launch", "empty", "", "", 2.5), row("memory_bound", "swiglu", "bf16", "read=1000000 write=500000", 4),
		row("memory_bound", "l2_read", "", "bytes=1000", 4), row("gemm", "odd", "bf16", "m=1 n=1", 1))
}

// A fit takes this project's samples before the public tables beside them, which
// then check it; what it cannot use is counted.
func TestFitFromSamples(t *testing.T) {
	dir := t.TempDir()
	own := folder(t, map[string]string{"h200/a.csv": fileText(t, sample.Header{GPU: "NVIDIA H200", Driver: "580", Date: "2026-01-02T03:04:05Z"}, ownRows(t, 1.2))})
	public := folder(t, map[string]string{"gemm_bfloat16_us.csv": gemmTable(t, 300)})
	opt := FitOptions{Date: "2026-01-02", Path: filepath.Join(dir, "h200.json"), Also: []string{public}}
	p, rep, err := Fit(context.Background(), own, "h200", opt)
	require.NoError(t, err)
	assert.False(t, rep.Synthetic)
	require.Len(t, rep.CrossCheck, 1)
	assert.Equal(t, 300, rep.CrossCheck[0].Count+rep.CrossCheck[0].Unpriced)
	assert.Contains(t, rep.Skipped[cost.FamMemory], "1 rows of samples of memory_bound swiglu, a fit needs 20")
	assert.Equal(t, 73, rep.Tables[0].Samples)
	assert.Equal(t, Rejected{"another library's kernel was faster at the same shape": 72, "launch: kept in the file, no prices of this family yet": 1,
		"memory_bound l2_read: kept in the file, no prices of this op yet":                                         1,
		"odd: not a kernel that has prices: gemm: no value for k; keys are m, n, k, dtype, layout, batch, fastest": 1}, rep.Tables[0].Rejected)
	require.NotEmpty(t, p.Provenance)
	var mine []cost.Provenance
	for _, v := range p.Provenance {
		if v.Source == samplesReader {
			mine = append(mine, v)
		}
	}
	require.Len(t, mine, 1)
	assert.Equal(t, cost.FamGEMM, mine[0].Family)
	assert.Equal(t, 72, mine[0].Rows)
	assert.Contains(t, mine[0].Noise, "NVIDIA H200, driver 580, 2026-01-02T03:04:05Z: 95 % interval of the median within 2 % in 0 of 148 rows")
	k := cost.GEMM{M: 4096, N: 4096, K: 4096, DType: "bf16"}
	assert.InDelta(t, 1.2, micros(t, p, k)/micros(t, profile(t, "h200"), k), 0.06)
	assert.Equal(t, profile(t, "h200").Memory, p.Memory, "what has too few rows keeps its fit")
}

func TestFitRefusesSamplesOfOthers(t *testing.T) {
	ctx := context.Background()
	rows := ownRows(t, 1)
	out := filepath.Join(t.TempDir(), "p.json")
	dir := folder(t, map[string]string{"a.csv": fileText(t, sample.Header{GPU: "NVIDIA H100 80GB HBM3"}, rows)})
	_, _, err := Fit(ctx, dir, "h200", FitOptions{Path: out})
	assert.ErrorContains(t, err, `holds samples of "NVIDIA H100 80GB HBM3", not of h200`)

	dir = folder(t, map[string]string{"a.csv": fileText(t, sample.Header{GPU: "fake", Synthetic: true}, rows)})
	_, _, err = Fit(ctx, dir, "h200", FitOptions{Path: out})
	assert.ErrorContains(t, err, "--allow-synthetic")
	for _, path := range []string{"", filepath.Join("calibrate", "profiles", "h200.json"), filepath.Join(t.TempDir(), "calibrate", "profiles", "x.json")} {
		_, _, err = Fit(ctx, dir, "h200", FitOptions{Path: path, AllowSynthetic: true})
		assert.ErrorContains(t, err, "no embedded profile", path)
	}
	_, err = os.Stat(out)
	require.ErrorIs(t, err, os.ErrNotExist)
	p, rep, err := Fit(ctx, dir, "h200", FitOptions{Path: out, AllowSynthetic: true})
	require.NoError(t, err)
	assert.True(t, rep.Synthetic)
	again, err := Profile(out)
	require.NoError(t, err)
	assert.Equal(t, p.Provenance, again.Provenance)
	synthetic := 0
	for _, v := range again.Provenance {
		if v.Synthetic {
			synthetic++
			assert.True(t, strings.HasPrefix(v.Noise, "synthetic: "))
		}
	}
	assert.Equal(t, 1, synthetic)
}

// A file that was cut off is evaluated by its whole rows.
func TestEvaluateSamples(t *testing.T) {
	text := fileText(t, sample.Header{GPU: "NVIDIA H200"}, ownRows(t, 1)[:11])
	dir := folder(t, map[string]string{"a.csv": text[:len(text)-1]})
	ev, err := Evaluate(context.Background(), dir, profile(t, "h200"))
	require.NoError(t, err)
	assert.Equal(t, 5, ev.Tables[0].Samples)
	assert.Equal(t, 1, ev.Tables[0].Rejected["cut off: an interrupted run"])
	assert.InDelta(t, 0, ev.Families[0].MedianAbsErrorAll, 0.01)
}

// Rows of tables come back as the samples that they were.
func TestImportTables(t *testing.T) {
	dir := folder(t, map[string]string{"gemm_bfloat16_us.csv": gemmTable(t, 50), "odd.csv": "a\n1\n",
		"nccl_h100_2.29_nccl_perf.csv": "op_name,nccl_dtype,num_gpus,message_size,latency\nall_reduce,half,8,512,0.01\nall_reduce,half,8,512,0.02\nalltoall,half,4,1024,0.03\n"})
	h, rows, left, err := ImportTables(context.Background(), dir, "H100")
	require.NoError(t, err)
	assert.Equal(t, sample.Header{GPU: "h100", Launcher: "table", Host: "public tables: " + filepath.Base(dir)}, h)
	assert.Equal(t, Rejected{"no reader knows odd.csv": 1}, left)
	assert.Len(t, rows, 52)
	before, err := readTables(context.Background(), dir, profile(t, "h100").Hardware())
	require.NoError(t, err)
	want := map[string]float64{} // by text: layout "" is fwd
	for _, s := range before.Samples {
		want[s.Kernel.String()] = s.Micros
	}
	after, err := readTables(context.Background(), folder(t, map[string]string{"s.csv": fileText(t, h, rows)}), profile(t, "h100").Hardware())
	require.NoError(t, err)
	got := map[string]float64{}
	for _, s := range after.Samples {
		got[s.Kernel.String()] = s.Micros
	}
	assert.Equal(t, want, got)
	_, _, _, err = ImportTables(context.Background(), dir, "h1oo")
	assert.ErrorContains(t, err, "h100")
}

func TestCurves(t *testing.T) {
	p := profile(t, "h200")
	f := &sample.File{Name: "a.csv", Rows: []sample.Row{
		row("memory_bound", "copy", "bf16", "read=2000000 write=2000000", 8), row("memory_bound", "copy", "bf16", "read=1000000 write=1000000", 4, 5, 6),
		row("launch", "empty", "", "blocks=1", 2), row("launch", "empty", "", "blocks=2", 3),
		row("clock", "burst", "", "ms=1", 2), row("clock", "burst", "", "ms=10", 2)}}
	f.Rows[4].Unit, f.Rows[5].Unit = "mhz", "mhz"
	curves, err := Curves(f, p, "")
	require.NoError(t, err)
	require.Len(t, curves, 3+1, "blocks part curves")
	var memory Curve
	for _, c := range curves {
		if c.Family == "memory_bound" {
			memory = c
		}
	}
	require.Len(t, memory.Points, 2)
	assert.Equal(t, []float64{2e6, 4e6}, []float64{memory.Points[0].X, memory.Points[1].X})
	first := memory.Points[0]
	fit := micros(t, p, cost.Memory{Op: "copy", Read: 1000000, Write: 1000000})
	assert.InDelta(t, fit, first.Fit, 1e-9)
	assert.InDelta(t, 5/fit-1, first.Residual, 1e-9)
	assert.InDelta(t, 400, memory.RateOf(first, first.Median), 1e-9)
	require.NotEmpty(t, memory.Line)
	assert.InDelta(t, fit, memory.Line[0].Y, 1e-9)
	_, err = Curves(f, p, "gem")
	assert.ErrorContains(t, err, "it holds clock, launch, memory_bound")
	alone, err := Curves(f, nil, "memory_bound")
	require.NoError(t, err)
	assert.Zero(t, alone[0].Points[0].Fit)
	assert.Empty(t, alone[0].Line)

	for _, name := range ProfileNames() {
		curves, err := ProfileCurves(profile(t, name), "")
		require.NoError(t, err)
		for _, c := range curves {
			for _, pt := range c.Points {
				require.True(t, pt.Fit > 0 && !math.IsInf(pt.Fit, 0) && pt.Median == 0, "%s %s", name, c.Name())
			}
		}
	}
	_, err = ProfileCurves(p, "gem")
	assert.ErrorContains(t, err, "families are gemm")
}
