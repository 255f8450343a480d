// Package verify runs published measurements through the simulator and holds
// its predictions against them.
package verify

import (
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Row is one published measurement: the columns of published_runs.csv as they
// stand. A blank is unknown.
type Row map[string]string

// columns that a file must have to be read as published runs.
var columns = strings.Split("id,source,gpu,n_gpus,node_size,intra_bw,inter_bw,model,layers,seq,gbs,mbs,tp,pp,vpp,cp,ep,dp,schedule,recompute,precision,zero,metric,value,notes", ",")

// Read reads published runs; name is used in errors.
func Read(name string, r io.Reader) ([]Row, error) {
	cr := csv.NewReader(r)
	head, err := cr.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	have := map[string]bool{}
	for _, h := range head {
		have[h] = true
	}
	for _, c := range columns {
		if !have[c] {
			return nil, fmt.Errorf("%s:1: column %q is missing; the columns are those of published_runs.csv", name, c)
		}
	}
	var rows []Row
	for {
		rec, err := cr.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		row := Row{}
		for i, h := range head {
			row[h] = strings.TrimSpace(rec[i])
		}
		rows = append(rows, row)
	}
}

// int parses a column; 0 where it is blank.
func (r Row) int(col string) (int64, error) {
	if r[col] == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(r[col], 64)
	if err != nil || f != float64(int64(f)) || f < 0 {
		return 0, fmt.Errorf("column %s: %q is not a whole number", col, r[col])
	}
	return int64(f), nil
}

// note finds "key=number" in the notes.
func (r Row) note(key string) (float64, bool) {
	m := regexp.MustCompile(`(?:^|[ ;,])` + regexp.QuoteMeta(key) + `=([0-9.]+)`).FindStringSubmatch(r["notes"])
	if m == nil {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(m[1], "."), 64)
	return f, err == nil
}

// says reports whether the notes hold a word, whatever its case.
func (r Row) says(word string) bool {
	return strings.Contains(strings.ToLower(r["notes"]), strings.ToLower(word))
}

// from reports whether the source's name contains a word.
func (r Row) from(word string) bool { return strings.Contains(r["source"], word) }
