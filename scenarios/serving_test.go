package scenarios

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseTrace(t *testing.T) {
	got, err := ParseTrace("t.csv", "# a comment\narrival_s,tokens\n0.5, 100\n\n0.75,2000\n")
	require.NoError(t, err)
	require.Equal(t, []Request{{0.5, 100}, {0.75, 2000}}, got)
	for text, want := range map[string]string{
		"":                                "t.csv: want at least two requests",
		"arrival_s,tokens\n1,5\n1,5\n":    "that arrive at different times",
		"arrival,tokens\n":                `t.csv:1: the heading is "arrival,tokens", want arrival_s,tokens`,
		"arrival_s,tokens\n1\n":           `t.csv:2: "1" is not arrival_s,tokens`,
		"arrival_s,tokens\n-1,5\n":        `t.csv:2: arrival_s is "-1", must be seconds from 0`,
		"arrival_s,tokens\nInf,5\n":       `arrival_s is "Inf"`,
		"arrival_s,tokens\n1,0\n":         `tokens are "0", must be 1 to 16777216`,
		"arrival_s,tokens\n2,5\n1,5\n":    "t.csv:3: arrival_s 1 is before the request above",
		"arrival_s,tokens\n1,5,6\n2,5\n":  `tokens are "5,6"`,
		"arrival_s,tokens\n1,5\n2,1e99\n": `tokens are "1e99"`,
	} {
		_, err := ParseTrace("t.csv", text)
		require.ErrorContains(t, err, want, text)
	}
}

// FuzzParseTrace: no text panics, and what is read can be served.
func FuzzParseTrace(f *testing.F) {
	f.Add("arrival_s,tokens\n0,1\n1,2\n")
	f.Add("# x\narrival_s,tokens\n1e300,16777216\n1e301,1\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseTrace("t.csv", text)
		if err != nil {
			require.ErrorContains(t, err, "t.csv")
			return
		}
		require.GreaterOrEqual(t, len(list), 2)
		last := 0.0
		for _, r := range list {
			require.GreaterOrEqual(t, r.ArrivalS, last)
			require.Positive(t, r.Tokens)
			last = r.ArrivalS
		}
		require.Greater(t, last, list[0].ArrivalS)
	})
}
