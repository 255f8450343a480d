package scenarios

import (
	"fmt"
	"slices"
	"strings"
)

// Resolved is a scenario with the origin of each value.
type Resolved struct {
	Scenario Scenario
	Origins  []Origin // in the order of the schema
}

// Origin tells where a value came from.
type Origin struct {
	Key, Value string
	// From is "file:line", "--set", "default", "preset megatron",
	// "derived: gpus / (tp x cp x pp)", "catalogue h100" or the like.
	From string
}

// given is a value that the author wrote.
type given struct {
	field      *field
	raw        any
	value      any // decoded; nil for "auto"
	file       string
	key, place place // of the key and of the value
}

func (g *given) from() string {
	if g.place.line > 0 {
		return fmt.Sprintf("%s:%d", g.file, g.place.line)
	}
	return g.file
}

// resolver settles the keys of one scenario, each once, and remembers why.
type resolver struct {
	file     string
	read     func(string) ([]byte, error)
	sections map[string]place // headers, for errors about what is missing
	s        Scenario
	given    map[string]*given
	from     map[string]string // origin of each settled key
	problems []*Error
}

// Resolve completes a scenario given as values by schema path
// ("parallel.tp": 8, "training.precision": "fp8"); integers of any Go type,
// floats, booleans, texts and slices of them are accepted. It is what Load does
// with a file's values: the same checks, defaults and derivations. name is the
// scenario's name and stands for the file in errors and origins.
func Resolve(name string, values map[string]any) (*Resolved, error) {
	r := &resolver{file: name, given: map[string]*given{}}
	for _, key := range sortedKeys(values) {
		r.accept(&given{raw: values[key], file: name}, key)
	}
	if r.s.Name == "" {
		r.s.Name = name
	}
	return r.resolve()
}

// accept takes a value for a key of the schema.
func (r *resolver) accept(g *given, key string) {
	f := byKey[key]
	switch {
	case key == "expect" || strings.HasPrefix(key, "expect."):
		r.problems = append(r.problems, &Error{File: g.file, Key: key, Msg: "expectations are entries of a list", Allowed: "[[expect]] in the file"})
		return
	case f == nil:
		r.unknownKey(g, key)
		return
	}
	g.field = f
	if r.decode(g) {
		r.given[key] = g
	}
}

func (r *resolver) decode(g *given) bool {
	if s, ok := g.raw.(string); ok && s == "auto" && g.field.auto {
		return true
	}
	v, err := g.field.decode(g.raw)
	if err != nil {
		err.File, err.Line, err.Col = g.file, g.place.line, g.place.col
		r.problems = append(r.problems, err)
		return false
	}
	g.value = v
	return true
}

func (r *resolver) unknownKey(g *given, key string) {
	if len(r.problems) >= maxErrors { // which is not shown: to find the nearest name takes time
		r.problems = append(r.problems, &Error{File: g.file, Key: key, Msg: "unknown key"})
		return
	}
	section := sectionOf(key)
	for !isTable(section) {
		section = sectionOf(section)
	}
	e := &Error{File: g.file, Line: g.key.line, Col: g.key.col, Key: key, Msg: "unknown key",
		Allowed: strings.Join(keysIn(section), ", "), Nearest: nearestKey(key)}
	if section != "" {
		e.Allowed = "in [" + section + "] " + e.Allowed
	}
	r.problems = append(r.problems, e)
}

// resolve settles all keys and tells where each value came from.
func (r *resolver) resolve() (*Resolved, error) {
	if err := r.complete(); err != nil {
		return nil, err
	}
	res := &Resolved{Scenario: r.s}
	for _, f := range schema {
		from, ok := r.from[f.key]
		if v := f.load(&r.s); ok && v != nil {
			if f.key == "model.config" {
				v = r.given[f.key].value
			}
			res.Origins = append(res.Origins, Origin{f.key, display(v), from})
		}
	}
	return res, nil
}

// complete runs the steps in order; each step needs the earlier ones to have
// succeeded, so the first errors reported are the most telling.
func (r *resolver) complete() error {
	r.from = map[string]string{}
	steps := []func(){
		r.baseModel, r.baseTowers, r.takeGiven, r.servingDefaults, r.plainDefaults, r.orderFile, r.model, r.towers, r.machine, r.grid, r.presetDefaults, r.expertGrid,
		r.stages, r.fabric, r.schedule, r.lateDefaults, r.towerGrid, r.readLoads, r.readTrace, r.check,
	}
	for _, step := range steps {
		if len(r.problems) > 0 {
			break
		}
		step()
	}
	if len(r.problems) > 0 {
		return join(r.problems)
	}
	return nil
}

// takeGiven stores what the author wrote.
func (r *resolver) takeGiven() {
	for _, f := range schema {
		if g := r.given[f.key]; g != nil && g.value != nil {
			f.store(&r.s, g.value)
			r.from[f.key] = g.from()
		}
	}
	if _, ok := r.from["name"]; !ok {
		r.from["name"] = "default"
	}
}

// settled reports whether the key has its value.
func (r *resolver) settled(key string) bool { _, ok := r.from[key]; return ok }

// wrote reports whether the author gave the key a value (not "auto").
func (r *resolver) wrote(key string) bool { g := r.given[key]; return g != nil && g.value != nil }

// auto reports whether the author wrote "auto".
func (r *resolver) auto(key string) bool { g := r.given[key]; return g != nil && g.value == nil }

// settle gives an open key its value.
func (r *resolver) settle(key string, v any, from string) {
	if !r.settled(key) {
		byKey[key].store(&r.s, v)
		r.from[key] = from
	}
}

// num is the value of an integer key.
func (r *resolver) num(key string) int64 { return *byKey[key].at(&r.s).(*int64) }

// plainDefaults fills what depends on nothing. A dimension that is "auto" stays
// open for the grid.
func (r *resolver) plainDefaults() {
	for _, f := range schema {
		if f.otherData(&r.s) {
			continue
		}
		if f.def != nil && !r.auto(f.key) && !strings.HasPrefix(f.key, "expect.") && !f.absent(&r.s) {
			r.settle(f.key, f.def, "default")
		}
	}
	for _, f := range schema {
		if f.required && !strings.HasPrefix(f.key, "expect.") && !f.absent(&r.s) && !r.settled(f.key) {
			r.missing(f.key, f.allowed())
		}
	}
}

func (r *resolver) presetDefaults() {
	p := presetNamed(r.s.Framework.Preset)
	for _, rule := range p.rules {
		if rule.key == "parallel.etp" && r.auto(rule.key) && r.settled("parallel.edp") {
			continue // the expert grid determines it
		}
		from := "preset " + p.name
		if rule.say != "" {
			from += ": " + rule.say
		}
		r.settle(rule.key, rule.value(&r.s), from)
	}
}

// lateDefaults fills what depends on the grid and the preset.
func (r *resolver) lateDefaults() {
	p := &r.s.Parallel
	r.settle("parallel.shard", p.DP*p.CP, "derived: dp x cp")
	if r.s.Model.Net != nil {
		r.dataDefaults()
	}
	if r.s.Data.Packed() {
		r.readLengths()
	}
	if r.s.Training.Finetune == "lora" {
		r.settle("training.lora_rank", int64(16), "default")
		r.settle("training.lora_targets", "attention", "default")
	}
}

// fail reports a problem at the first of the keys that the author wrote;
// overrides before the file.
func (r *resolver) fail(keys []string, msg, found, allowed string) {
	e := &Error{File: r.file, Key: keys[0], Msg: msg, Found: found, Allowed: allowed}
	i := slices.IndexFunc(keys, func(k string) bool { return r.given[k] != nil && r.given[k].file == setFile })
	if i < 0 {
		i = slices.IndexFunc(keys, func(k string) bool { return r.given[k] != nil })
	}
	if i >= 0 {
		g := r.given[keys[i]]
		e.Key, e.File, e.Line, e.Col = keys[i], g.file, g.place.line, g.place.col
	} else if at := r.sectionOf(keys[0]); at.line > 0 {
		e.Line, e.Col = at.line, at.col
	}
	r.problems = append(r.problems, e)
}

func (r *resolver) missing(key, want string) {
	r.fail([]string{key}, "missing", "", want)
}

// sectionOf is the header of the key's section; the start of the text if there
// is none; nowhere without a text.
func (r *resolver) sectionOf(key string) place {
	if r.sections == nil {
		return place{}
	}
	section, _, _ := strings.Cut(key, ".")
	if at, ok := r.sections[section]; ok {
		return at
	}
	return place{1, 1}
}
