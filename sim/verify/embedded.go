package verify

import (
	_ "embed" // published runs
	"fmt"
	"strings"
)

// Embedded is a small set of published runs: facts transcribed with their
// sources, in the columns of published_runs.csv.
//
//go:embed runs.csv
var Embedded []byte

// Filter keeps the rows whose columns have the values given as column=value.
func Filter(rows []Row, filters []string) ([]Row, error) {
	for _, f := range filters {
		col, val, ok := strings.Cut(f, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not column=value", f)
		}
		if len(rows) > 0 {
			if _, ok := rows[0][col]; !ok {
				return nil, fmt.Errorf("no column %q", col)
			}
		}
		var kept []Row
		for _, r := range rows {
			if strings.EqualFold(r[col], val) {
				kept = append(kept, r)
			}
		}
		rows = kept
	}
	return rows, nil
}
