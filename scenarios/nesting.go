package scenarios

import (
	"strings"
	"unicode/utf8"
)

// maxNesting bounds the brackets around a value and the parts of a dotted key. The
// languages need five; the parser takes time and memory that grow with the square of
// the depth, so that a text of a few hundred kilobytes could take all there is.
const maxNesting = 16

// nestedTooDeep is an error at the first place of a text that nests deeper than the
// languages do; nil if none does. It reads texts that are no TOML too.
func nestedTooDeep(file, text string) error {
	brackets, dots := 0, 0
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case '"', '\'':
			i = afterString(text, i)
			continue
		case '#':
			if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(text)
			}
			continue
		case '[', '{':
			brackets, dots = brackets+1, 0
		case ']', '}':
			brackets, dots = max(brackets-1, 0), 0
		case '\n', '=', ',':
			dots = 0
		case '.':
			dots++
		}
		if brackets > maxNesting || dots > maxNesting {
			line := strings.Count(text[:i], "\n")
			start := strings.LastIndexByte(text[:i], '\n') + 1
			return &Error{File: file, Line: line + 1, Col: utf8.RuneCountInString(text[start:i]) + 1, Msg: "nested too deep", Allowed: "keys and values that are as deep as the reference says"}
		}
		i++
	}
	return nil
}

// afterString is the offset behind the string that begins at i; where it has no end,
// that of the text or, of strings of one line, of the line.
func afterString(text string, i int) int {
	quote := text[i : i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(text[i:], triple) {
		quote = triple
	}
	for i += len(quote); i < len(text); i++ {
		switch {
		case quote[0] == '"' && text[i] == '\\':
			i++
		case strings.HasPrefix(text[i:], quote):
			return i + len(quote)
		case len(quote) == 1 && text[i] == '\n':
			return i
		}
	}
	return len(text)
}
