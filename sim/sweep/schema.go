package sweep

import (
	"fmt"
	"slices"
	"strings"

	"orrery/scenarios"
	"orrery/sim/unit"
)

// key is one key of the language of sweeps. The tables of them are the only
// place where a key is described: errors and docs/sweep.md read them.
type key struct {
	name, kind, def, doc string
}

var topKeys = []key{
	{"name", "text", "the file's name", "Name of the sweep."},
	{"description", "text", "none", "What the sweep asks, in a sentence."},
	{"scenario", "text", "required", "What is varied: a file, relative to this one, or a scenario of `sim list scenarios`."},
	{"sample", "name", "grid", "`grid`: every combination; `latin_hypercube`: `points` points that cut every axis into as many strata and hit each once; `random`: `points` independent points."},
	{"points", "integer", "none", "Points of a sample; not of a grid, which has as many as its axes make."},
	{"seed", "integer", "1", "Seed of a sample."},
	{"set", "table", "none", "Keys of the scenario with one value for all points."},
	{"axis", "tables", "required", "What varies; see below."},
	{"exclude", "tables", "none", "Points that are left out; see below."},
}

var axisKeys = []key{
	{"key", "text", "the header of a `.csv`", "Key of the scenario that varies, as `parallel.tp`."},
	{"keys", "list of texts", "", "Instead of `key`: several that vary together. Each of `values` is then a list of one value for each."},
	{"values", "list", "", "The values, in their order."},
	{"range", "table", "", "`{ from, to, step }` or `{ from, to, count }`: evenly spaced from `from`; with count `to` is the last, with step what does not pass it. Samples may leave both out and draw from all that is between."},
	{"log_range", "table", "", "`{ from, to, factor }` or `{ from, to, count }`: evenly spaced ratios; else as `range`."},
	{"file", "text", "", "File of values, relative to this one: `.txt` has one a line; `.csv` has keys as its header and their values in rows, which vary together."},
	{"formula", "text", "", "Expression of other keys that gives the value, or a list of values."},
	{"when", "text", "always", "Condition of other keys. Where it is false the axis does not apply: its key keeps what the scenario has."},
}

var excludeKeys = []key{
	{"when", "text", "required", "Condition of keys; points for which it is true are left out."},
	{"reason", "text", "the condition", "Why, for the summary."},
}

var spanKeys = []key{
	{"from", "number", "required", ""}, {"to", "number", "required", ""},
	{"step", "number", "", ""}, {"factor", "number", "", ""}, {"count", "integer", "", ""},
}

// Kinds of samples.
const (
	Grid           = "grid"
	LatinHypercube = "latin_hypercube"
	Random         = "random"
)

var samples = []string{Grid, LatinHypercube, Random}

func names(keys []key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.name
	}
	return out
}

// reader takes a specification apart and gathers what is wrong with it.
type reader struct {
	doc      *scenarios.Document
	problems []*scenarios.Error
}

func (r *reader) atKey(path string, e *scenarios.Error) {
	e.Key = path
	r.problems = append(r.problems, r.doc.AtKey(path, e))
}

func (r *reader) atValue(path string, e *scenarios.Error) {
	e.Key = path
	r.problems = append(r.problems, r.doc.AtValue(path, e))
}

// known complains about keys of the table at path that are not in the list.
func (r *reader) known(table map[string]any, path string, keys []key) {
	for _, k := range r.doc.Keys(table, path) {
		if valid := names(keys); !slices.Contains(valid, k) {
			r.atKey(scenarios.JoinKey(path, k), &scenarios.Error{Msg: "unknown key", Allowed: strings.Join(valid, ", "), Nearest: unit.Nearest(k, valid)})
		}
	}
}

// text, integer and number read an optional key; ok is false where it is absent
// or wrong.
func (r *reader) text(table map[string]any, path, name string) (s string, ok bool) {
	return typed[string](r, table, path, name, "a text")
}

func (r *reader) integer(table map[string]any, path, name string, least int64) (n int64, ok bool) {
	n, ok = typed[int64](r, table, path, name, "an integer")
	if ok && n < least {
		r.atValue(scenarios.JoinKey(path, name), &scenarios.Error{Msg: "out of range", Found: fmt.Sprint(n), Allowed: fmt.Sprintf("an integer from %d", least)})
		return 0, false
	}
	return n, ok
}

func (r *reader) number(table map[string]any, path, name string) (x float64, ok bool) {
	if n, isInt := table[name].(int64); isInt {
		return float64(n), true
	}
	return typed[float64](r, table, path, name, "a number")
}

func typed[T any](r *reader, table map[string]any, path, name, want string) (v T, ok bool) {
	raw, there := table[name]
	if !there {
		return v, false
	}
	if v, ok = raw.(T); !ok {
		r.atValue(scenarios.JoinKey(path, name), &scenarios.Error{Msg: "wrong type", Found: scenarios.Show(raw), Allowed: want})
	}
	return v, ok
}

// tables reads an array of tables.
func (r *reader) tables(table map[string]any, name, like string) []map[string]any {
	raw, there := table[name]
	if !there {
		return nil
	}
	out, ok := raw.([]map[string]any)
	if list, isList := raw.([]any); isList { // inline tables
		ok = true
		for _, e := range list {
			t, isTable := e.(map[string]any)
			ok = ok && isTable
			out = append(out, t)
		}
	}
	if !ok {
		r.atValue(name, &scenarios.Error{Msg: "wrong type", Found: scenarios.Show(raw), Allowed: like})
		return nil
	}
	return out
}
