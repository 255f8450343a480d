package sweep

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"orrery/scenarios"
	"orrery/sim/unit"
)

// Spec is a sweep that was asked for.
type Spec struct {
	Name, Description string
	Scenario          string // as written
	Sample            string // Grid, LatinHypercube or Random
	Samples           int    // points of a sample
	Seed              uint64
	Axes              []*Axis

	set     []scenarios.Override // of all points
	exclude []*exclusion
	base    *scenarios.Base
	written env // what formulas see before any axis
}

type exclusion struct {
	when   *formula
	reason string
}

// MaxPoints bounds the points of a sweep, and what its exclusions leave out.
const MaxPoints = 1_000_000

// Load reads a sweep from a file, or from the catalogue if the path is one of
// scenarios.SweepNames and there is no such file. Every problem with the content
// is a *scenarios.Error; up to ten are joined.
func Load(path string) (*Spec, error) {
	data, err := os.ReadFile(path)
	dir := filepath.Dir(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, ok := scenarios.Sweep(path)
		if !ok {
			e := &scenarios.Error{File: path, Msg: "no such file", Nearest: unit.Nearest(path, scenarios.SweepNames())}
			if e.Nearest == "" {
				e.Allowed = "a file, or a sweep of `sim list sweeps`"
			}
			return nil, e
		}
		data, err, dir, path = text, nil, "", path+".toml"
	}
	if err != nil {
		return nil, err
	}
	return Parse(path, data, func(name string) ([]byte, error) {
		return os.ReadFile(beside(dir, name))
	}, func(name string) (*scenarios.Base, error) {
		if file := beside(dir, name); dir != "" {
			if _, err := os.Stat(file); err == nil {
				return scenarios.Open(file)
			}
		}
		return scenarios.Open(name)
	})
}

func beside(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// Parse reads a sweep from text. file stands for it in errors; read opens the
// files of axes and open the scenario.
func Parse(file string, data []byte, read func(string) ([]byte, error), open func(string) (*scenarios.Base, error)) (*Spec, error) {
	doc, err := scenarios.ReadDocument(file, data)
	if err != nil {
		return nil, err
	}
	r := &reader{doc: doc}
	top := doc.Tree
	r.known(top, "", topKeys)
	s := &Spec{Name: strings.TrimSuffix(filepath.Base(file), ".toml"), Sample: Grid, Seed: 1, written: env{}}
	if v, ok := r.text(top, "", "name"); ok {
		s.Name = v
	}
	s.Description, _ = r.text(top, "", "description")
	r.sample(s)
	var ok bool
	if s.Scenario, ok = r.text(top, "", "scenario"); ok {
		if s.base, err = open(s.Scenario); err != nil {
			var e *scenarios.Error
			if !errors.As(err, &e) || e.Line > 0 {
				return nil, err // is about that file
			}
			r.atValue("scenario", &scenarios.Error{Msg: e.Msg, Found: scenarios.Show(s.Scenario), Allowed: e.Allowed, Nearest: e.Nearest})
		} else {
			for key, v := range s.base.Written() {
				s.written.set(key, v)
			}
		}
	} else if _, there := top["scenario"]; !there {
		r.atKey("", &scenarios.Error{Msg: "scenario is missing", Allowed: "a file, or a scenario of `sim list scenarios`"})
	}
	r.set(s)
	r.axes(s, read)
	r.excludes(s)
	if len(r.problems) > 0 {
		return nil, scenarios.Join(r.problems)
	}
	return s, nil
}

func (r *reader) sample(s *Spec) {
	top := r.doc.Tree
	if v, ok := r.text(top, "", "sample"); ok {
		if !slices.Contains(samples, v) {
			r.atValue("sample", &scenarios.Error{Msg: "unknown name", Found: scenarios.Show(v), Allowed: strings.Join(samples, ", "), Nearest: unit.Nearest(v, samples)})
		}
		s.Sample = v
	}
	n, hasPoints := r.integer(top, "", "points", 1)
	seed, hasSeed := r.integer(top, "", "seed", 0)
	switch {
	case s.Sample == Grid && (hasPoints || hasSeed):
		name := "points"
		if !hasPoints {
			name = "seed"
		}
		r.atKey(name, &scenarios.Error{Msg: "a grid has the points that its axes make", Allowed: `sample = "latin_hypercube" or "random"`})
	case s.Sample != Grid && !hasPoints && top["points"] == nil:
		r.atKey("sample", &scenarios.Error{Msg: "points is missing", Allowed: fmt.Sprintf("an integer from 1 to %d", MaxPoints)})
	case n > MaxPoints:
		r.atValue("points", &scenarios.Error{Msg: "out of range", Found: fmt.Sprint(n), Allowed: fmt.Sprintf("an integer from 1 to %d", MaxPoints)})
	}
	s.Samples = int(n)
	if hasSeed {
		s.Seed = uint64(seed)
	}
}

// unswept are keys that change no number.
var unswept = []string{"name", "description", "source"}

// sweepable complains about a key that cannot vary.
func sweepable(name string) *scenarios.Error {
	if slices.Contains(unswept, name) {
		return &scenarios.Error{Msg: name + " does not change a result", Allowed: "keys that do"}
	}
	if scenarios.Kind(name) == "" {
		e := scenarios.CheckValue(name, nil)
		return &scenarios.Error{Msg: name + " is not a key of the scenario", Allowed: e.Allowed, Nearest: e.Nearest}
	}
	return nil
}

// set reads [set], whose tables are the scenario's.
func (r *reader) set(s *Spec) {
	raw, there := r.doc.Tree["set"]
	if !there {
		return
	}
	table, ok := raw.(map[string]any)
	if !ok {
		r.atValue("set", &scenarios.Error{Msg: "wrong type", Found: scenarios.Show(raw), Allowed: "a table of keys of the scenario"})
		return
	}
	r.setIn(s, table, "set", "")
}

func (r *reader) setIn(s *Spec, table map[string]any, path, name string) {
	for _, k := range r.doc.Keys(table, path) {
		at, full := scenarios.JoinKey(path, k), scenarios.JoinKey(name, k)
		if sub, ok := table[k].(map[string]any); ok {
			r.setIn(s, sub, at, full)
			continue
		}
		if e := sweepable(full); e != nil {
			r.atKey(at, e)
		} else if e := scenarios.CheckValue(full, table[k]); e != nil {
			r.atValue(at, e)
		} else {
			s.set = append(s.set, scenarios.Override{Key: full, Value: table[k]})
			s.written.set(full, table[k])
		}
	}
}

// axes reads the axes. Each may name the keys of those before it.
func (r *reader) axes(s *Spec, read func(string) ([]byte, error)) {
	list := r.tables(r.doc.Tree, "axis", "[[axis]] tables of "+strings.Join(names(axisKeys), ", "))
	if len(list) == 0 && r.doc.Tree["axis"] == nil {
		r.atKey("", &scenarios.Error{Msg: "axis is missing", Allowed: "one [[axis]] or more"})
	}
	fixed := map[string]bool{}
	for _, o := range s.set {
		fixed[o.Key] = true
	}
	for i, table := range list {
		path := fmt.Sprintf("axis[%d]", i)
		a := r.axis(s, table, path, read)
		if a == nil {
			continue
		}
		for j, name := range a.Keys {
			if slices.Contains(a.Keys[:j], name) {
				r.atKey(path, &scenarios.Error{Msg: name + " is there twice", Allowed: "each once"})
			}
			if fixed[name] {
				r.atKey(path, &scenarios.Error{Msg: name + " is in [set] too", Allowed: "one of the two"})
			}
			for _, b := range s.Axes {
				if slices.Contains(b.Keys, name) && (a.when == nil || b.when == nil) {
					r.atKey(path, &scenarios.Error{Msg: name + " is on another axis too", Allowed: "one axis, or a when on each that is true on one at a time"})
				}
			}
		}
		s.Axes = append(s.Axes, a)
	}
}

// formula reads an expression. It may name what the scenario and [set] write
// and the keys of the axes so far.
func (r *reader) formula(s *Spec, table map[string]any, path, name string) *formula {
	text, ok := r.text(table, path, name)
	if !ok {
		return nil
	}
	at := scenarios.JoinKey(path, name)
	f, err := newFormula(text, scenarios.Keys())
	if err != nil {
		r.atValue(at, &scenarios.Error{Msg: err.Error()})
		return nil
	}
	if len(r.problems) > 0 {
		return f // what the scenario or a broken axis writes is not known
	}
	for _, key := range f.names {
		if s.written.get(key) == nil && !slices.ContainsFunc(s.Axes, func(a *Axis) bool { return slices.Contains(a.Keys, key) }) {
			r.atValue(at, &scenarios.Error{Msg: "nothing writes " + key + " before this", Allowed: "keys that the scenario, [set] or an axis above writes"})
		}
	}
	return f
}

func (r *reader) excludes(s *Spec) {
	for i, table := range r.tables(r.doc.Tree, "exclude", "[[exclude]] tables of "+strings.Join(names(excludeKeys), ", ")) {
		path := fmt.Sprintf("exclude[%d]", i)
		r.known(table, path, excludeKeys)
		if table["when"] == nil {
			r.atKey(path, &scenarios.Error{Msg: "when is missing", Allowed: "a condition"})
			continue
		}
		x := &exclusion{when: r.formula(s, table, path, "when")}
		if reason, ok := r.text(table, path, "reason"); ok {
			x.reason = reason
		} else if x.when != nil {
			x.reason = x.when.text
		}
		s.exclude = append(s.exclude, x)
	}
}
