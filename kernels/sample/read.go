package sample

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"orrery/sim/unit"
)

// File is what a file of samples holds.
type File struct {
	Name   string
	Header Header
	Rows   []Row // as they stand in the file
	Lines  []int // of Rows, from 1
	// Whole is the size of the header and the whole rows, in bytes: where a
	// truncated file is to be cut.
	Whole int64
}

// TruncatedError says that a run was interrupted while it wrote the last row. The
// rows before it are good.
type TruncatedError struct {
	Name string
	Line int
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("%s:%d: the last row is cut off (an interrupted run); `sim calibrate run --out` resumes and measures it again", e.Name, e.Line)
}

// Is recognises a file of samples by its first line.
func Is(data []byte) bool {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	return strings.TrimRight(string(first), "\r") == Magic
}

// ReadFile reads a file. With a *TruncatedError the File holds the whole rows.
func ReadFile(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Read(data, path)
}

// Read parses a file. Errors are of the form name:line:column. With a
// *TruncatedError the File holds the whole rows.
func Read(data []byte, name string) (*File, error) {
	p := &parser{data: data, file: &File{Name: name}}
	if err := p.header(); err != nil {
		return nil, err
	}
	seen := map[[2]string]int{}
	for {
		line, whole := p.line()
		if len(line) == 0 && !whole {
			return p.file, nil
		}
		if !whole {
			return p.file, &TruncatedError{name, p.number}
		}
		r, err := p.row(line)
		if err != nil {
			return nil, err
		}
		key := [2]string{r.ID(), r.Hash}
		if first := seen[key]; first > 0 {
			return nil, p.errorf(1, "%s was measured in line %d already", r.ID(), first)
		}
		seen[key] = p.number
		p.file.Rows, p.file.Lines, p.file.Whole = append(p.file.Rows, r), append(p.file.Lines, p.number), p.offset
	}
}

// Current returns the last row of each ID, in the file's order: a kernel that was
// changed and measured again counts as it is now.
func (f *File) Current() []Row {
	last := map[string]int{}
	for i, r := range f.Rows {
		last[r.ID()] = i
	}
	var rows []Row
	for i, r := range f.Rows {
		if last[r.ID()] == i {
			rows = append(rows, r)
		}
	}
	return rows
}

type parser struct {
	data   []byte
	offset int64
	number int // of the line last read
	file   *File
}

// line returns the next line without its end; whole is false where the end is missing.
func (p *parser) line() (line string, whole bool) {
	rest := p.data[p.offset:]
	if len(rest) == 0 {
		return "", false
	}
	p.number++
	text, _, whole := bytes.Cut(rest, []byte("\n"))
	p.offset += int64(len(text))
	if whole {
		p.offset++
	}
	return strings.TrimSuffix(string(text), "\r"), whole
}

func (p *parser) errorf(column int, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: %w", p.file.Name, max(p.number, 1), column, fmt.Errorf(format, args...))
}

func (p *parser) header() error {
	if line, whole := p.line(); line != Magic || !whole {
		return p.errorf(1, "the first line is %.60q, must be %q", line, Magic)
	}
	var names []string
	for _, f := range headerFields {
		names = append(names, f.key)
	}
	seen := map[string]bool{}
	var last string
	for {
		line, whole := p.line()
		if !whole {
			return p.errorf(1, "the header is cut off; delete the file and begin again")
		}
		text, comment := strings.CutPrefix(line, "#")
		if !comment {
			last = line
			break
		}
		key, value, ok := strings.Cut(text, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		at := slices.Index(names, key)
		switch {
		case !ok:
			return p.errorf(1, "%q is not `# key: value`", line)
		case at < 0:
			return p.errorf(3, "no header is called %q%s; known are %s", key, didYouMean(key, names), strings.Join(names, ", "))
		case seen[key]:
			return p.errorf(3, "header %s is there twice", key)
		}
		seen[key] = true
		if err := oneLine(value); err != nil {
			return p.errorf(3, "header %s: %w", key, err)
		}
		if err := headerFields[at].set(&p.file.Header, value); err != nil {
			return p.errorf(3, "header %s: %w", key, err)
		}
	}
	for _, n := range names {
		if !seen[n] {
			return p.errorf(1, "no header %q before the columns", n)
		}
	}
	if want := strings.Join(columns, ","); last != want {
		return p.errorf(1, "columns are %.80q, must be %q", last, want)
	}
	p.file.Whole = p.offset
	return nil
}

func (p *parser) row(line string) (Row, error) {
	in := csv.NewReader(strings.NewReader(line))
	in.FieldsPerRecord = -1
	rec, err := in.Read()
	if err != nil {
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			return Row{}, p.errorf(bad.Column, "%w", bad.Err)
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("an empty line")
		}
		return Row{}, p.errorf(1, "%w", err)
	}
	if len(rec) != len(columns) {
		return Row{}, p.errorf(1, "%d columns, must be %d", len(rec), len(columns))
	}
	var r Row
	r.Family, r.Kernel, r.Hash, r.Shape, r.DType, r.Unit, r.Throttle = rec[0], rec[1], rec[2], Shape(rec[3]), rec[4], rec[5], rec[15]
	for _, f := range []struct {
		at    int
		parse func(string) error
	}{
		{6, func(s string) (err error) { r.N, err = parseCount(s); return }},
		{7, func(s string) (err error) { r.Median, err = parseFloat(s); return }},
		{8, func(s string) (err error) { r.Low, err = parseFloat(s); return }},
		{9, func(s string) (err error) { r.High, err = parseFloat(s); return }},
		{10, func(s string) (err error) { r.Within, err = parseBool(s); return }},
		{11, func(s string) (err error) { r.ClockMHz, err = parseCount(orZero(s)); return }},
		{12, func(s string) (err error) { r.MemMHz, err = parseCount(orZero(s)); return }},
		{13, func(s string) (err error) { r.PowerW, err = parseFloat(orZero(s)); return }},
		{14, func(s string) (err error) { r.TempC, err = parseInt(orZero(s)); return }},
		{16, func(s string) (err error) { r.Samples, err = parseFloats(s); return }},
	} {
		if err := f.parse(rec[f.at]); err != nil {
			_, column := in.FieldPos(f.at)
			return Row{}, p.errorf(column, "%s: %w", columns[f.at], err)
		}
	}
	if err := r.valid(); err != nil {
		return Row{}, p.errorf(1, "%w", err)
	}
	return r, nil
}

func parseInt(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no whole number", s)
	}
	return n, nil
}

func parseCount(s string) (int, error) {
	n, err := parseInt(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%.40q is no whole number from 0 up", s)
	}
	return n, nil
}

func parseFloat(s string) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x >= 0) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("%.40q is no number from 0 up", s)
	}
	return x, nil
}

func parseFloats(s string) ([]float64, error) {
	var xs []float64
	for i, text := range strings.Split(s, " ") {
		x, err := parseFloat(text)
		if err != nil {
			return nil, fmt.Errorf("sample %d: %w", i+1, err)
		}
		xs = append(xs, x)
	}
	return xs, nil
}

func parseBool(s string) (bool, error) {
	if err := oneOf(s, []string{"true", "false"}); err != nil {
		return false, err
	}
	return s == "true", nil
}

func oneOf(s string, known []string) error {
	if slices.Contains(known, s) {
		return nil
	}
	return fmt.Errorf("%.40q%s; must be one of %s", s, didYouMean(s, known), strings.Join(known, ", "))
}

func didYouMean(name string, known []string) string {
	if near := unit.Nearest(name, known); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

func sorted(x []float64) []float64 { return slices.Sorted(slices.Values(x)) }
