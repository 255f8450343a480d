package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"

	"orrery/scenarios"
	"orrery/schedules/packing"
	"orrery/sim"
)

// The tables of docs/packing.md are what the program says: run this test with -update.
func TestPackingDocsAreCurrent(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: packs with every packer; the whole test runs without it")
	}
	distributions := []string{"wikipedia", "web", "long_context"}
	var packers, variants []namedPacker
	for _, p := range packing.All() {
		packers = append(packers, namedPacker{p.Name(), p})
	}
	for _, v := range packing.Ablation() {
		variants = append(variants, namedPacker{v.Name, v.Packs})
	}
	holdPage(t, "packing.md", func(page string) string {
		for mark, list := range map[string][]namedPacker{"results": packers, "ablation": variants} {
			page = between(t, page, mark, packingTable(t, distributions, list))
		}
		return between(t, between(t, page, "tail", tailTable(t)), "scenarios", packedScenarios(t))
	})
}

func packingTable(t *testing.T, distributions []string, list []namedPacker) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, d := range distributions {
		fmt.Fprintf(&b, " %s | x | gap |", d)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", 3*len(distributions)) + "\n")
	cells := make([]string, len(list))
	for _, d := range distributions {
		c := packCmd{Distribution: d, Samples: 65536, Seed: 1, DP: 8, PP: 4, CP: 4, TP: 1, Context: 131072, Model: "llama3-8b"}
		job, err := c.job()
		require.NoError(t, err)
		lengths, _, err := c.lengths()
		require.NoError(t, err)
		steps := packing.Steps(lengths, 64*c.Context)[:1]
		lengths = lengths[:len(steps[0])]
		base, err := packing.Lookup("fixed")
		require.NoError(t, err)
		fixed, err := runPacker(namedPacker{"fixed", base}, job, lengths, steps)
		require.NoError(t, err)
		for i, p := range list {
			r, err := runPacker(p, job, lengths, steps)
			require.NoError(t, err)
			require.True(t, r.Fits, "%s does not fit: say so in the table", p.name)
			cells[i] += fmt.Sprintf(" %.2f | %.2f | %.0f |", r.StepS, fixed.StepS/r.StepS, 100*r.Gap)
		}
	}
	for i, p := range list {
		name := "`" + p.name + "`"
		if strings.Contains(p.name, " ") || p.name == "all" || p.name == "none" {
			name = p.name
		}
		fmt.Fprintf(&b, "| %s |%s\n", name, cells[i])
	}
	return b.String()
}

// packedScenarios are SlimPack's in the catalogue.
func packedScenarios(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| | gap | simulated | bubble | imbalance | exchange | kernels | x | longest row |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, name := range scenarios.Names() {
		if !strings.HasPrefix(name, "varlen/") || !strings.HasSuffix(name, "-slimpack") {
			continue
		}
		s, err := scenarios.Load(name, nil)
		require.NoError(t, err)
		r, err := sim.Simulate(t.Context(), &s.Scenario, sim.Options{NoAdvice: true})
		require.NoError(t, err)
		p := r.Result.Packing
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.2f | %.2f |\n", strings.TrimSuffix(strings.TrimPrefix(name, "varlen/"), "-slimpack"), 100*p.Gap, 100*p.SimulatedGap,
			100*p.Split.Bubble, 100*p.Split.Imbalance, 100*p.Split.Exchange, 100*p.Split.Kernels, p.Baseline.Speedup, p.Baseline.LongestRow)
	}
	return b.String()
}

// The page's commands are taken by the program, with its scenario.
func TestPackingDocsCommandsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: packs with every packer")
	}
	page, err := os.ReadFile("../../docs/packing.md")
	require.NoError(t, err)
	scenario := regexp.MustCompile("(?s)```toml\n(.*?)```").FindSubmatch(page)
	require.NotNil(t, scenario)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("mine.toml", scenario[1], 0o644))
	require.NoError(t, os.WriteFile("corpus.csv", []byte("tokens\n"+strings.Repeat("900\n20000\n131072\n", 40)), 0o644))
	commands := regexp.MustCompile(`(?m)^    sim ([^#\n]*)`).FindAllSubmatch(page, -1)
	require.GreaterOrEqual(t, len(commands), 8)
	for _, c := range commands {
		var args []string
		for _, quoted := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(string(c[1]), -1) {
			args = append(args, strings.Trim(quoted, "'"))
		}
		var out, errs bytes.Buffer
		require.Zero(t, runMain(context.Background(), args, &streams{out: &out, err: &errs}), "sim %s: %s", c[1], errs.String())
		require.NotEmpty(t, out.String())
	}
}

// tailTable is SlimPack's speed-up over rows of the context beside measures of the tail,
// for 16 rows a replica. It holds what the page says of them: by rank, the speed-up goes
// with the longest row, and not with how many tokens are in long samples.
func tailTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| | context | tokens in samples over a quarter of it | longest row over mean | speed-up | gap |\n|---|---|---|---|---|---|\n")
	var tails, rows, speedups []float64
	for _, d := range []string{"fixed", "uniform", "wikipedia", "code", "web", "long_context"} {
		for _, context := range []int{32768, 131072, 262144} {
			c := packCmd{Distribution: d, Samples: 65536, Seed: 1, DP: 2, PP: 4, CP: 4, TP: 1, Context: context, Model: "llama3-8b"}
			job, err := c.job()
			require.NoError(t, err)
			lengths, _, err := c.lengths()
			require.NoError(t, err)
			steps := packing.Steps(lengths, 32*context)[:1]
			lengths = lengths[:len(steps[0])]
			result := func(name string) *packResult {
				p, err := packing.Lookup(name)
				require.NoError(t, err)
				r, err := runPacker(namedPacker{name, p}, job, lengths, steps)
				require.NoError(t, err)
				require.True(t, r.Fits)
				return r
			}
			fixed, slim := result("fixed"), result("slimpack")
			long, all := 0, 0
			for _, l := range lengths {
				all += l
				if l > context/4 {
					long += l
				}
			}
			tails, rows, speedups = append(tails, float64(long)/float64(all)), append(rows, fixed.MaxForward), append(speedups, fixed.StepS/slim.StepS)
			fmt.Fprintf(&b, "| %s | %d | %.0f %% | %.2f | %.2f | %.0f |\n", d, context, 100*tails[len(tails)-1], fixed.MaxForward, speedups[len(speedups)-1], 100*slim.Gap)
		}
	}
	require.Greater(t, rankCorrelation(rows, speedups), 0.9)
	require.Less(t, rankCorrelation(tails, speedups), 0.5)
	return b.String()
}

// rankCorrelation is Spearman's.
func rankCorrelation(x, y []float64) float64 {
	ranks := func(v []float64) []float64 {
		out := make([]float64, len(v))
		for i := range v {
			for k := range v {
				if v[k] < v[i] {
					out[i]++
				} else if v[k] == v[i] {
					out[i] += 0.5
				}
			}
		}
		return out
	}
	return stat.Correlation(ranks(x), ranks(y), nil)
}
