package pipeline

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseOrder(t *testing.T) {
	rows, err := ParseOrder("0F0,,(0F7;7B3)OVERLAP_F_B\r\n\n3SEND_F2, 1UNSHARD,2F1.4")
	require.NoError(t, err)
	require.Equal(t, [][]Cell{
		{{{OpF, 0, 0, Absent}}, nil, {{OpF, 0, 7, Absent}, {OpB, 7, 3, Absent}}},
		nil,
		{{{OpSendF, 3, 2, Absent}}, {{OpUnshard, 1, Absent, Absent}}, {{OpF, 2, 1, 4}}},
	}, rows)
	require.Equal(t, "0F0,,(0F7;7B3)OVERLAP_F_B\n\n3SEND_F2,1UNSHARD,2F1.4\n", FormatOrder(rows))
}

func TestParseOrderRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"0F0,1X2":                       `line 1, cell 2: "1X2" is not an action`,
		"0F0\n0BW1":                     "line 2, cell 1",
		"0F":                            "lacks a microbatch",
		"F0":                            "not an action",
		"-1F0":                          "not an action",
		"01F0":                          "not an action",
		"0F0.":                          "not an action",
		"0UNSHARD.2":                    "not an action",
		"0F99999999999":                 "above 2147483647",
		"(0F1;1B0)":                     "not of the form",
		"(0F1)OVERLAP_F_B":              "not of the form",
		"(0F1;1F0)OVERLAP_F_B":          "want a forward with a backward",
		"(0B1;1F0)OVERLAP_F_B":          "want a forward with a backward",
		"(0F1;1B0;2B0)OVERLAP_F_B":      "not an action",
		"((0F1;1B0)OVERLAP_F_B;2B0)":    "not of the form",
		"(0F1;2SEND_F1)OVERLAP_F_B,0F1": "want a forward with a backward",
	} {
		_, err := ParseOrder(text)
		require.ErrorContains(t, err, want, "%q", text)
	}
}

// TestGrammarRoundTrip: what FormatOrder writes, ParseOrder reads back the same.
func TestGrammarRoundTrip(t *testing.T) {
	index := rapid.Int32Range(0, math.MaxInt32)
	act := func(ops ...Op) *rapid.Generator[Action] {
		return rapid.Custom(func(t *rapid.T) Action {
			a := Action{Op: rapid.SampledFrom(ops).Draw(t, "op"), Stage: index.Draw(t, "stage"), Microbatch: index.Draw(t, "mb"), Slice: Absent}
			switch {
			case strings.HasSuffix(string(a.Op), "SHARD") && rapid.Bool().Draw(t, "whole stage"):
				a.Microbatch = Absent
			case rapid.Bool().Draw(t, "sliced"):
				a.Slice = index.Draw(t, "slice")
			}
			return a
		})
	}
	cell := rapid.Custom(func(t *rapid.T) Cell {
		switch rapid.IntRange(0, 2).Draw(t, "actions") {
		case 0:
			return nil
		case 1:
			return Cell{act(OpF, OpB, OpI, OpW, OpUnshard, OpReshard, OpReduceGrad, OpSendF, OpRecvF, OpSendB, OpRecvB).Draw(t, "action")}
		}
		return Cell{act(OpF).Draw(t, "forward"), act(OpB, OpI).Draw(t, "backward")}
	})
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.SliceOf(cell), 1, 5).Draw(t, "rows")
		for i, row := range rows {
			if len(row) == 0 || len(row) == 1 && row[0] == nil {
				rows[i] = nil // the same text
			}
		}
		back, err := ParseOrder(FormatOrder(rows))
		require.NoError(t, err)
		require.Equal(t, rows, back)
	})
}

func FuzzParseOrder(f *testing.F) {
	for _, seed := range []string{
		"0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n",
		"0F7,(0F7;7B3)OVERLAP_F_B,7I7,7W7\n\n",
		"0UNSHARD,0F0.3,,0SEND_F0\r\n,1RECV_F0,0REDUCE_GRAD",
		"0BW1", "01F0", "(0F1;1B0", "0F2147483648", "\n\n", ",",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := ParseOrder(text)
		if err != nil {
			return
		}
		back, err := ParseOrder(FormatOrder(rows))
		require.NoError(t, err)
		require.Equal(t, rows, back)
	})
}
