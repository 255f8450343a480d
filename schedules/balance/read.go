package balance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"orrery/sim/unit"
)

// Entry is the load of one layer of one microbatch.
type Entry struct {
	Microbatch, Layer int
	Load              *Load
}

// maxEntries bounds what a file may hold: entries times their counts.
const maxEntries = 1 << 26

// Read reads loads from a file's text, by the ending of its name:
//
//   - .json: {"loads": [tokens per expert]} or {"loads": [[per source rank][per expert]]}
//   - .csv: a heading and rows of counts; columns expert and tokens, and any of
//     microbatch, layer, source. What has no row has no tokens.
//   - .ids: a line per token of its source rank and its experts; lines that begin
//     with # are comments.
//
// ranks is the number of source ranks: totals per expert are assumed to come from
// all evenly. experts may be 0 where the file says how many there are (it does in
// JSON; else the highest number counts). Errors name the file and the line.
func Read(name string, text []byte, ranks, experts int) ([]Entry, error) {
	if ranks < 1 || ranks > maxRanks || experts < 0 || experts > maxExperts {
		return nil, fmt.Errorf("%s: ranks are %d and experts %d, must be 1 to %d and at most %d", name, ranks, experts, maxRanks, maxExperts)
	}
	r := &reader{name: name, ranks: ranks, experts: experts}
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".json":
		return r.json(text)
	case ".csv":
		return r.csv(text)
	case ".ids":
		return r.ids(text)
	default:
		return nil, fmt.Errorf("%s: loads are read from .json, .csv and .ids, not %q", name, ext)
	}
}

type reader struct {
	name           string
	ranks, experts int
}

// at is an error of a line, counted from 1.
func (r *reader) at(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", r.name, line, fmt.Errorf(format, args...))
}

func (r *reader) json(text []byte) ([]Entry, error) {
	var file struct {
		Loads []json.RawMessage `json:"loads"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, r.at(lineAt(text, dec.InputOffset(), err), `%w; want {"loads": [...]}`, err)
	}
	if dec.More() {
		return nil, r.at(lineAt(text, dec.InputOffset(), nil), "there is more after the first JSON value")
	}
	if len(file.Loads) == 0 {
		return nil, r.at(1, `"loads" is absent or empty`)
	}
	load, err := r.fromJSON(file.Loads)
	if err != nil {
		return nil, r.at(1, "%w", err)
	}
	if r.experts != 0 && r.experts != load.Experts {
		return nil, r.at(1, "loads are of %d experts, there are %d", load.Experts, r.experts)
	}
	return []Entry{{Load: load}}, nil
}

func (r *reader) fromJSON(values []json.RawMessage) (*Load, error) {
	if !bytes.HasPrefix(values[0], []byte("[")) {
		totals := make([]int64, len(values))
		for e, v := range values {
			if err := json.Unmarshal(v, &totals[e]); err != nil {
				return nil, fmt.Errorf("loads[%d] is %.40s, want a whole number of tokens", e, v)
			}
		}
		return SpreadLoad(totals, r.ranks)
	}
	if len(values) != r.ranks {
		return nil, fmt.Errorf("loads are of %d source ranks, there are %d", len(values), r.ranks)
	}
	rows := make([][]int64, len(values))
	for s, v := range values {
		if err := json.Unmarshal(v, &rows[s]); err != nil {
			return nil, fmt.Errorf("loads[%d] is no list of whole numbers of tokens: %w", s, err)
		}
		if len(rows[s]) > maxExperts {
			return nil, fmt.Errorf("loads[%d] are of %d experts, at most %d are taken", s, len(rows[s]), maxExperts)
		}
	}
	return NewLoad(rows)
}

// lineAt is the line where JSON went wrong.
func lineAt(text []byte, offset int64, err error) int {
	if e, ok := err.(*json.SyntaxError); ok { //nolint:errorlint // a decoder returns it bare
		offset = e.Offset
	}
	return 1 + bytes.Count(text[:min(max(offset, 0), int64(len(text)))], []byte("\n"))
}

// counted collects counts of (microbatch, layer).
type counted struct {
	microbatch, layer int
	rows              []countRow
}

type countRow struct {
	line, source, expert int
	tokens               int64
}

var csvColumns = []string{"microbatch", "layer", "source", "expert", "tokens"}

func (r *reader) csv(text []byte) ([]Entry, error) {
	column := map[string]int{}
	var groups []*counted
	found := map[[2]int]*counted{}
	width := 0
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cells := strings.Split(line, ",")
		if width == 0 {
			if err := r.heading(i+1, cells, column); err != nil {
				return nil, err
			}
			width = len(cells)
			continue
		}
		if len(cells) != width {
			return nil, r.at(i+1, "%d cells, the heading has %d", len(cells), width)
		}
		var values [5]int64
		for c, name := range csvColumns {
			at, ok := column[name]
			if !ok {
				continue
			}
			limit := int64(maxRanks)
			if name == "tokens" {
				limit = maxTokens
			}
			n, err := strconv.ParseInt(strings.TrimSpace(cells[at]), 10, 64)
			if err != nil || n < 0 || n >= limit {
				return nil, r.at(i+1, "%s is %q, must be a whole number of 0 to %d", name, cells[at], limit-1)
			}
			values[c] = n
		}
		key := [2]int{int(values[0]), int(values[1])}
		g := found[key]
		if g == nil {
			g = &counted{microbatch: key[0], layer: key[1]}
			found[key] = g
			groups = append(groups, g)
		}
		g.rows = append(g.rows, countRow{i + 1, int(values[2]), int(values[3]), values[4]})
	}
	if len(groups) == 0 {
		return nil, r.at(1, "there are no counts; want a heading of %s and rows", strings.Join(csvColumns, ","))
	}
	_, sourced := column["source"]
	return r.entries(groups, sourced)
}

func (r *reader) heading(line int, cells []string, column map[string]int) error {
	for i, cell := range cells {
		name := strings.ToLower(strings.TrimSpace(cell))
		if !slices.Contains(csvColumns, name) {
			if near := unit.Nearest(name, csvColumns); near != "" {
				return r.at(line, "no column is called %q; did you mean %q?", name, near)
			}
			return r.at(line, "no column is called %q; known are %s", name, strings.Join(csvColumns, ", "))
		}
		if _, twice := column[name]; twice {
			return r.at(line, "column %q is there twice", name)
		}
		column[name] = i
	}
	for _, name := range []string{"expert", "tokens"} {
		if _, ok := column[name]; !ok {
			return r.at(line, "column %q is missing", name)
		}
	}
	return nil
}

// entries makes loads of the counts; each pair of source and expert counts once.
func (r *reader) entries(groups []*counted, sourced bool) ([]Entry, error) {
	experts := r.experts
	for _, g := range groups {
		for _, row := range g.rows {
			switch {
			case r.experts > 0 && row.expert >= r.experts:
				return nil, r.at(row.line, "expert %d is not one of %d, numbered from 0", row.expert, r.experts)
			case row.source >= r.ranks:
				return nil, r.at(row.line, "source %d is not one of %d ranks, numbered from 0", row.source, r.ranks)
			}
			experts = max(experts, row.expert+1)
		}
	}
	if len(groups)*r.ranks*experts > maxEntries {
		return nil, fmt.Errorf("%s: %d loads of %d ranks x %d experts are more counts than %d", r.name, len(groups), r.ranks, experts, maxEntries)
	}
	var out []Entry
	for _, g := range groups {
		rows := 1
		if sourced {
			rows = r.ranks
		}
		tokens := make([]int64, rows*experts)
		seen := make([]bool, rows*experts)
		for _, row := range g.rows {
			at := row.source*experts + row.expert
			if seen[at] {
				return nil, r.at(row.line, "expert %d has its count already", row.expert)
			}
			seen[at] = true
			tokens[at] = row.tokens
		}
		load := &Load{Ranks: r.ranks, Experts: experts, Tokens: tokens}
		err := error(nil)
		if sourced {
			err = load.check()
		} else {
			load, err = SpreadLoad(tokens, r.ranks)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		out = append(out, Entry{g.microbatch, g.layer, load})
	}
	return out, nil
}

// ids counts the experts that tokens chose.
func (r *reader) ids(text []byte) ([]Entry, error) {
	type pair struct{ source, expert int }
	counts := map[pair]int64{}
	experts := max(r.experts, 1)
	k := 0
	for i, line := range strings.Split(string(text), "\n") {
		cells := strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(" \t\r,:", c) })
		if len(cells) == 0 || strings.HasPrefix(cells[0], "#") {
			continue
		}
		if k == 0 {
			k = len(cells)
		}
		if len(cells) != k || k < 2 {
			return nil, r.at(i+1, "%d numbers; want a source rank and %d experts", len(cells), max(k-1, 1))
		}
		numbers := make([]int, k)
		for j, cell := range cells {
			n, err := strconv.Atoi(cell)
			limit, what := maxExperts, "expert"
			if r.experts > 0 {
				limit = r.experts
			}
			if j == 0 {
				limit, what = r.ranks, "source rank"
			}
			if err != nil || n < 0 || n >= limit {
				return nil, r.at(i+1, "%s is %q, must be a whole number of 0 to %d", what, cell, limit-1)
			}
			numbers[j] = n
		}
		for j, e := range numbers[1:] {
			if slices.Contains(numbers[1:j+1], e) {
				return nil, r.at(i+1, "the token chooses expert %d twice", e)
			}
			counts[pair{numbers[0], e}]++
			experts = max(experts, e+1)
		}
	}
	if k == 0 {
		return nil, r.at(1, "there are no tokens; want lines of a source rank and experts")
	}
	load := &Load{Ranks: r.ranks, Experts: experts, Tokens: make([]int64, r.ranks*experts)}
	for p, n := range counts {
		load.Tokens[p.source*experts+p.expert] = n
	}
	return []Entry{{Load: load}}, load.check()
}
