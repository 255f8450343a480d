package balance

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/balance.md")

// The tables of docs/balance.md are what the balancers do.
func TestDocsAreCurrent(t *testing.T) {
	const path = "../../docs/balance.md"
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	want := string(text)
	for marker, table := range map[string]string{"loads": loadsTable(t), "drift": driftTable(t)} {
		head, rest, ok := strings.Cut(want, "<!-- "+marker+" -->\n")
		require.True(t, ok, "no marker %s", marker)
		_, tail, ok := strings.Cut(rest, "<!-- end -->")
		require.True(t, ok)
		want = head + "<!-- " + marker + " -->\n" + table + "<!-- end -->" + tail
	}
	for _, b := range All() {
		require.Contains(t, want, "| `"+b.Name()+"` |", "a balancer is not described")
	}
	for name := range kinds {
		require.Contains(t, want, "`"+name+"`", "a kind of load is not described")
	}
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "docs/balance.md is not current: go test ./schedules/balance -run Docs -update")
}

func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

func loadsTable(t *testing.T) string {
	names := []string{"none", "lplb", "fastermoe", "flexmoe", "eplb", "eplb_plus", "ultraep_algorithm1", "ultraep"}
	var b strings.Builder
	b.WriteString(row(append([]string{"load", "experts", "slots"}, names...)...))
	b.WriteString(strings.Repeat("|---", 3+len(names)) + "|\n")
	for _, c := range []struct {
		spec           string
		experts, slots int
	}{
		{"balanced", 256, 2}, {"zipf:s=0.5", 256, 2}, {"power_law:alpha=1.2", 256, 2}, {"deepseek_r1_prefill", 256, 2}, {"deepseek_r1_decode", 256, 2},
		{"rank_skew:imbalance=2", 256, 2}, {"rank_skew:imbalance=8", 256, 2}, {"rank_skew:imbalance=2", 128, 1}, {"rank_skew:imbalance=8", 128, 1},
	} {
		g, err := ParseGenerator(c.spec)
		require.NoError(t, err)
		g.Ranks, g.Experts, g.TopK, g.Tokens, g.Seed = 64, c.experts, 8, 8192, 1
		load, err := g.Generate()
		require.NoError(t, err)
		s := Setup{Ranks: 64, Experts: c.experts, Slots: c.slots}
		cells := []string{"`" + c.spec + "`", fmt.Sprint(c.experts), fmt.Sprint(c.slots)}
		for _, name := range names {
			p := planOnce(t, name, s, load)
			bound, err := LowerBound(load, s, p.Freedom, p.Domain)
			require.NoError(t, err)
			cells = append(cells, fmt.Sprintf("%.2f", slices.Max(p.Loads)/bound.Tokens))
		}
		b.WriteString(row(cells...))
	}
	return b.String()
}

func driftTable(t *testing.T) string {
	names := []string{"none", "lplb", "flexmoe", "eplb", "eplb_plus", "ultraep"}
	var b strings.Builder
	b.WriteString(row(append([]string{"rho"}, names...)...))
	b.WriteString(strings.Repeat("|---", 1+len(names)) + "|\n")
	for _, rho := range []float64{1, 0.99, 0.9, 0} {
		cells := []string{fmt.Sprint(rho)}
		for _, name := range names {
			cells = append(cells, fmt.Sprintf("%.2f", overDrift(t, name, rho)))
		}
		b.WriteString(row(cells...))
	}
	return b.String()
}

// overDrift is the mean imbalance of 40 microbatches after 10 to learn from.
func overDrift(t *testing.T, name string, rho float64) float64 {
	law := &Generator{Kind: "deepseek_r1_prefill", Ranks: 64, Experts: 256, TopK: 8, Tokens: 8192, Seed: 1}
	stream, err := Drift{Law: law, Sigma: 0.5, Rho: rho}.Start(0)
	require.NoError(t, err)
	s := Setup{Ranks: 64, Experts: 256, Slots: 2, Params: map[string]string{}}
	switch name {
	case "eplb":
		s.Params["interval"], s.Params["window"] = "10", "10"
	case "lplb":
		s.Params["interval"] = "10"
	}
	planner, p, total := start(t, name, s), new(Plan), 0.0
	for i := range 50 {
		load := stream.Next()
		require.NoError(t, planner.Plan(load, p))
		if i >= 10 {
			total += Imbalance(p.Loads) / 40
		}
		if l, ok := planner.(Learner); ok {
			require.NoError(t, l.Observe(load))
		}
	}
	return total
}
