package scenarios

import (
	"errors"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxSize bounds a text.
const maxSize = 1 << 20

// Document is a TOML text of which it is known where everything stands. The
// languages beside the scenario's (sweeps, say) are read from it, so that their
// errors look the same.
type Document struct {
	File  string
	Tree  map[string]any
	where located
}

// ReadDocument parses a text of up to 1 MiB; file stands for it in errors, which
// are *Error.
func ReadDocument(file string, data []byte) (*Document, error) {
	if len(data) > maxSize {
		return nil, &Error{File: file, Msg: "the text is too long", Allowed: "up to 1 MiB"}
	}
	if err := nestedTooDeep(file, string(data)); err != nil {
		return nil, err
	}
	d := &Document{File: file}
	if _, err := toml.Decode(string(data), &d.Tree); err != nil {
		return nil, syntaxError(file, err)
	}
	d.where = locate(string(data))
	return d, nil
}

// Keys lists the keys of the table at path ("" is the whole, "axis[0]" an entry
// of an array) as they stand in the text.
func (d *Document) Keys(table map[string]any, path string) []string {
	return d.where.order(table, path)
}

// AtKey places an error at a key and returns it.
func (d *Document) AtKey(path string, e *Error) *Error {
	at := d.where.key[path]
	if at.line == 0 {
		at = d.where.value[path] // an inline table of an array
	}
	e.File, e.Line, e.Col = d.File, at.line, at.col
	return e
}

// AtValue places an error at a key's value, or at the key where the value has no
// place of its own.
func (d *Document) AtValue(path string, e *Error) *Error {
	at := d.where.value[path]
	if at.line == 0 {
		return d.AtKey(path, e)
	}
	e.File, e.Line, e.Col = d.File, at.line, at.col
	return e
}

// JoinKey is the path of a key in the table at path.
func JoinKey(path, key string) string { return joinKey(path, key) }

// Show writes a value as TOML does, shortened, for Error.Found.
func Show(value any) string { return show(value) }

// Join makes one error of the first ten problems; nil of none.
func Join(problems []*Error) error { return join(problems) }

// syntaxError is the parser's complaint in our form.
func syntaxError(name string, err error) error {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return &Error{File: name, Msg: strings.TrimPrefix(err.Error(), "toml: ")}
	}
	e := &Error{File: name, Line: pe.Position.Line, Col: pe.Position.Col, Key: pe.LastKey, Msg: "not TOML: " + oneLine(strings.TrimSuffix(pe.Message, "."))}
	if e.Line == 0 {
		e.Line, e.Col = 1, 1
	}
	return e
}

// Has reports whether the text has a value at the path.
func (d *Document) Has(path string) bool { return d.where.value[path].line > 0 }

// oneLine writes out the line ends that the parser quotes from the text.
func oneLine(s string) string { return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s) }
