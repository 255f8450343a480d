package sweep

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
)

// Every mistake is named where it stands, with what would be right.
func TestSpecErrors(t *testing.T) {
	const head = "scenario = \"small\"\n" // line 1
	ok := head + "[[axis]]\nkey = \"parallel.tp\"\nvalues = [1, 2]\n"
	for _, c := range []struct{ text, want string }{
		{"axis = []\n", "test.toml: scenario is missing; allowed: a file"},
		{"scenario = 3\n[[axis]]\nkey = \"parallel.tp\"\nvalues = [1]\n", "test.toml:1:12: scenario: wrong type: found 3; allowed: a text"},
		{"scenario = \"quickstrat\"\n[[axis]]\nkey = \"parallel.tp\"\nvalues = [1]\n", `test.toml:1:12: scenario: no such file: found "quickstrat"; did you mean quickstart?`},
		{head, "axis is missing"},
		{"= 1", "test.toml:1:1: not TOML"},
		{ok + "[[exlude]]\nwhen = \"true\"\n", "test.toml:5:1: exlude: unknown key; allowed: name, description, scenario, sample, points, seed, set, axis, exclude; did you mean exclude?"},
		{ok + "vals = [3]\n", "test.toml:5:1: axis[0].vals: unknown key"},
		{head + "[[axis]]\nkey = \"parallel.tq\"\nvalues = [1]\n", "test.toml:3:7: axis[0].key: parallel.tq is not a key of the scenario; allowed: in [parallel] tp, cp"},
		{head + "[[axis]]\nkey = \"tp\"\nvalues = [1]\n", "did you mean parallel.tp?"},
		{head + "[[axis]]\nkey = \"name\"\nvalues = [\"a\"]\n", "name does not change a result"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nvalues = [1,\n  2.5]\n", "test.toml:5:3: parallel.tp: wrong type: found 2.5; allowed: an integer from 1"},
		{head + "[[axis]]\nkey = \"training.precision\"\nvalues = [\"bf61\"]\n", `test.toml:4:11: training.precision: unknown name: found "bf61"; allowed: bf16, fp16, fp8, fp8_block, mxfp8, nvfp4; did you mean bf16?`},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nvalues = [1, 2, 1]\n", "test.toml:4:17: axis[0].values[2]: value 3 is value 1 again: found 1"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nvalues = 3\n", "wrong type: found 3; allowed: a list of values"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nvalues = [{a = 1}]\n", "wrong type: found a table"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\n", "test.toml:2:1: axis[0]: an axis has its values from one place; allowed: one of values, range, log_range, file, formula"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nvalues = [1]\nformula = \"1\"\n", "found values, formula"},
		{head + "[[axis]]\nvalues = [1]\n", "which key varies?; allowed: key or keys"},
		{head + "[[axis]]\nkeys = [\"parallel.tp\", \"parallel.pp\"]\nvalues = [[1, 2], [3]]\n", "test.toml:4:19: axis[0].values[1]: wrong type: found a list of 1; allowed: a list of 2"},
		{head + "[[axis]]\nkeys = [\"parallel.tp\", \"parallel.tp\"]\nvalues = [[1, 2]]\n", "parallel.tp is there twice"},
		{head + "[[axis]]\nkeys = [\"parallel.tp\", \"parallel.pp\"]\nformula = \"1\"\n", "several keys vary together by a list"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nrange = { from = 1, to = 4 }\n", "test.toml:4:1: axis[0].range: not divided; allowed: step or count"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nrange = { from = 4, to = 1, count = 2 }\n", "from is not below to"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nrange = { from = 1, to = 4, count = 2, step = 1 }\n", "divided twice"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nrange = { from = 1, to = 4, factor = 2 }\n", "allowed: step or count"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nlog_range = { from = 0, to = 4, factor = 2 }\n", "allowed: from > 0"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nlog_range = { from = 1, to = 4, factor = 1 }\n", "would not reach to"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nrange = { from = 0, to = 4, step = 2 }\n", "test.toml:4:9: parallel.tp: out of range: found 0"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nrange = { from = 1, to = 4, step = 1e-9 }\n", "too many values"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nrange = { form = 1, to = 4, step = 1 }\n", "axis[0].range.form: unknown key; allowed: from, to, step, factor, count; did you mean from?"},
		{head + "[[axis]]\nkey = \"training.precision\"\nrange = { from = 1, to = 4, step = 1 }\n", "training.precision is not a number"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nfile = \"gone.txt\"\n", "test.toml:4:8: axis[0].file: file does not exist"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nfile = \"machines.csv\"\n", "a .csv file names its keys itself"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nfile = \"a.json\"\n", "file does not exist"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nformula = \"parallel.tq\"\n", "test.toml:4:11: axis[0].formula: parallel.tq is not a key of the scenario"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nformula = \"1 +\"\n", "unexpected token EOF (at character"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nformula = \"int(now())\"\n", "do not depend on the clock"},
		{head + "[[axis]]\nkey = \"parallel.tp\"\nformula = \"parallel.pp\"\n[[axis]]\nkey = \"parallel.pp\"\nvalues = [1]\n", "nothing writes parallel.pp before this"},
		{head + "[set]\nparallel.tp = 0\n[[axis]]\nkey = \"parallel.pp\"\nvalues = [1]\n", "test.toml:3:15: set.parallel.tp: out of range: found 0"},
		{head + "[set]\nparallel.tq = 1\n[[axis]]\nkey = \"parallel.pp\"\nvalues = [1]\n", "test.toml:3:1: set.parallel.tq: parallel.tq is not a key of the scenario"},
		{head + "[set]\nparallel.pp = 1\n[[axis]]\nkey = \"parallel.pp\"\nvalues = [1]\n", "parallel.pp is in [set] too"},
		{ok + "[[axis]]\nkey = \"parallel.tp\"\nvalues = [4]\nwhen = \"true\"\n", "parallel.tp is on another axis too"},
		{ok + "[[exclude]]\nreason = \"why\"\n", "test.toml:5:1: exclude[0]: when is missing"},
		{"seed = 3\n" + ok, "test.toml:1:1: seed: a grid has the points that its axes make"},
		{"sample = \"random\"\n" + ok, "points is missing; allowed: an integer from 1 to 1000000"},
		{"sample = \"halton\"\npoints = 3\n" + ok, `test.toml:1:10: sample: unknown name: found "halton"; allowed: grid, latin_hypercube, random`},
		{"sample = \"random\"\npoints = 0\n" + ok, "test.toml:2:10: points: out of range: found 0"},
		{"sample = \"random\"\npoints = 2000000\n" + ok, "out of range: found 2000000"},
		{head + "axis = 3\n", "axis: wrong type: found 3; allowed: [[axis]] tables of key"},
	} {
		_, err := parse(c.text)
		require.ErrorContains(t, err, c.want, c.text)
		for _, line := range strings.Split(err.Error(), "\n") {
			require.True(t, strings.HasPrefix(line, "test.toml"), line)
		}
	}
}

// FuzzParse: no text panics, and what is accepted makes points or says why not.
// What is wrong is a *scenarios.Error that names the file.
func FuzzParse(f *testing.F) {
	// Short seeds: the fuzzer minimises what it finds byte by byte.
	f.Add("scenario = \"quickstart\"\n[set]\nparallel.cp = 1\n[[axis]]\nkey = \"parallel.tp\"\nvalues = [1, 2]\n[[exclude]]\nwhen = \"parallel.tp > 1\"\n")
	f.Add("scenario = \"quickstart\"\nsample = \"random\"\npoints = 5\naxis = [{key = \"parallel.tp\", range = {from = 1, to = 1e300}}]\n")
	f.Add("scenario = \"quickstart\"\n[[axis]]\nfile = \"x.csv\"\n")
	f.Add("scenario = \"quickstart\"\n[[axis]]\nkey = \"parallel.pp\"\nformula = \"let x = parallel.tp; map(1..3, # * x)\"\nwhen = \"parallel?.tp in [1, 2]\"\n")
	base := sync.OnceValues(func() (*scenarios.Base, error) { return scenarios.Open("quickstart") })
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("case.toml", []byte(text), func(name string) ([]byte, error) {
			if name == "x.csv" {
				return []byte("parallel.tp,training.precision\n1,bf16\n2,fp8\n"), nil
			}
			return nil, os.ErrNotExist
		}, func(name string) (*scenarios.Base, error) {
			if name == "quickstart" {
				return base()
			}
			return nil, &scenarios.Error{File: name, Msg: "no such file"}
		})
		if err != nil {
			var e *scenarios.Error
			if !errors.As(err, &e) || e.File != "case.toml" {
				t.Fatalf("%v", err)
			}
			return
		}
		if s.Samples > 1000 || s.least() > 10_000 {
			return // right, but slow
		}
		p, err := s.Points()
		if err != nil {
			return
		}
		if len(p.List) == 0 || s.Sample != Grid && len(p.List) > s.Samples {
			t.Fatalf("%d points", len(p.List))
		}
	})
}
