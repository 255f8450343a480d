package sweep

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/scenarios"
)

// Axis is one way in which a scenario varies.
type Axis struct {
	Keys []string // of the scenario; several vary together

	when    *formula // nil: always
	rows    [][]any  // the levels, a value for each key; nil where they are not a list
	formula *formula // gives the levels of a point
	span    *span    // between whose ends a sample draws
	kind    string   // of the key, where there is one
}

// span is what a range without steps covers.
type span struct {
	from, to float64
	log      bool
}

// at is the value at u in [0, 1).
func (s *span) at(u float64) float64 {
	if s.log {
		return s.from * math.Pow(s.to/s.from, u)
	}
	return s.from + u*(s.to-s.from)
}

// maxLevels bounds the values of one axis.
const maxLevels = 100_000

// sourcesOf an axis's values, one of which it has.
var sourcesOf = []string{"values", "range", "log_range", "file", "formula"}

func (r *reader) axis(s *Spec, table map[string]any, path string, read func(string) ([]byte, error)) *Axis {
	before := len(r.problems)
	r.known(table, path, axisKeys)
	a := &Axis{when: r.formula(s, table, path, "when")}
	var has []string
	for _, name := range sourcesOf {
		if _, ok := table[name]; ok {
			has = append(has, name)
		}
	}
	if len(has) != 1 {
		r.atKey(path, &scenarios.Error{Msg: "an axis has its values from one place", Found: strings.Join(has, ", "), Allowed: "one of " + strings.Join(sourcesOf, ", ")})
		return nil
	}
	r.keysOf(a, table, path, has[0])
	if len(r.problems) > before {
		return nil
	}
	if len(a.Keys) == 1 {
		a.kind = scenarios.Kind(a.Keys[0])
	}
	at := scenarios.JoinKey(path, has[0])
	switch has[0] {
	case "values":
		r.values(a, table["values"], at)
	case "range", "log_range":
		r.span(a, s, table[has[0]], at, has[0] == "log_range")
	case "file":
		r.file(a, table, path, read)
	case "formula":
		a.formula = r.formula(s, table, path, "formula")
	}
	if len(r.problems) > before {
		return nil
	}
	r.levels(a, at)
	return a
}

// keysOf reads key or keys; a .csv file has them in its header.
func (r *reader) keysOf(a *Axis, table map[string]any, path, from string) {
	_, one := table["key"]
	many, several := table["keys"]
	name, _ := table["file"].(string)
	switch {
	case strings.HasSuffix(name, ".csv") && from == "file":
		if one || several {
			r.atKey(path, &scenarios.Error{Msg: "a .csv file names its keys itself", Allowed: "no key or keys"})
		}
		return
	case one == several:
		r.atKey(path, &scenarios.Error{Msg: "which key varies?", Allowed: "key or keys"})
		return
	case several && from != "values":
		r.atKey(scenarios.JoinKey(path, "keys"), &scenarios.Error{Msg: "several keys vary together by a list", Allowed: "values, or a .csv file"})
		return
	case one:
		if k, ok := r.text(table, path, "key"); ok {
			a.Keys = []string{k}
			if e := sweepable(k); e != nil {
				r.atValue(scenarios.JoinKey(path, "key"), e)
			}
		}
		return
	}
	list, _ := many.([]any)
	for _, x := range list {
		k, ok := x.(string)
		if !ok {
			list = nil
			break
		}
		a.Keys = append(a.Keys, k)
		if e := sweepable(k); e != nil {
			r.atValue(scenarios.JoinKey(path, "keys"), e)
		}
	}
	if len(list) == 0 {
		r.atValue(scenarios.JoinKey(path, "keys"), &scenarios.Error{Msg: "wrong type", Found: scenarios.Show(many), Allowed: "a list of keys"})
	}
}

func (r *reader) values(a *Axis, raw any, at string) {
	list, ok := raw.([]any)
	if tables, isTables := raw.([]map[string]any); isTables { // CheckValue says what is wrong with them
		for _, t := range tables {
			list = append(list, t)
		}
		ok = true
	}
	if !ok || len(list) == 0 {
		r.atValue(at, &scenarios.Error{Msg: "wrong type", Found: scenarios.Show(raw), Allowed: "a list of values"})
		return
	}
	for i, x := range list {
		row := []any{x}
		if len(a.Keys) > 1 {
			row, ok = x.([]any)
			if !ok || len(row) != len(a.Keys) {
				r.atValue(fmt.Sprintf("%s[%d]", at, i), &scenarios.Error{Msg: "wrong type", Found: scenarios.Show(x), Allowed: fmt.Sprintf("a list of %d, a value for each of keys", len(a.Keys))})
				return
			}
		}
		a.rows = append(a.rows, row)
	}
}

// span reads a range.
func (r *reader) span(a *Axis, s *Spec, raw any, at string, log bool) {
	table, ok := raw.(map[string]any)
	if !ok {
		r.atValue(at, &scenarios.Error{Msg: "wrong type", Found: scenarios.Show(raw), Allowed: "a table of from, to and how they are divided"})
		return
	}
	if a.kind != "integer" && a.kind != "number" {
		r.atKey(at, &scenarios.Error{Msg: a.Keys[0] + " is not a number", Found: a.kind, Allowed: "values"})
		return
	}
	before := len(r.problems)
	r.known(table, at, spanKeys)
	from, okFrom := r.number(table, at, "from")
	to, okTo := r.number(table, at, "to")
	step, hasStep := r.number(table, at, "step")
	factor, hasFactor := r.number(table, at, "factor")
	count, hasCount := r.integer(table, at, "count", 2)
	if len(r.problems) > before {
		return
	}
	divided := "step or count"
	if log {
		divided = "factor or count"
	}
	complain := func(msg, allowed string) { r.atKey(at, &scenarios.Error{Msg: msg, Allowed: allowed}) }
	switch {
	case !okFrom || !okTo:
		complain("from or to is missing", "both")
	case !(from < to) || math.IsInf(to-from, 0):
		complain("from is not below to", "from < to")
	case log && from <= 0:
		complain("ratios from zero or less", "from > 0")
	case log && hasStep, !log && hasFactor:
		complain("divided by what the other kind of range has", divided)
	case hasCount && (hasStep || hasFactor):
		complain("divided twice", divided)
	case hasStep && !(step > 0), hasFactor && !(factor > 1):
		complain("would not reach to", "step > 0, factor > 1")
	case !hasCount && !hasStep && !hasFactor && s.Sample == Grid:
		complain("not divided", divided)
	case count > maxLevels, hasStep && (to-from)/step > maxLevels, hasFactor && math.Log(to/from)/math.Log(factor) > maxLevels:
		complain("too many values", fmt.Sprintf("up to %d", maxLevels))
	case !hasCount && !hasStep && !hasFactor:
		a.span = &span{from, to, log}
	default:
		a.divide(&span{from, to, log}, count, step, factor)
	}
}

// closeTo forgives the last steps of a range that rounding puts behind its end.
const closeTo = 1e-9

// divide makes levels of a range.
func (a *Axis) divide(s *span, count int64, step, factor float64) {
	switch {
	case count > 0:
		for i := range count {
			a.level(s.at(float64(i) / float64(count-1)))
		}
	case step > 0:
		for i := 0.0; i <= maxLevels && s.from+i*step <= s.to+closeTo*step; i++ {
			a.level(s.from + i*step)
		}
	default:
		for i := 0.0; i <= maxLevels && s.from*math.Pow(factor, i) <= s.to*(1+closeTo); i++ {
			a.level(s.from * math.Pow(factor, i))
		}
	}
}

// level appends a number, unless rounding made it the same as the last.
func (a *Axis) level(x float64) {
	v := a.round(x)
	if n := len(a.rows); n == 0 || a.rows[n-1][0] != v {
		a.rows = append(a.rows, []any{v})
	}
}

// round is a number as the key takes it: an integer, or 12 digits, so that
// machines that multiply and add in one step give the same point.
func (a *Axis) round(x float64) any {
	if a.kind == "integer" {
		return int64(math.Round(x))
	}
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 12, 64), 64)
	if err != nil {
		return x
	}
	return r
}

func (r *reader) file(a *Axis, table map[string]any, path string, read func(string) ([]byte, error)) {
	name, ok := r.text(table, path, "file")
	if !ok {
		return
	}
	at := scenarios.JoinKey(path, "file")
	complain := func(format string, args ...any) {
		r.atValue(at, &scenarios.Error{Msg: fmt.Sprintf(format, args...)})
	}
	data, err := read(name)
	if err != nil {
		complain("%v", err)
		return
	}
	switch {
	case strings.HasSuffix(name, ".txt"):
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				a.rows = append(a.rows, []any{literal(line)})
			}
		}
	case strings.HasSuffix(name, ".csv"):
		c := csv.NewReader(bytes.NewReader(data))
		c.Comment, c.TrimLeadingSpace = '#', true
		records, err := c.ReadAll()
		if err != nil {
			complain("%s: %v", name, err)
			return
		}
		if len(records) == 0 {
			complain("%s is empty", name)
			return
		}
		for _, k := range records[0] {
			k = strings.TrimSpace(k)
			if e := sweepable(k); e != nil {
				r.atValue(at, e)
				return
			}
			if slices.Contains(a.Keys, k) {
				complain("%s: %s is there twice", name, k)
				return
			}
			a.Keys = append(a.Keys, k)
		}
		for _, rec := range records[1:] {
			row := make([]any, len(rec))
			for i, cell := range rec {
				row[i] = literal(strings.TrimSpace(cell))
			}
			a.rows = append(a.rows, row)
		}
		if len(a.Keys) == 1 {
			a.kind = scenarios.Kind(a.Keys[0])
		}
	default:
		r.atValue(at, &scenarios.Error{Msg: "not a file of values", Found: scenarios.Show(name), Allowed: ".txt, .csv"})
		return
	}
	if len(a.rows) == 0 && len(r.problems) == 0 {
		complain("%s has no value", name)
	}
}

// literal is a value of TOML; what is not TOML is a text, so that names need no
// quotes.
func literal(text string) any {
	var tree map[string]any
	if _, err := toml.Decode("v = "+text, &tree); err == nil && len(tree) == 1 {
		return tree["v"]
	}
	return text
}

// levels checks the levels of a list.
func (r *reader) levels(a *Axis, at string) {
	if len(a.rows) > maxLevels {
		r.atKey(at, &scenarios.Error{Msg: "too many values", Found: fmt.Sprint(len(a.rows)), Allowed: fmt.Sprintf("up to %d", maxLevels)})
		return
	}
	if a.span != nil {
		a.rows = [][]any{{a.round(a.span.from)}, {a.round(a.span.to)}}
		defer func() { a.rows = nil }()
	}
	seen := map[string]int{}
	for i, row := range a.rows {
		where := at
		if e := fmt.Sprintf("%s[%d]", at, i); r.doc.Has(e) {
			where = e
		}
		for k, v := range row {
			if e := scenarios.CheckValue(a.Keys[k], v); e != nil {
				r.problems = append(r.problems, r.doc.AtValue(where, e)) // with the scenario's key
				return
			}
		}
		text := fmt.Sprintf("%#v", row)
		if j, ok := seen[text]; ok {
			r.atValue(where, &scenarios.Error{Msg: fmt.Sprintf("value %d is value %d again", i+1, j+1), Found: fmt.Sprint(row...), Allowed: "each once"})
			return
		}
		seen[text] = i
	}
}
