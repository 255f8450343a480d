package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// place is where something stands in a TOML text, from 1; the zero place is
// nowhere.
type place struct{ line, col int }

// located holds where each key and its value stand. Keys are paths: parts
// joined by dots (quoted where not bare), elements of arrays of tables with
// their index: "expect[0].metric".
type located struct{ key, value map[string]place }

// locate finds the keys of a TOML text that the parser has accepted: it knows
// where keys and values begin and end, not whether they are right. A text that
// it misreads gives places that are missing, never a panic.
func locate(text string) located {
	l := &locator{text: text, out: located{map[string]place{}, map[string]place{}}, count: map[string]int{}}
	for i, c := range []byte(text) {
		if c == '\n' {
			l.ends = append(l.ends, i)
		}
	}
	l.run()
	return l.out
}

// order lists a table's keys as they stand in the text.
func (l located) order(table map[string]any, path string) []string {
	keys := sortedKeys(table)
	slices.SortStableFunc(keys, func(a, b string) int {
		pa, pb := l.key[joinKey(path, a)], l.key[joinKey(path, b)]
		return cmp.Or(cmp.Compare(pa.line, pb.line), cmp.Compare(pa.col, pb.col))
	})
	return keys
}

type locator struct {
	text  string
	ends  []int // offsets of the line ends
	at    int
	out   located
	count map[string]int               // elements so far of each array of tables
	last  struct{ at, start, col int } // of the last mark: where a line is long, columns are counted on from it
}

func (l *locator) run() {
	table := ""
	for l.skip(true); l.at < len(l.text); l.skip(true) {
		start := l.at
		switch {
		case l.eat("[["):
			table = l.element(l.resolve(l.key(), start))
			l.mark(l.out.key, table, start)
			l.line()
		case l.eat("["):
			table = l.current(l.resolve(l.key(), start))
			l.mark(l.out.key, table, start)
			l.line()
		default:
			l.assignment(table)
			l.line()
		}
		if l.at == start { // no progress: not TOML
			return
		}
	}
}

// assignment reads `key = value` below a table.
func (l *locator) assignment(table string) {
	start := l.at
	path := table
	for _, part := range l.key() {
		path = joinKey(path, part)
		l.mark(l.out.key, path, start)
	}
	l.skip(false)
	if !l.eat("=") {
		return
	}
	l.skip(false)
	l.mark(l.out.value, path, l.at)
	l.value(path)
}

// value skips over a value and marks the keys of inline tables in it.
func (l *locator) value(path string) {
	switch {
	case l.at >= len(l.text):
	case l.eat(`"""`):
		l.until(`"""`, true)
	case l.eat(`'''`):
		l.until(`'''`, false)
	case l.eat(`"`):
		l.until(`"`, true)
	case l.eat(`'`):
		l.until(`'`, false)
	case l.eat("["):
		for i := 0; ; i++ {
			if l.skip(true); l.at >= len(l.text) || l.eat("]") {
				return
			}
			start := l.at
			l.mark(l.out.value, fmt.Sprintf("%s[%d]", path, i), l.at)
			l.value(fmt.Sprintf("%s[%d]", path, i))
			l.skip(true)
			if !l.eat(",") && l.at == start {
				return
			}
		}
	case l.eat("{"):
		for {
			if l.skip(true); l.at >= len(l.text) || l.eat("}") {
				return
			}
			start := l.at
			l.assignment(path)
			l.skip(true)
			if !l.eat(",") && l.at == start {
				return
			}
		}
	default:
		for l.at < len(l.text) && !strings.ContainsRune(",]}#\n", rune(l.text[l.at])) {
			l.at++
		}
	}
}

// key reads a dotted key and returns its parts.
func (l *locator) key() []string {
	var parts []string
	for {
		l.skip(false)
		start := l.at
		switch {
		case l.eat(`"`):
			l.until(`"`, true)
			parts = append(parts, unquote(l.text[start:l.at]))
		case l.eat(`'`):
			l.until(`'`, false)
			parts = append(parts, strings.Trim(l.text[start:l.at], "'"))
		default:
			for l.at < len(l.text) && bare(l.text[l.at]) {
				l.at++
			}
			parts = append(parts, l.text[start:l.at])
		}
		if l.skip(false); !l.eat(".") {
			return parts
		}
	}
}

// resolve turns the parts of the header at start into a path, and marks the
// tables on the way; inner parts that are arrays of tables mean their last
// element.
func (l *locator) resolve(parts []string, start int) string {
	path := ""
	for i, part := range parts {
		path = joinKey(path, part)
		l.mark(l.out.key, path, start)
		if i < len(parts)-1 {
			path = l.current(path)
		}
	}
	return path
}

func (l *locator) current(path string) string {
	if n := l.count[path]; n > 0 {
		return fmt.Sprintf("%s[%d]", path, n-1)
	}
	return path
}

func (l *locator) element(path string) string {
	l.count[path]++
	return l.current(path)
}

// mark notes the first place of a path.
func (l *locator) mark(m map[string]place, path string, at int) {
	if _, ok := m[path]; ok {
		return
	}
	line, _ := slices.BinarySearch(l.ends, at)
	start := 0
	if line > 0 {
		start = l.ends[line-1] + 1
	}
	if l.last.start != start || l.last.at > at || l.last.col == 0 {
		l.last.at, l.last.start, l.last.col = start, start, 1
	}
	l.last.col += utf8.RuneCountInString(l.text[l.last.at:at])
	l.last.at = at
	m[path] = place{line + 1, l.last.col}
}

func (l *locator) eat(token string) bool {
	if strings.HasPrefix(l.text[l.at:], token) {
		l.at += len(token)
		return true
	}
	return false
}

// until moves behind the closing quote. Up to two more quotes may belong to a
// multi-line string ("""a"""""), and are taken along.
func (l *locator) until(quote string, escapes bool) {
	for l.at < len(l.text) {
		if escapes && l.text[l.at] == '\\' {
			l.at = min(l.at+2, len(l.text))
			continue
		}
		if l.eat(quote) {
			for i := 0; i < 2 && len(quote) == 3 && l.eat(quote[:1]); i++ {
			}
			return
		}
		l.at++
	}
}

// skip moves over blanks, and with lines also over comments and line ends.
func (l *locator) skip(lines bool) {
	for l.at < len(l.text) {
		switch c := l.text[l.at]; {
		case c == ' ' || c == '\t':
			l.at++
		case lines && (c == '\n' || c == '\r'):
			l.at++
		case lines && c == '#':
			l.line()
		case l.at == 0 && l.eat("\uFEFF"):
		default:
			return
		}
	}
}

// line moves to the end of the line.
func (l *locator) line() {
	if i := strings.IndexByte(l.text[l.at:], '\n'); i >= 0 {
		l.at += i
	} else {
		l.at = len(l.text)
	}
}

func bare(c byte) bool {
	return c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// joinKey appends a part to a path; parts that are not bare are quoted, so that
// paths are unambiguous.
func joinKey(path, part string) string {
	ok := part != ""
	for i := range len(part) {
		ok = ok && bare(part[i])
	}
	if !ok {
		part = fmt.Sprintf("%q", part)
	}
	if path == "" {
		return part
	}
	return path + "." + part
}

// unquote lets the TOML parser read a basic string.
func unquote(s string) string {
	var v struct{ K string }
	if _, err := toml.Decode("K = "+s, &v); err != nil {
		return strings.Trim(s, `"`)
	}
	return v.K
}
