package scenarios

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"orrery/models"
	"orrery/sim/unit"
)

// field is one key of the language. The table of them (keys_*.go) is the only
// place where a key is described: decoding, --set, defaults, errors, `sim
// check` and docs/scenario.md all read it.
type field struct {
	key string // path, "cluster.gpus"; of a list's entries "expect.metric"
	doc string // one sentence
	// at points into the scenario where the value lives; its type is the
	// key's type. For expect.* it points into the last entry.
	at       func(*Scenario) any
	holds    any // such a pointer, where the key is of another file (capacity.go)
	unit     string
	min, max float64         // bounds of a number, inclusive
	names    func() []string // allowed names; nil: any text
	aliases  map[string]any  // texts that stand for another value
	// catalogue is what `sim list` calls the names, where they are many and grow.
	catalogue string
	// spec says what is wrong with a text that is more than a name, forms what is
	// right.
	spec  func(string) error
	forms string
	// canon finds the catalogue's name of what a text names; "" if nothing.
	canon    func(string) string
	auto     bool     // "auto" may be written: same as leaving it out
	def      any      // default that depends on nothing
	how      string   // default in words, where it depends
	required bool     // neither default nor derivation
	moe      bool     // present only in mixture-of-experts models
	of       []string // schedules that alone have the key
	net      bool     // present only in models that list their layers
	packed   bool     // present only where samples are packed; of both, where one of them holds
}

// maxInt bounds every integer of the language, so that products of two fit.
const maxInt = math.MaxInt32

// anyNumber is the bound of a number that has none to speak of.
const anyNumber = 1e15

// pointer is of the key's type.
func (f *field) pointer() any {
	if f.at == nil {
		return f.holds
	}
	return f.at(blank())
}

// kind is the key's type in words.
func (f *field) kind() string {
	switch f.pointer().(type) {
	case *int64:
		return "integer"
	case *float64:
		return "number"
	case *bool:
		return "boolean"
	case *[]int64:
		return "list of integers"
	case *[]string:
		if f.names == nil {
			return "list of texts"
		}
		return "list of names"
	}
	if f.names == nil {
		return "text"
	}
	return "name"
}

// blank is a scenario in which every pointer of the schema points somewhere.
func blank() *Scenario {
	return &Scenario{Model: models.Model{MoE: &models.MoE{}}, Expect: make([]Expect, 1), Encoder: &Tower{}, Generator: &Tower{}}
}

// allowed says what the key accepts.
func (f *field) allowed() string {
	var s string
	switch f.kind() {
	case "integer":
		s = "an integer from " + bound(f.min) + " to " + bound(f.max)
	case "number":
		s = "a number"
		if f.max < anyNumber {
			s += " from " + bound(f.min) + " to " + bound(f.max)
		}
	case "boolean":
		s = "true, false"
	case "list of integers":
		s = "a list of integers from " + bound(f.min) + " to " + bound(f.max)
	case "list of texts":
		s = "a list of texts"
	case "list of names":
		s = "a list of " + strings.Join(f.names(), ", ")
	case "name":
		if s = strings.Join(f.names(), ", "); f.catalogue != "" {
			s = "names of `sim list " + f.catalogue + "`"
		}
	default:
		if s = f.forms; s == "" {
			s = "a text"
		}
	}
	for _, a := range sortedKeys(f.aliases) {
		s += fmt.Sprintf(", %q", a)
	}
	if f.auto {
		s += `, "auto"`
	}
	return s
}

// decode checks a value as TOML (or a Go caller) gives it, and returns it as
// the key's type. The error lacks only its place.
func (f *field) decode(raw any) (any, *Error) {
	if s, ok := raw.(string); ok {
		if v, ok := f.aliases[s]; ok {
			return v, nil
		}
	}
	wrong := func(msg string) (any, *Error) {
		return nil, &Error{Key: f.key, Msg: msg, Found: show(raw), Allowed: f.allowed()}
	}
	switch f.pointer().(type) {
	case *int64:
		n, ok := toInt(raw)
		if !ok {
			return wrong("wrong type")
		}
		if float64(n) < f.min || float64(n) > f.max {
			return wrong("out of range")
		}
		return n, nil
	case *float64:
		x, ok := toFloat(raw)
		if b, isBool := raw.(bool); isBool && f.key == "expect.value" { // of the metric "fits"
			x, ok = 0, true
			if b {
				x = 1
			}
		}
		if !ok {
			return wrong("wrong type")
		}
		if !(x >= f.min && x <= f.max) { // false for NaN
			return wrong("out of range")
		}
		return x, nil
	case *bool:
		if b, ok := raw.(bool); ok {
			return b, nil
		}
		return wrong("wrong type")
	case *[]int64:
		list, ok := toList(raw)
		if !ok {
			return wrong("wrong type")
		}
		if len(list) == 0 {
			return wrong("empty list")
		}
		out := make([]int64, len(list))
		for i, e := range list {
			if out[i], ok = toInt(e); !ok || float64(out[i]) < f.min || float64(out[i]) > f.max {
				return nil, &Error{Key: f.key, Msg: fmt.Sprintf("entry %d", i+1), Found: show(e), Allowed: f.allowed()}
			}
		}
		return out, nil
	case *[]string:
		list, ok := toList(raw)
		if !ok {
			return wrong("wrong type")
		}
		out := make([]string, len(list))
		for i, e := range list {
			out[i], ok = e.(string)
			if f.spec != nil {
				if ok {
					if err := f.spec(out[i]); err != nil {
						return nil, &Error{Key: f.key, Msg: err.Error(), Found: show(e)}
					}
					continue
				}
				return nil, &Error{Key: f.key, Msg: fmt.Sprintf("entry %d", i+1), Found: show(e), Allowed: f.allowed()}
			}
			if !ok || f.names != nil && !slices.Contains(f.names(), out[i]) {
				err := &Error{Key: f.key, Msg: fmt.Sprintf("entry %d", i+1), Found: show(e), Allowed: f.allowed()}
				if f.names != nil {
					err.Nearest = unit.Nearest(out[i], f.names())
				}
				return nil, err
			}
		}
		return out, nil
	case *Recompute:
		s, ok := raw.(string)
		if !ok {
			return wrong("wrong type")
		}
		r, err := ParseRecompute(s)
		if err != nil {
			err.Key = f.key
			return nil, err
		}
		return r, nil
	}
	s, ok := raw.(string)
	if !ok {
		return wrong("wrong type")
	}
	if f.spec != nil {
		if err := f.spec(s); err != nil {
			return nil, &Error{Key: f.key, Msg: err.Error(), Found: show(raw)}
		}
	}
	if f.canon != nil {
		if name := f.canon(s); name != "" {
			return name, nil
		}
	}
	if f.names != nil && !slices.Contains(f.names(), s) {
		e := &Error{Key: f.key, Msg: "unknown name", Found: show(raw), Allowed: f.allowed(), Nearest: unit.Nearest(s, f.names())}
		if f.catalogue != "" && e.Nearest == "" {
			e.Allowed = strings.Join(f.names(), ", ")
		}
		return nil, e
	}
	return s, nil
}

// store writes a decoded value to its place.
func (f *field) store(s *Scenario, v any) {
	dst := reflect.ValueOf(f.at(s)).Elem()
	dst.Set(reflect.ValueOf(v).Convert(dst.Type()))
}

// otherData reports whether the scenario's sequences are of a kind without the key.
func (f *field) otherData(s *Scenario) bool {
	if !f.net && !f.packed {
		return false
	}
	return (!f.net || s.Model.Net == nil) && (!f.packed || !s.Data.Packed())
}

// load reads the value; nil if the scenario has no such place.
func (f *field) load(s *Scenario) any {
	if f.moe && s.Model.MoE == nil || f.otherData(s) || len(f.of) > 0 && !slices.Contains(f.of, s.Schedule.Name) || strings.HasPrefix(f.key, "expect.") || f.absent(s) {
		return nil
	}
	return reflect.ValueOf(f.at(s)).Elem().Interface()
}

var (
	schema = slices.Concat(topKeys, clusterKeys, modelKeys, trainingKeys, dataKeys, packingKeys, parallelKeys, scheduleKeys, frameworkKeys, routingKeys, servingKeys, encoderKeys, generatorKeys, expectKeys)
	byKey  = index(schema)
)

func index(fields []*field) map[string]*field {
	m := make(map[string]*field, len(fields))
	for _, f := range fields {
		m[f.key] = f
	}
	return m
}

// keysIn lists the keys directly in a section ("" is the top), with the
// sections below it.
func keysIn(section string) []string {
	var out []string
	for _, f := range schema {
		rest := f.key
		if section != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(f.key, section+"."); !ok {
				continue
			}
		}
		first, _, _ := strings.Cut(rest, ".")
		if !slices.Contains(out, first) {
			out = append(out, first)
		}
	}
	return out
}

// isTable reports whether the path is a table of the language ("" is the whole).
func isTable(path string) bool {
	return path == "" || slices.ContainsFunc(schema, func(f *field) bool { return strings.HasPrefix(f.key, path+".") })
}

// sectionOf is the table that a key is in, "" at the top.
func sectionOf(key string) string { return key[:max(strings.LastIndexByte(key, '.'), 0)] }

// short is a key without its section.
func short(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
