package scenarios

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// width is the columns of a table that `sim check` prints.
const width = 80

// WriteOrigins prints each value with where it came from, a section at a time,
// in columns that fit 80 characters where names allow.
func (r *Resolved) WriteOrigins(w io.Writer) error {
	keyW, valW := 0, 0
	for _, o := range r.Origins {
		keyW = max(keyW, utf8.RuneCountInString(short(o.Key)))
		if n := utf8.RuneCountInString(o.Value); n <= maxValue {
			valW = max(valW, n)
		}
	}
	section := ""
	var b strings.Builder
	for _, o := range r.Origins {
		if o.Value == "" {
			continue
		}
		if s := sectionOf(o.Key); s != section {
			section = s
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		lead := fmt.Sprintf("  %-*s  ", keyW, short(o.Key))
		values := wrap(o.Value, max(valW, 1))
		froms := wrap(o.From, max(width-utf8.RuneCountInString(lead)-valW-2, 16))
		for i := range max(len(values), len(froms)) {
			v, f := "", ""
			if i < len(values) {
				v = values[i]
			}
			if i < len(froms) {
				f = froms[i]
			}
			b.WriteString(strings.TrimRight(fmt.Sprintf("%s%-*s  %s", lead, valW, v, f), " ") + "\n")
			lead = strings.Repeat(" ", len(lead))
		}
	}
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

// maxValue is the widest value that a column makes room for.
const maxValue = 20

// wrap breaks a text at blanks into lines of at most n characters; a longer
// word is cut.
func wrap(s string, n int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		for utf8.RuneCountInString(word) > n {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			r := []rune(word)
			lines, word = append(lines, string(r[:n])), string(r[n:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= n:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
