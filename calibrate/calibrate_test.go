package calibrate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

// folder writes files into a temporary directory.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

// gemmTable is a table of GEMMs as aiconfigurator's, of the synthetic model.
func gemmTable(t *testing.T, rows int) string {
	g, err := hw.LookupGPU("h100")
	require.NoError(t, err)
	var b strings.Builder
	b.WriteString("m,n,k,vllm,median_us,min_us,spread\n")
	for _, s := range synthetic(g, rows, 0.02) {
		k := s.Kernel.(cost.GEMM)
		fmt.Fprintf(&b, "%d,%d,%d,%.2f,%.2f,%.2f,1.1\n", k.M, k.N, k.K, s.Micros, s.Micros, s.Micros*0.95)
	}
	return b.String()
}

func TestEvaluateNamesWhatItDoesNotRead(t *testing.T) {
	dir := folder(t, map[string]string{
		"gemm_bfloat16_us.csv": "m,n,k,a,median_us,min_us,spread\n8192,8192,8192,1500,1500,1450,1.1\n0,8192,8192,1,1,1,1\n4096,4096,4096,200,200,190,1.2\n",
		"notes/unknown.csv":    "a,b\n1,2\n",
		".hidden":              "x",
	})
	ev, err := Evaluate(context.Background(), dir, profile(t, "h100"))
	require.NoError(t, err)
	assert.Equal(t, []string{"notes/unknown.csv"}, ev.Unread)
	require.Len(t, ev.Tables, 1)
	assert.Equal(t, 2, ev.Tables[0].Samples)
	assert.Equal(t, Rejected{"no size or no time": 1}, ev.Tables[0].Rejected)
	require.Len(t, ev.Families, 1)
	f := ev.Families[0]
	assert.Equal(t, cost.FamGEMM, f.Family)
	assert.Equal(t, "bf16", f.DType)
	assert.Equal(t, 2, f.Count)
	assert.Less(t, f.MedianAbsError, 0.2)
}

// The H100's prices are as far from its own samples as docs/calibration.md says, or
// nearer.
func TestOwnSamplesOfH100(t *testing.T) {
	ev, err := Evaluate(context.Background(), filepath.Join("samples", "h100"), profile(t, "h100"))
	require.NoError(t, err)
	says := map[string][2]float64{ // median, p90 in %
		"attention bf16": {11.4, 30.5}, "encoder_attention bf16": {8.3, 29.3}, "mla bf16": {4.5, 10.6}, "gemm bf16": {2.7, 6.7},
		"gemm fp8": {4.0, 18.8}, "grouped_gemm bf16": {7.8, 29.3}, "memory_bound bf16": {2.4, 16.0},
	}
	for _, f := range ev.Families {
		name := fmt.Sprint(f.Family, " ", f.DType)
		require.Contains(t, says, name)
		assert.LessOrEqual(t, 100*f.MedianAbsError, says[name][0]+0.1, name)
		assert.LessOrEqual(t, 100*f.P90AbsError, says[name][1]+0.1, name)
		delete(says, name)
	}
	assert.Empty(t, says)
}

// A series far above its table is priced and counted, by itself.
func TestEvaluateSetsMistunedSeriesApart(t *testing.T) {
	var b strings.Builder
	b.WriteString("moe_dtype,kernel_source,num_tokens,hidden_size,inter_size,topk,num_experts,moe_tp_size,moe_ep_size,distribution,latency\n")
	for _, inter := range []int{1024, 2048, 4096} {
		for _, tokens := range []int{1024, 4096, 16384} {
			ms := float64(tokens*inter) * 3e-7
			if inter == 2048 {
				ms *= 5
			}
			fmt.Fprintf(&b, "bfloat16,moe_torch_flow,%d,4096,%d,2,8,1,1,balanced,%g\n", tokens, inter, ms)
		}
	}
	ev, err := Evaluate(context.Background(), folder(t, map[string]string{"moe_trtllm1.3.0rc20.csv": b.String()}), profile(t, "h100"))
	require.NoError(t, err)
	count := map[cost.Family]int{}
	for _, f := range ev.Families {
		count[f.Family] += f.Count + f.Unpriced
	}
	assert.Equal(t, map[cost.Family]int{cost.FamMoE: 6, "moe_mistuned": 3}, count)
	assert.Empty(t, ev.Tables[0].Rejected)
}

func TestEvaluateRefusesBadTables(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no table":         {"readme.txt": "hello"},
		"no header":        {"gemm_fp8_us.csv": ""},
		"missing column":   {"gemm_fp8_us.csv": "m,n,k\n1,2,3\n"},
		"not a number":     {"gemm_fp8_us.csv": "m,n,k,median_us,min_us,spread\n1,2,x,3,3,1\n"},
		"uneven rows":      {"gemm_fp8_us.csv": "m,n,k,median_us,min_us,spread\n1,2\n"},
		"truncated quotes": {"gemm_fp8_us.csv": "m,n,k,median_us,min_us,spread\n\"1,2\n"},
		"not JSON":         {"simumax/h100_x.json": "{"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Evaluate(context.Background(), folder(t, files), profile(t, "h100"))
			assert.Error(t, err)
		})
	}
	_, err := Evaluate(context.Background(), filepath.Join(t.TempDir(), "nowhere"), profile(t, "h100"))
	assert.Error(t, err)
}

// Errors are |price/measured - 1|; the interval is around the price.
func TestJudgeSamples(t *testing.T) {
	p := profile(t, "h100")
	k := cost.GEMM{M: 8192, N: 8192, K: 8192, DType: unit.BF16}
	e, err := p.Price(k)
	require.NoError(t, err)
	us := e.Time.Micros()
	at := func(measured float64) FamilyError {
		out, err := judgeSamples(context.Background(), p, []Sample{{Kernel: k, DType: "bf16", Micros: measured}})
		require.NoError(t, err)
		return out[0]
	}
	f := at(us / 1.25)
	assert.InDelta(t, 0.25, f.MedianAbsError, 1e-9)
	assert.Zero(t, f.Coverage90)
	assert.Equal(t, 1.0, at(us*(1+0.99*e.RelErr)).Coverage90)
	assert.Equal(t, 1.0, at(us*(1-0.99*e.RelErr)).Coverage90)
	assert.Zero(t, at(us*(1+1.01*e.RelErr)).Coverage90)

	out, err := judgeSamples(context.Background(), p, []Sample{{Kernel: cost.GEMM{M: 1, N: 1, K: 1, DType: unit.NVFP4}, DType: "nvfp4", Micros: 1, Table: "t.csv", Line: 7}})
	require.NoError(t, err)
	assert.Equal(t, 1, out[0].Unpriced)
	assert.Contains(t, out[0].Why, "t.csv:7")
}

// Fit writes the same bytes twice, keeps families that it does not fit, and says
// what each table was used for.
func TestFit(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes long; the whole test runs without it")
	}
	ctx := context.Background()
	dir := folder(t, map[string]string{"gemm_bfloat16_us.csv": gemmTable(t, 2500), "odd.csv": "a\n1\n"})
	out := t.TempDir()
	opt := FitOptions{Date: "2026-01-02", Path: filepath.Join(out, "h100.json")}
	_, rep, err := Fit(ctx, dir, "H100", opt)
	require.NoError(t, err)
	first, err := os.ReadFile(opt.Path)
	require.NoError(t, err)
	assert.Equal(t, len(first), rep.Bytes)
	assert.Equal(t, []string{"odd.csv"}, rep.Unread)
	require.Len(t, rep.HeldOut, 1)
	assert.Less(t, rep.HeldOut[0].MedianAbsError, 0.05)

	p, err := cost.ReadProfile(first, Profile)
	require.NoError(t, err)
	require.Len(t, p.Provenance, 1)
	assert.Equal(t, cost.Provenance{Family: cost.FamGEMM, Table: "gemm_bfloat16_us.csv", Source: "dense GEMM (aiconfigurator)", Rows: 2500,
		SHA256: rep.Tables[0].SHA256, FitDate: "2026-01-02", Noise: p.Provenance[0].Noise}, p.Provenance[0])
	assert.Contains(t, p.Provenance[0].Noise, "median 1.1")

	_, _, err = Fit(ctx, dir, "h100", opt)
	require.NoError(t, err)
	again, err := os.ReadFile(opt.Path)
	require.NoError(t, err)
	assert.Equal(t, string(first), string(again))

	p.Memory = &cost.MemoryModel{Ops: map[string]*cost.MemoryOp{"swiglu": {Launch: 1, Share: 0.5, Cached: 0.5, Knee: 1}}}
	_, err = writeProfile(opt.Path, p)
	require.NoError(t, err)
	merged, _, err := Fit(ctx, dir, "h100", opt)
	require.NoError(t, err)
	assert.Equal(t, p.Memory, merged.Memory, "a family without rows keeps its fit")

	left, err := os.ReadDir(out)
	require.NoError(t, err)
	assert.Len(t, left, 1, "no temporary file is left")
}

func TestFitRefuses(t *testing.T) {
	ctx := context.Background()
	dir := folder(t, map[string]string{"gemm_bfloat16_us.csv": gemmTable(t, 20)})
	path := filepath.Join(t.TempDir(), "p.json")
	_, _, err := Fit(ctx, dir, "h1oo", FitOptions{Path: path})
	assert.ErrorContains(t, err, "h100")
	_, _, err = Fit(ctx, dir, "h100", FitOptions{Path: path})
	assert.ErrorContains(t, err, "too few")
	_, _, err = Fit(ctx, dir, "h100", FitOptions{Path: path, Families: []cost.Family{"gem"}})
	assert.ErrorContains(t, err, "gem")
	_, _, err = Fit(ctx, dir, "h100", FitOptions{Path: path, Families: []cost.Family{cost.FamMoE}})
	assert.ErrorIs(t, err, errNoSamples)
	require.NoError(t, os.WriteFile(path, []byte(`{"name":"b200","version":1,"gpu":"b200","provenance":null}`), 0o644))
	_, _, err = Fit(ctx, dir, "h100", FitOptions{Path: path})
	assert.ErrorContains(t, err, "b200")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, _, err = Fit(cancelled, dir, "h100", FitOptions{Path: path})
	assert.ErrorIs(t, err, context.Canceled)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "what was refused leaves no file")
}
