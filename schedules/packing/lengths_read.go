package packing

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"orrery/sim/unit"
)

// ReadLengths reads lengths in tokens. By the ending of name the text is CSV (.csv,
// with a header; column names the column), JSON lines (.jsonl; column names the key),
// or one length a line. Empty lines and lines that begin with # do not count. Errors
// have the form name:line: what.
func ReadLengths(r io.Reader, name, column string) ([]int, error) {
	var lengths []int
	var err error
	switch ending := strings.ToLower(filepath.Ext(name)); {
	case ending == ".csv":
		lengths, err = readCSV(r, column)
	case ending == ".jsonl" || ending == ".ndjson":
		lengths, err = readJSONL(r, column)
	case column != "":
		return nil, fmt.Errorf("%s: column %q: only .csv and .jsonl files have columns, this one has a length a line", name, column)
	default:
		lengths, err = readLines(r)
	}
	var at *lineError
	switch {
	case errors.As(err, &at):
		return nil, fmt.Errorf("%s:%d: %w", name, at.line, at.err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(lengths) == 0:
		return nil, fmt.Errorf("%s: there is no length in it", name)
	}
	return lengths, nil
}

// lineError is an error of a line, counted from 1.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// maxLine bounds a line, in bytes: traces have lists of hashes beside the length.
const maxLine = 1 << 24

func parseLength(text string) (int, error) {
	x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number of tokens", text)
	}
	return wholeLength(x)
}

func wholeLength(x float64) (int, error) {
	if x != math.Trunc(x) || x < 1 || x > maxContext {
		return 0, fmt.Errorf("%v tokens, must be a whole number from 1 to %d", x, maxContext)
	}
	return int(x), nil
}

// eachLine calls do for the lines that count.
func eachLine(r io.Reader, do func(line []byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	n := 0
	for s.Scan() {
		n++
		line := bytes.TrimSpace(s.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := do(line); err != nil {
			return &lineError{n, err}
		}
	}
	if err := s.Err(); err != nil {
		return &lineError{n + 1, err}
	}
	return nil
}

func readLines(r io.Reader) (out []int, err error) {
	err = eachLine(r, func(line []byte) error {
		n, err := parseLength(string(line))
		out = append(out, n)
		return err
	})
	return out, err
}

func readJSONL(r io.Reader, key string) (out []int, err error) {
	if key == "" {
		key = "length"
	}
	err = eachLine(r, func(line []byte) error {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(line, &object); err != nil {
			return fmt.Errorf("no JSON object: %w", err)
		}
		raw, ok := object[key]
		if !ok {
			return unknownColumn("key", key, slices.Sorted(maps.Keys(object)))
		}
		var x float64
		if err := json.Unmarshal(raw, &x); err != nil {
			return fmt.Errorf("%s is %s, no number of tokens", key, clip(string(raw)))
		}
		n, err := wholeLength(x)
		out = append(out, n)
		return err
	})
	return out, err
}

func readCSV(r io.Reader, column string) (out []int, err error) {
	c := csv.NewReader(r)
	c.Comment, c.ReuseRecord, c.TrimLeadingSpace = '#', true, true
	head, err := c.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, csvError(err)
	}
	at := slices.Index(head, column)
	if column == "" && len(head) == 1 {
		at = 0
	}
	if at < 0 {
		line, _ := c.FieldPos(0)
		return nil, &lineError{line, unknownColumn("column", column, slices.Clone(head))}
	}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, csvError(err)
		}
		n, err := parseLength(row[at])
		if err != nil {
			line, _ := c.FieldPos(at)
			return nil, &lineError{line, err}
		}
		out = append(out, n)
	}
}

func csvError(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return &lineError{p.Line, p.Err}
	}
	return err
}

// unknownColumn says which columns there are.
func unknownColumn(what, name string, known []string) error {
	for i, k := range known {
		known[i] = clip(k)
	}
	if near := unit.Nearest(name, known); near != "" {
		return fmt.Errorf("no %s is called %q; did you mean %q?", what, name, near)
	}
	return fmt.Errorf("no %s is called %q; there are %s", what, name, strings.Join(known, ", "))
}

// clip shortens what a file may hold to fit a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
