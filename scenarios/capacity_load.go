package scenarios

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"orrery/sim/unit"
)

// LoadCapacity reads a capacity plan from a file, or from the catalogue if the
// path is one of CapacityNames and no such file exists. The plan's scenario is
// not read. Every problem with the content is an *Error; up to ten are joined.
func LoadCapacity(path string) (*Capacity, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if data, ok := builtin(capacityFolder + path); ok {
			return ParseCapacity(path+".toml", data)
		}
		e := &Error{File: path, Msg: "no such file", Nearest: unit.Nearest(path, CapacityNames())}
		if e.Nearest == "" {
			e.Allowed = "a file, or a plan of `sim list plans`"
		}
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	c, err := ParseCapacity(path, data)
	if err != nil {
		return nil, err
	}
	// A scenario beside the plan wins over one of the catalogue.
	if beside := filepath.Join(filepath.Dir(path), c.Scenario); !filepath.IsAbs(c.Scenario) {
		if _, err := os.Stat(beside); err == nil {
			c.Scenario = beside
		}
	}
	return c, nil
}

// ParseCapacity reads a capacity plan from text. name stands for the file in
// errors and origins.
func ParseCapacity(name string, data []byte) (*Capacity, error) {
	if len(data) > maxSize {
		return nil, &Error{File: name, Msg: "the text is too long", Allowed: "up to 1 MiB"}
	}
	var tree map[string]any
	if _, err := toml.Decode(string(data), &tree); err != nil {
		return nil, syntaxError(name, err)
	}
	r := &capacityReader{file: name, where: locate(string(data)), given: map[string]place{}}
	r.table(tree, "")
	r.defaults()
	if len(r.problems) == 0 {
		r.derive()
	}
	if len(r.problems) > 0 {
		return nil, join(r.problems)
	}
	return &r.c, nil
}

// capacityReader fills one plan.
type capacityReader struct {
	file     string
	where    located
	c        Capacity
	given    map[string]place // by schema key; entries of lists apart
	problems []*Error
}

func (r *capacityReader) fail(at place, e Error) {
	e.File, e.Line, e.Col = r.file, at.line, at.col
	r.problems = append(r.problems, &e)
}

// capacityLists are the keys that hold a list of tables.
var capacityLists = []string{"option", "expect"}

func capacityKey(key string) *capacityField {
	i := slices.IndexFunc(capacitySchema, func(f *capacityField) bool { return f.key == key })
	if i < 0 {
		return nil
	}
	return capacitySchema[i]
}

// keysOf lists the keys of a table of the plan, "" for the top, sub-tables included.
func (r *capacityReader) keysOf(table string) []string {
	var out []string
	for _, f := range capacitySchema {
		rest, ok := f.key, true
		if table != "" {
			rest, ok = strings.CutPrefix(f.key, table+".")
		}
		first, _, _ := strings.Cut(rest, ".")
		if ok && !slices.Contains(out, first) {
			out = append(out, first)
		}
	}
	return out
}

// table reads a table's keys in the order of the text.
func (r *capacityReader) table(tree map[string]any, path string) {
	for _, k := range r.where.order(tree, path) {
		key := joinKey(path, k)
		sub, isMap := tree[k].(map[string]any)
		switch within := r.keysOf(key); {
		case slices.Contains(capacityLists, key):
			r.list(tree[k], key)
		case len(within) > 0 && isMap:
			r.table(sub, key)
		case len(within) > 0:
			r.given[key] = r.valueAt(key)
			r.fail(r.valueAt(key), Error{Key: key, Msg: "wrong type", Found: show(tree[k]), Allowed: "a table of " + strings.Join(within, ", ")})
		case r.value(tree[k], key, key):
			r.given[key] = r.valueAt(key)
		}
	}
}

// valueAt is where the value of a path stands, or else its key.
func (r *capacityReader) valueAt(path string) place {
	if at := r.where.value[path]; at.line > 0 {
		return at
	}
	return r.where.key[path]
}

// list reads the entries of a list of tables.
func (r *capacityReader) list(raw any, key string) {
	list, ok := toList(raw)
	for i, e := range list {
		entry, isMap := e.(map[string]any)
		if ok = ok && isMap; !ok {
			break
		}
		path := fmt.Sprintf("%s[%d]", key, i)
		switch key {
		case "option":
			r.c.Options = append(r.c.Options, CapacityOption{})
		case "expect":
			r.c.Expect = append(r.c.Expect, Expect{})
		}
		seen := map[string]bool{}
		for _, k := range r.where.order(entry, path) {
			seen[key+"."+k] = true
			r.value(entry[k], joinKey(path, k), key+"."+k)
		}
		at := r.where.key[path]
		if at.line == 0 { // an inline table
			at = r.where.value[path]
		}
		for _, f := range capacitySchema {
			if strings.HasPrefix(f.key, key+".") && !seen[f.key] {
				r.settle(f, at)
			}
		}
	}
	if !ok {
		r.fail(r.valueAt(key), Error{Key: key, Msg: "wrong type", Found: show(raw), Allowed: "[[" + key + "]] tables of " + strings.Join(r.keysOf(key), ", ")})
	}
}

// value decodes a value that stands at path into the place of a key; false where
// it is left to its default.
func (r *capacityReader) value(raw any, path, key string) bool {
	f := capacityKey(key)
	if f == nil {
		section := sectionOf(key)
		for section != "" && len(r.keysOf(section)) == 0 {
			section = sectionOf(section)
		}
		e := Error{Key: key, Msg: "unknown key", Allowed: strings.Join(r.keysOf(section), ", "), Nearest: nearestCapacityKey(key)}
		if section != "" {
			e.Allowed = "in [" + section + "] " + e.Allowed
		}
		r.fail(r.where.key[path], e)
		return false
	}
	if s, ok := raw.(string); ok && s == "auto" && f.auto {
		return false
	}
	if day, ok := raw.(time.Time); ok { // a date without quotes
		raw = day.Format(time.DateOnly)
	}
	v, err := f.decode(raw)
	if err != nil {
		r.fail(r.valueAt(path), *err)
		return false
	}
	f.put(&r.c, v)
	return true
}

func (f *capacityField) put(c *Capacity, v any) {
	at := field{at: func(*Scenario) any { return f.in(c) }}
	at.store(nil, v)
}

// nearestCapacityKey is the key that was meant: of the same name elsewhere, or
// similar.
func nearestCapacityKey(key string) string {
	var keys, shorts, tables []string
	for _, f := range capacitySchema {
		tables = append(tables, sectionOf(f.key))
		if short(f.key) == short(key) {
			return f.key
		}
		keys, shorts = append(keys, f.key), append(shorts, short(f.key))
	}
	if near := unit.Nearest(key, append(keys, tables...)); near != "" {
		return near
	}
	if near := unit.Nearest(short(key), shorts); near != "" {
		return keys[slices.Index(shorts, near)]
	}
	return ""
}

// settle gives a key that was not written its default, or says that it is missing.
func (r *capacityReader) settle(f *capacityField, at place) {
	switch {
	case f.required:
		r.fail(at, Error{Key: f.key, Msg: "missing", Allowed: f.allowed()})
	case f.def != nil:
		f.put(&r.c, f.def)
	}
}

// defaults fills the keys outside lists.
func (r *capacityReader) defaults() {
	for _, f := range capacitySchema {
		section := sectionOf(f.key)
		if r.wrote(f.key) || r.wrote(section) || slices.Contains(capacityLists, section) {
			continue
		}
		at := place{1, 1}
		if h, ok := r.where.key[section]; ok {
			at = h
		}
		r.settle(f, at)
	}
}

func (r *capacityReader) wrote(key string) bool { _, ok := r.given[key]; return ok }

// derive fills what follows from other keys, and records origins.
func (r *capacityReader) derive() {
	c := &r.c
	if !r.wrote("name") {
		c.Name = strings.TrimSuffix(filepath.Base(r.file), ".toml")
	}
	r.dates()
	if len(r.problems) == 0 && c.Tokens == 0 && c.Days == 0 {
		r.fail(place{1, 1}, Error{Key: "train", Msg: "neither an amount nor a time", Allowed: "train.tokens, train.days (or train.start and train.by), or both"})
	}
	p := failurePresets[slices.IndexFunc(failurePresets, func(p failurePreset) bool { return p.name == c.Failures.Preset })]
	from := map[string]string{}
	for _, k := range []struct {
		key  string
		at   *float64
		want float64
	}{{"gpu", &c.Failures.GPUHours, p.f.GPUHours}, {"node", &c.Failures.NodeHours, p.f.NodeHours},
		{"switch", &c.Failures.SwitchHours, p.f.SwitchHours}, {"software", &c.Failures.SoftwareHours, p.f.SoftwareHours}} {
		if key := "failures." + k.key + "_mtbf_hours"; !r.wrote(key) {
			*k.at, from[key] = k.want, p.source
		}
	}
	if !r.wrote("restart.read_gbps") {
		c.ReadGBps, from["restart.read_gbps"] = c.Checkpoint.StorageGBps, "derived: checkpoint.storage_gbps"
	}
	if !r.wrote("spares.nodes") {
		c.SpareNodes = AutoSpares
	}
	for _, f := range capacitySchema {
		if slices.Contains(capacityLists, sectionOf(f.key)) {
			continue
		}
		o := Origin{Key: f.key, Value: display(load(f.in(c))), From: from[f.key]}
		switch at, wrote := r.given[f.key]; {
		case wrote:
			o.From = fmt.Sprintf("%s:%d", r.file, at.line)
		case o.From != "":
		case f.def == nil: // computed for each machine
			continue
		case f.from != "":
			o.From = "default, " + f.from
		default:
			o.From = "default"
		}
		c.Origins = append(c.Origins, o)
	}
}

// load reads a value through its pointer.
func load(at any) any {
	f := field{at: func(*Scenario) any { return at }}
	return f.load(&Scenario{})
}

// dates turns first and last day into the number of days between them, both
// included.
func (r *capacityReader) dates() {
	c := &r.c
	day := func(key, text string) (time.Time, bool) {
		if text == "" {
			return time.Time{}, false
		}
		d, err := time.Parse(time.DateOnly, text)
		if err != nil {
			r.fail(r.given[key], Error{Key: key, Msg: "not a date", Found: show(text), Allowed: "a day of the calendar, 2026-01-31"})
		}
		return d, err == nil
	}
	start, hasStart := day("train.start", c.Start)
	by, hasBy := day("train.by", c.By)
	switch {
	case len(r.problems) > 0 || !hasBy:
		return
	case !hasStart:
		r.fail(r.given["train.by"], Error{Key: "train.by", Msg: "a last day without a first", Found: show(c.By), Allowed: "train.start beside it, or train.days"})
	case c.Days > 0:
		r.fail(r.given["train.by"], Error{Key: "train.by", Msg: "the deadline is given twice", Found: show(c.By), Allowed: "train.by or train.days"})
	case by.Before(start):
		r.fail(r.given["train.by"], Error{Key: "train.by", Msg: "before the first day", Found: show(c.By), Allowed: "a day from " + c.Start})
	default:
		c.Days = by.Sub(start).Hours()/24 + 1
	}
}
