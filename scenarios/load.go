package scenarios

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/sim/unit"
)

// setFile stands for the file of an override.
const setFile = "--set"

// Load reads a scenario from a file, or from the catalogue if the path is one
// of Names and no such file exists. sets are overrides "path.to.key=value";
// they win over the file. Every problem with the content is an *Error; up to
// ten are joined.
func Load(path string, sets []string) (*Resolved, error) {
	r, err := open(path)
	if err != nil {
		return nil, err
	}
	return r.withSets(sets)
}

// open reads the text of a scenario and takes its values.
func open(path string) (*resolver, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if data, ok := Text(path); ok {
			return read(path+".toml", data, nil)
		}
		e := &Error{File: path, Msg: "no such file", Nearest: unit.Nearest(path, Names())}
		if e.Nearest == "" {
			e.Allowed = "a file, or a scenario of `sim list scenarios`"
		}
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	return read(path, data, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return os.ReadFile(name)
	})
}

// Parse reads a scenario from text. name stands for the file in errors and
// origins; open opens model.config (nil: there are no files).
func Parse(name string, data []byte, sets []string, open func(string) ([]byte, error)) (*Resolved, error) {
	r, err := read(name, data, open)
	if err != nil {
		return nil, err
	}
	return r.withSets(sets)
}

// read takes the values of a text.
func read(name string, data []byte, open func(string) ([]byte, error)) (*resolver, error) {
	doc, err := ReadDocument(name, data)
	if err != nil {
		return nil, err
	}
	r := &resolver{file: name, read: open, given: map[string]*given{}, sections: doc.where.key}
	r.flatten(doc.Tree, "", doc.where)
	r.s.Name = strings.TrimSuffix(filepath.Base(name), ".toml")
	return r, nil
}

func (r *resolver) withSets(sets []string) (*Resolved, error) {
	for _, set := range sets {
		r.set(set)
	}
	return r.resolve()
}

// flatten walks the parsed tables in the order of the text and takes each key.
func (r *resolver) flatten(tree map[string]any, path string, where located) {
	for _, k := range where.order(tree, path) {
		key := joinKey(path, k)
		g := r.givenAt(tree[k], key, where)
		sub, isMap := tree[k].(map[string]any)
		switch {
		case key == "expect":
			r.expect(g, where)
		case !isTable(key):
			r.accept(g, key)
		case isMap:
			r.flatten(sub, key, where)
		default:
			r.problems = append(r.problems, &Error{File: r.file, Line: g.place.line, Col: g.place.col, Key: key, Msg: "wrong type",
				Found: show(g.raw), Allowed: "a table of " + strings.Join(keysIn(key), ", ")})
		}
	}
}

// givenAt is a value of the file; one without a place of its own (a table)
// stands at its key.
func (r *resolver) givenAt(raw any, key string, where located) *given {
	g := &given{raw: raw, file: r.file, key: where.key[key], place: where.value[key]}
	if g.place.line == 0 {
		g.place = g.key
	}
	return g
}

// set takes an override.
func (r *resolver) set(text string) {
	o, err := ParseOverride(text)
	if err != nil {
		r.problems = append(r.problems, err)
		return
	}
	r.accept(&given{raw: o.Value, file: setFile}, o.Key)
}

// ParseOverride reads "path.to.key=value". The value is TOML; what is not TOML is a
// text, so that names need no quotes.
func ParseOverride(text string) (Override, *Error) {
	key, value, ok := strings.Cut(text, "=")
	key = strings.TrimSpace(key)
	if !ok || key == "" {
		return Override{}, &Error{File: setFile, Msg: "not an override", Found: show(text), Allowed: "path.to.key=value"}
	}
	if nestedTooDeep(setFile, value) != nil {
		return Override{}, &Error{File: setFile, Key: key, Msg: "nested too deep", Allowed: "a value as the reference says"}
	}
	return Override{key, ParseValue(value)}, nil
}

// ParseValue reads a value as TOML, or as a text where it is none or nests too deep.
func ParseValue(text string) any {
	text = strings.TrimSpace(text)
	if nestedTooDeep(setFile, text) != nil {
		return text
	}
	var tree map[string]any
	if _, err := toml.Decode("v = "+text, &tree); err == nil && len(tree) == 1 {
		return tree["v"]
	}
	return text
}
