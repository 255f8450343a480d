package scenarios

import (
	"fmt"
	"strings"
)

// expect reads the entries of [[expect]].
func (r *resolver) expect(g *given, where located) {
	list, ok := toList(g.raw)
	for i, e := range list {
		entry, isMap := e.(map[string]any)
		if ok = ok && isMap; !ok {
			break
		}
		r.s.Expect = append(r.s.Expect, Expect{})
		r.expectEntry(entry, fmt.Sprintf("expect[%d]", i), where)
	}
	if !ok {
		r.problems = append(r.problems, &Error{File: r.file, Line: g.place.line, Col: g.place.col, Key: "expect", Msg: "wrong type",
			Found: show(g.raw), Allowed: "[[expect]] tables of " + strings.Join(keysIn("expect"), ", ")})
	}
}

// expectEntry reads one entry, which stands at path, into the last Expect.
func (r *resolver) expectEntry(entry map[string]any, path string, where located) {
	seen := map[string]bool{}
	for _, k := range where.order(entry, path) {
		v := r.givenAt(entry[k], joinKey(path, k), where)
		v.field = byKey["expect."+k]
		if v.field == nil {
			r.unknownKey(v, "expect."+k)
			continue
		}
		seen[v.field.key] = true
		if r.decode(v) {
			v.field.store(&r.s, v.value)
		}
	}
	at := where.key[path]
	if at.line == 0 { // an inline table
		at = where.value[path]
	}
	for _, f := range expectKeys {
		switch {
		case seen[f.key]:
		case f.required:
			r.problems = append(r.problems, &Error{File: r.file, Line: at.line, Col: at.col, Key: f.key, Msg: "missing", Allowed: f.allowed()})
		default:
			f.store(&r.s, f.def)
		}
	}
}
