package balance

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRead(t *testing.T) {
	read := func(name, text string, ranks, experts int) []Entry {
		e, err := Read(name, []byte(text), ranks, experts)
		require.NoError(t, err)
		return e
	}
	even := read("a.json", `{"loads": [4, 3]}`, 2, 0)
	require.Equal(t, []Entry{{Load: &Load{2, 2, []int64{2, 1, 2, 2}}}}, even, "the odd token of expert 1 comes from rank 1")
	require.Equal(t, []int64{1, 2, 3, 4}, read("a.json", "{\"loads\":\n[[1,2],[3,4]]}", 2, 2)[0].Load.Tokens)
	require.Equal(t, []Entry{{3, 1, &Load{2, 3, []int64{0, 7, 0, 0, 0, 9}}}, {3, 2, &Load{2, 3, []int64{5, 0, 0, 0, 0, 0}}}},
		read("a.CSV", "# from a trace\nlayer,microbatch,source,expert,tokens\r\n1,3,0,1,7\n2,3,0,0,5\n\n1,3,1,2,9\n", 2, 0))
	require.Equal(t, []int64{1, 3}, read("a.csv", "tokens,expert\n1,0\n3,1", 1, 0)[0].Load.Tokens)
	require.Equal(t, []int64{1, 0, 2, 1, 1, 1, 0, 0}, read("a.ids", "# source experts\n0: 0 2\n0 3,2\n1 0 1\n", 2, 0)[0].Load.Tokens)
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		experts          int
	}{
		{"a.txt", "", `a.txt: loads are read from .json, .csv and .ids, not ".txt"`, 0},
		{"a.json", "{\n\"loads\": [1,]}", "a.json:2: invalid character ']'", 0},
		{"a.json", `{"load": [1]}`, `a.json:1: json: unknown field "load"`, 0},
		{"a.json", `{}`, `"loads" is absent or empty`, 0},
		{"a.json", `{"loads": [1, 2.5]}`, "loads[1] is 2.5, want a whole number", 0},
		{"a.json", `{"loads": [[1], [2], [3]]}`, "loads are of 3 source ranks, there are 2", 0},
		{"a.json", `{"loads": [[1], [2, 3]]}`, "source rank 1 has counts for 2 experts, rank 0 for 1", 0},
		{"a.json", `{"loads": [1, 2]}`, "loads are of 2 experts, there are 3", 3},
		{"a.json", `{"loads": [-1, 2]}`, "0 to", 0},
		{"a.json", `{"loads": [1]} {}`, "there is more after", 0},
		{"a.csv", "", "a.csv:1: there are no counts", 0},
		{"a.csv", "expert,token\n", `a.csv:1: no column is called "token"; did you mean "tokens"`, 0},
		{"a.csv", "expert,source\n", `column "tokens" is missing`, 0},
		{"a.csv", "expert,tokens,expert\n", `column "expert" is there twice`, 0},
		{"a.csv", "expert,tokens\n1\n", "a.csv:2: 1 cells, the heading has 2", 0},
		{"a.csv", "expert,tokens\n1,x\n", `a.csv:2: tokens is "x"`, 0},
		{"a.csv", "expert,tokens\n1,1\n\n1,2\n", "a.csv:4: expert 1 has its count already", 0},
		{"a.csv", "expert,tokens\n9,1\n", "a.csv:2: expert 9 is not one of 4", 4},
		{"a.csv", "source,expert,tokens\n2,1,1\n", "a.csv:2: source 2 is not one of 2 ranks", 0},
		{"a.ids", "#\n", "a.ids:1: there are no tokens", 0},
		{"a.ids", "0 1\n0 1 2\n", "a.ids:2: 3 numbers; want a source rank and 1 experts", 0},
		{"a.ids", "5 1\n", `a.ids:1: source rank is "5", must be a whole number of 0 to 1`, 0},
		{"a.ids", "0 1 1\n", "a.ids:1: the token chooses expert 1 twice", 0},
		{"a.ids", "0 7\n", `expert is "7", must be a whole number of 0 to 6`, 7},
	} {
		_, err := Read(c.name, []byte(c.text), 2, c.experts)
		require.ErrorContains(t, err, c.want, c.text)
	}
	_, err := Read("a.json", nil, 0, 0)
	require.ErrorContains(t, err, "ranks are 0")
}

// Whatever is read is a load that a balancer takes, or an error.
func FuzzRead(f *testing.F) {
	f.Add("a.json", []byte(`{"loads": [4, 3, 0, 9]}`), 2)
	f.Add("a.json", []byte(`{"loads": [[1, 2], [3, 4]]}`), 2)
	f.Add("a.csv", []byte("microbatch,layer,source,expert,tokens\n0,0,1,3,5\n"), 4)
	f.Add("a.ids", []byte("0: 1 2 3\n1: 3 0 2\n"), 2)
	f.Fuzz(func(t *testing.T, name string, text []byte, ranks int) {
		if ranks > 64 {
			return
		}
		entries, err := Read(name, text, ranks, 0)
		if err != nil {
			return
		}
		require.NotEmpty(t, entries, filepath.Ext(name))
		for _, e := range entries {
			s := Setup{Ranks: ranks, Experts: e.Load.Experts}
			require.NoError(t, e.Load.fits(&s))
			require.NoError(t, e.Load.check())
			if e.Load.Experts < 1000 {
				planOnce(t, "none", s, e.Load)
			}
		}
	})
}

// Whatever describes a generator gives a load of the right size, or an error.
func FuzzParseGenerator(f *testing.F) {
	for name := range kinds {
		f.Add(name)
	}
	f.Add("zipf:s=1.5")
	f.Add("power_law:alpha=1,ratio=1e9")
	f.Add("rank_skew:imbalance=1.5")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGenerator(text)
		if err != nil {
			return
		}
		g.Ranks, g.Experts, g.TopK, g.Tokens = 4, 16, 2, 8
		l, err := g.Generate()
		if err == nil {
			require.EqualValues(t, 4*2*8, l.Total())
		}
	})
}
