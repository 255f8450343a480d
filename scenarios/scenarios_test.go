package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScripts runs testdata/*.txt, the specification of the language.
//
//	bad [set=(k=v,...)]       the text does not load; prints the errors
//	good [set=...] keys=(...) prints the origins of keys (prefixes)
//	bad-plan                  as bad, of a capacity plan
//	plan keys=(...)           as good, of a capacity plan
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if filepath.Ext(path) != ".txt" {
			return
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return script(t, d)
		})
	})
}

func script(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var sets, keys []string
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "set":
			sets = append(sets, strings.Join(arg.Vals, ","))
		case "keys":
			keys = arg.Vals
		default:
			d.Fatalf(t, "unknown argument %s", arg.Key)
		}
	}
	if strings.HasSuffix(d.Cmd, "plan") {
		return planScript(t, d, keys)
	}
	res, err := Parse("case.toml", []byte(d.Input), sets, func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join("testdata", name))
	})
	switch d.Cmd {
	case "bad":
		if err == nil {
			d.Fatalf(t, "the scenario loads, want an error")
		}
		return err.Error() + "\n"
	case "good":
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		invariants(t, res)
		return selected(res, keys)
	case "check":
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		var b strings.Builder
		if err := res.WriteOrigins(&b); err != nil {
			d.Fatalf(t, "%v", err)
		}
		return b.String()
	}
	d.Fatalf(t, "unknown command %s", d.Cmd)
	return ""
}

func planScript(t *testing.T, d *datadriven.TestData, keys []string) string {
	t.Helper()
	c, err := ParseCapacity("case.toml", []byte(d.Input))
	switch {
	case d.Cmd == "bad-plan" && err != nil:
		return err.Error() + "\n"
	case d.Cmd == "bad-plan":
		d.Fatalf(t, "the plan loads, want an error")
	case err != nil:
		d.Fatalf(t, "%v", err)
	}
	return selected(&Resolved{Origins: c.Origins, Scenario: Scenario{Expect: c.Expect}}, keys)
}

// selected prints the origins whose key has one of the prefixes, and the
// expectations.
func selected(res *Resolved, keys []string) string {
	var b strings.Builder
	for _, o := range res.Origins {
		if slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(o.Key, k) }) {
			fmt.Fprintf(&b, "%s = %s (%s)\n", o.Key, o.Value, o.From)
		}
	}
	if slices.Contains(keys, "expect") {
		for _, e := range res.Scenario.Expect {
			fmt.Fprintf(&b, "expect %s %g ± %g%% %q\n", e.Metric, e.Value, 100*e.Tolerance, e.Source)
		}
	}
	return b.String()
}
