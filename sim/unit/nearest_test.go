package unit

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		name  string
		valid string
		want  string
	}{
		{"mpl", "attention mlp moe", "mlp"},                  // a swap is one edit
		{"NMEO", "megatron Nemo", "Nemo"},                    // case is ignored, and kept
		{"llama3-80b", "llama3-70b llama3-8b", "llama3-70b"}, // the first of equals
		{"interleaved", "1f1b interleaved_1f1b", "interleaved_1f1b"},
		{"dispatch", "all_to_all ep_dispatch", "ep_dispatch"},
		{"kk", "m n k", "k"},
		{"q", "m n k", ""},
		{"vp", "tp cp", ""}, // half of two letters may be anything
		{"ttp", "tp etp", "etp"},
		{"bert", "grok-1 gpt3-175b", ""},
		{"", "a bc", ""},
		{strings.Repeat("a", 65), strings.Repeat("a", 64), ""},
		{"name", "", ""},
	} {
		require.Equal(t, c.want, Nearest(c.name, strings.Fields(c.valid)), "%q of %s", c.name, c.valid)
	}
}

// One slip of the pen in a name of four letters or more is always found.
func TestNearestFindsOneSlip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z0-9_]{4,20}`).Draw(t, "name")
		at := rapid.IntRange(0, len(name)-2).Draw(t, "at")
		typed := rapid.SampledFrom([]string{
			name[:at] + name[at+1:],
			name[:at] + "#" + name[at:],
			name[:at] + "#" + name[at+1:],
			name[:at] + name[at+1:at+2] + name[at:at+1] + name[at+2:],
		}).Draw(t, "typed")
		require.Equal(t, name, Nearest(strings.ToUpper(typed), []string{"-----------------------------", name}))
	})
}

// slowDistance is the definition of the distance, by its recursion.
func slowDistance(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	m, n := len(a)-1, len(b)-1
	replace := slowDistance(a[:m], b[:n])
	if a[m] != b[n] {
		replace++
	}
	d := min(replace, slowDistance(a[:m], b)+1, slowDistance(a, b[:n])+1)
	if m > 0 && n > 0 && a[m] == b[n-1] && a[m-1] == b[n] {
		d = min(d, slowDistance(a[:m-1], b[:n-1])+1)
	}
	return d
}

func TestEditDistance(t *testing.T) {
	require.Equal(t, 3, editDistance("kitten", "sitting"))
	word := rapid.StringMatching(`[abc]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := editDistance(a, b)
		require.Equal(t, slowDistance(a, b), d)
		require.Equal(t, d, editDistance(b, a))
		require.Equal(t, a == b, d == 0)
	})
}
