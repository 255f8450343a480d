package packing

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestReadLengths(t *testing.T) {
	for _, c := range []struct{ name, column, text string }{
		{"a.txt", "", "# tokens\n5\n\n 7 \n1e3\n"},
		{"a.csv", "n", "time,n\n# no row\n1, 5\n2,7\n3,1000\n"},
		{"a.csv", "", "n\n5\n7\n1000\n"},
		{"a.jsonl", "", "{\"length\": 5}\n{\"length\": 7.0, \"x\": [1]}\n\n{\"length\": 1000}"},
		{"A.JSONL", "in", "{\"in\": 5}\n{\"in\": 7}\n{\"in\": 1000}\n"},
	} {
		got, err := ReadLengths(strings.NewReader(c.text), c.name, c.column)
		require.NoError(t, err, c.name)
		require.Equal(t, []int{5, 7, 1000}, got, c.name)
	}
}

func TestReadLengthsSaysWhere(t *testing.T) {
	for _, c := range []struct{ name, column, text, want string }{
		{"a.txt", "", "5\n\nlong\n", `a.txt:3: "long" is no number of tokens`},
		{"a.txt", "", "5\n0\n", "a.txt:2: 0 tokens, must be a whole number from 1 to"},
		{"a.txt", "", "1.5\n", "a.txt:1: 1.5 tokens"},
		{"a.txt", "", "NaN\n", "a.txt:1: NaN tokens"},
		{"a.txt", "", "# nothing\n", "a.txt: there is no length in it"},
		{"a.txt", "n", "5\n", `a.txt: column "n": only .csv and .jsonl`},
		{"a.csv", "", "", "a.csv: there is no length in it"},
		{"a.csv", "tokns", "time,tokens\n", `a.csv:1: no column is called "tokns"; did you mean "tokens"?`},
		{"a.csv", "", "a,b\n1,2\n", `a.csv:1: no column is called ""; there are a, b`},
		{"a.csv", "b", "a,b\n1,2\n3,x\n", `a.csv:3: "x" is no number of tokens`},
		{"a.csv", "b", "a,b\n1,2\n3\n", "a.csv:3: wrong number of fields"},
		{"a.jsonl", "lengthh", "{\"length\": 1}\n", `a.jsonl:1: no key is called "lengthh"; did you mean "length"?`},
		{"a.jsonl", "", "{\"length\": 1}\n[1]\n", "a.jsonl:2: no JSON object"},
		{"a.jsonl", "", "{\"length\": \"x\"}\n", `a.jsonl:1: length is "x", no number of tokens`},
	} {
		_, err := ReadLengths(strings.NewReader(c.text), c.name, c.column)
		require.ErrorContains(t, err, c.want, "%q", c.text)
	}
}

// What was read once reads the same again as a length a line.
func FuzzReadLengths(f *testing.F) {
	f.Add("5\n7\n", uint8(0), "")
	f.Add("a,b\n1,2\n", uint8(1), "b")
	f.Add("{\"length\": 3}\n", uint8(2), "")
	f.Fuzz(func(t *testing.T, text string, kind uint8, column string) {
		name := []string{"f.txt", "f.csv", "f.jsonl"}[kind%3]
		got, err := ReadLengths(strings.NewReader(text), name, column)
		if err != nil {
			require.True(t, strings.HasPrefix(err.Error(), name+":"), "%v", err)
			return
		}
		require.NotEmpty(t, got)
		for _, n := range got {
			require.True(t, n >= 1 && n <= maxContext)
		}
	})
}

// Traces with published figures, read where they are: ../shared/data/README.md,
// section 5.9.
func TestSharedTraces(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "lengths")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%s is missing: no traces of lengths to read", dir)
	}
	for _, c := range []struct {
		file, column  string
		p50, p99, max int
	}{
		{"AzureLLMInferenceTrace_code.csv", "ContextTokens", 1469, 7436, 7437},
		{"AzureLLMInferenceTrace_conv.csv", "ContextTokens", 1020, 4142, 14050},
		{"mooncake_conversation_trace.jsonl", "input_length", 6909, 85400, 126195},
	} {
		f, err := os.Open(filepath.Join(dir, c.file))
		require.NoError(t, err)
		lengths, err := ReadLengths(f, c.file, c.column)
		require.NoError(t, f.Close())
		require.NoError(t, err)
		s := Describe(lengths)
		require.InDelta(t, c.p50, s.Quantiles[2].Length, 2, c.file)
		require.InDelta(t, c.p99, s.Quantiles[5].Length, 0.001*float64(c.p99), c.file)
		require.Equal(t, c.max, s.Quantiles[6].Length, c.file)
	}
}

func TestDraw(t *testing.T) {
	for _, d := range Distributions() {
		a, err := Draw(d.Name, 500, 65536, 7)
		require.NoError(t, err)
		b, err := Draw(strings.ToUpper(strings.ReplaceAll(d.Name, "_", "-")), 500, 65536, 7)
		require.NoError(t, err)
		require.Equal(t, a, b, "the same seed, the same lengths")
		require.GreaterOrEqual(t, slices.Min(a), 1)
		require.LessOrEqual(t, slices.Max(a), 65536)
		if d.Name != "fixed" {
			c, err := Draw(d.Name, 500, 65536, 8)
			require.NoError(t, err)
			require.NotEqual(t, a, c)
		}
		require.NotEmpty(t, d.Describe)
		require.NotEmpty(t, d.Source)
	}
	_, err := Draw("wikipeda", 1, 10, 0)
	require.ErrorContains(t, err, `did you mean "wikipedia"?`)
	_, err = Draw("zipf", 1, 10, 0)
	require.ErrorContains(t, err, "known are wikipedia, web, code")
	_, err = Draw("web", 0, 10, 0)
	require.ErrorContains(t, err, "0 samples")
	_, err = Draw("web", 1, 0, 0)
	require.ErrorContains(t, err, "context 0")
}

// The Wikipedia distribution has the published figures (10,000 articles: mean 692,
// p5 46, p50 305, p95 2464) as far as a lognormal can.
func TestWikipediaIsLikeThePublishedFigures(t *testing.T) {
	lengths, err := Draw("wikipedia", 200000, 262144, 1)
	require.NoError(t, err)
	s := Describe(lengths)
	require.InEpsilon(t, 692, s.Mean, 0.05)
	require.InEpsilon(t, 305, s.Quantiles[2].Length, 0.02)
	require.InEpsilon(t, 2464, s.Quantiles[4].Length, 0.05)
	require.InEpsilon(t, 46, s.Quantiles[0].Length, 0.25) // the fit is not as good at the short end
	require.Equal(t, 32768, s.Quantiles[6].Length)
}

// The mixture has its shares of tokens: what is in 65536-262144 and not the web's tail.
func TestMixtureHasItsShares(t *testing.T) {
	lengths, err := Draw("long_context", 100000, 1<<20, 3)
	require.NoError(t, err)
	web, err := Draw("web", 100000, 1<<20, 3)
	require.NoError(t, err)
	short := func(lengths []int) float64 { // share of tokens below what only the web has
		n := 0
		for _, l := range lengths {
			if l < 4096 {
				n += l
			}
		}
		return float64(n) / float64(Describe(lengths).Tokens)
	}
	require.InEpsilon(t, 0.7*short(web), short(lengths), 0.03)
}

func TestDescribe(t *testing.T) {
	s := Describe([]int{1, 2, 3, 4})
	require.Equal(t, 10, s.Tokens)
	require.InDelta(t, 2.5, s.Mean, 1e-12)
	require.InDelta(t, math.Sqrt(1.25)/2.5, s.CV, 1e-12)
	require.Equal(t, []Histogram{{1, 1, 0.1}, {2, 2, 0.5}, {4, 1, 0.4}}, s.Histogram)
	require.Equal(t, Quantile{0.5, 2}, s.Quantiles[2])
	require.Equal(t, Quantile{1, 4}, s.Quantiles[6])
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOfN(rapid.IntRange(1, 1<<20), 1, 50).Draw(t, "lengths")
		s := Describe(lengths)
		samples, share := 0, 0.0
		for _, h := range s.Histogram {
			samples, share = samples+h.Samples, share+h.Tokens
		}
		require.Equal(t, len(lengths), samples)
		require.InDelta(t, 1, share, 1e-9)
		require.True(t, slices.IsSortedFunc(s.Quantiles, func(a, b Quantile) int { return a.Length - b.Length }))
	})
}

func TestTruncate(t *testing.T) {
	in := []int{5, 10, 30}
	out, cut, tokens := Truncate(in, 8)
	require.Equal(t, []int{5, 8, 8}, out)
	require.Equal(t, []int{5, 10, 30}, in)
	require.Equal(t, 2, cut)
	require.Equal(t, 24, tokens)
}

func TestSteps(t *testing.T) {
	require.Equal(t, [][]int{{0, 1}, {2}, {3}}, Steps([]int{4, 6, 11, 3}, 10))
	require.Equal(t, [][]int{{0, 1, 2}}, Steps([]int{4, 6, 11}, 0))
	require.Empty(t, Steps(nil, 10))
}

// Outliers that wait are in some step in the end, and no step has one too many.
func TestRegroupKeepsEverySample(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		steps := Steps(j.Lengths, rapid.IntRange(1, 4*j.Context).Draw(t, "tokens"))
		out := wlbLLM{}.Regroup(j, j.Lengths, steps)
		require.Len(t, out, len(steps))
		var all []int
		for _, s := range out {
			all = append(all, s...)
		}
		slices.Sort(all)
		for i := range j.Lengths {
			require.Equal(t, i, all[i])
		}
		require.Len(t, all, len(j.Lengths))
		metrics, err := Run(wlbLLM{}, *j, j.Lengths, steps)
		require.NoError(t, err)
		total := Total(metrics)
		require.GreaterOrEqual(t, total.Forward, 1)
	})
}
