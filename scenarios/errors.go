package scenarios

import (
	"errors"
	"fmt"
	"strings"
)

// Error is one thing that is wrong with a scenario, in the words of its author.
type Error struct {
	File string // as given to Load; "--set" for an override
	// Line and Col count from 1, Col in characters; 0 where there is no text.
	Line, Col int
	Key       string // schema path, "parallel.tp"
	Msg       string // what is wrong, in a few words
	Found     string // the offending value as TOML writes it
	Allowed   string // what would have been right
	Nearest   string // the valid name closest to Found, if one is close
}

// Error is "file:line:col: key: msg: found x; allowed: y; did you mean z?".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	for _, part := range []string{e.Key, e.Msg} {
		if part != "" {
			if b.Len() > 0 {
				b.WriteString(": ")
			}
			b.WriteString(part)
		}
	}
	if e.Found != "" {
		b.WriteString(": found " + e.Found)
	}
	if e.Allowed != "" {
		b.WriteString("; allowed: " + e.Allowed)
	}
	if e.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %s?", e.Nearest)
	}
	return b.String()
}

// maxErrors is how many problems one load reports.
const maxErrors = 10

// join makes one error of the first maxErrors problems; errors.As finds each.
func join(problems []*Error) error {
	var errs []error
	for i, p := range problems {
		if i == maxErrors {
			errs = append(errs, fmt.Errorf("and %d more", len(problems)-maxErrors))
			break
		}
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}
