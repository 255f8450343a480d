package scenarios

import (
	"errors"
	"maps"
	"strings"
)

// Base is a scenario's text, read once and resolved many times with other
// overrides: what a sweep starts from. It is safe for concurrent use.
type Base struct {
	text *resolver // with the file's values, not resolved
}

// Override is a value that wins over the file.
type Override struct {
	Key   string // schema path, "parallel.tp"
	Value any    // as TOML gives it
}

// Open reads a scenario from a file or the catalogue, as Load does, without
// resolving it: keys that are missing may be in the overrides.
func Open(path string) (*Base, error) {
	r, err := open(path)
	if err != nil {
		return nil, err
	}
	if len(r.problems) > 0 {
		return nil, join(r.problems)
	}
	return &Base{r}, nil
}

// Resolve is what Load does with the overrides as its sets. Expectations of the
// file are left out: they are of the scenario as it stands there. Origins and
// errors name the overrides' place "--set".
func (b *Base) Resolve(overrides []Override) (*Resolved, error) {
	return b.with(overrides).resolve()
}

// Scenario is Resolve without the origins of values, in about half the time.
func (b *Base) Scenario(overrides []Override) (*Scenario, error) {
	r := b.with(overrides)
	if err := r.complete(); err != nil {
		return nil, err
	}
	return &r.s, nil
}

func (b *Base) with(overrides []Override) *resolver {
	r := *b.text
	r.given = maps.Clone(r.given)
	r.s.Expect = nil
	for _, o := range overrides {
		r.accept(&given{raw: o.Value, file: setFile}, o.Key)
	}
	return &r
}

// Written is what the file says, by schema path, as TOML gives it.
func (b *Base) Written() map[string]any {
	out := make(map[string]any, len(b.text.given))
	for key, g := range b.text.given {
		out[key] = g.raw
	}
	return out
}

// Keys lists the paths of the language that an override may have, in the order
// of the schema.
func Keys() []string {
	var keys []string
	for _, f := range schema {
		if sectionOf(f.key) != "expect" {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// Kind is the type of a key in words ("integer", "number", "boolean", "name",
// "text", "list of integers", "list of names"); "" if there is no such key.
func Kind(key string) string {
	f := byKey[key]
	if f == nil || sectionOf(key) == "expect" {
		return ""
	}
	return f.kind()
}

// CheckValue tells what is wrong with a value by itself, without the others: no
// such key, another type, out of bounds, an unknown name. The error has no
// place.
func CheckValue(key string, value any) *Error {
	r := &resolver{given: map[string]*given{}}
	if r.accept(&given{raw: value}, key); len(r.problems) > 0 {
		return r.problems[0]
	}
	return nil
}

// Reason says what is wrong without where it was written: the same words
// wherever the files lie. Several problems are joined by "; ".
func Reason(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var parts []string
		for _, e := range joined.Unwrap() {
			parts = append(parts, Reason(e))
		}
		return strings.Join(parts, "; ")
	}
	var e *Error
	if errors.As(err, &e) {
		c := *e
		c.File, c.Line, c.Col = "", 0, 0
		return c.Error()
	}
	return err.Error()
}
