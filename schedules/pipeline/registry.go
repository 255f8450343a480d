package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The registry. Schedules add themselves from init; what goes wrong there is
// kept for a test to report instead of stopping the program.
var (
	schedules        = map[string]Schedule{} // by normalised name
	registryProblems []error
)

func register(s Schedule) {
	key := normalise(s.Name())
	if _, taken := schedules[key]; taken || key == "" {
		registryProblems = append(registryProblems, fmt.Errorf("the schedule name %q is empty or taken", s.Name()))
		return
	}
	schedules[key] = s
}

// registryErr is nil where every registered name was free.
func registryErr() error { return errors.Join(registryProblems...) }

// All lists the schedules, sorted by name.
func All() []Schedule {
	out := make([]Schedule, 0, len(schedules))
	for _, key := range slices.Sorted(maps.Keys(schedules)) {
		out = append(out, schedules[key])
	}
	return out
}

// Lookup finds a schedule by name; case does not matter and a hyphen serves for
// an underscore. The error of an unknown name suggests the nearest one.
func Lookup(name string) (Schedule, error) {
	key := normalise(name)
	if s, ok := schedules[key]; ok {
		return s, nil
	}
	known := slices.Sorted(maps.Keys(schedules))
	if near := nearest(key, known); near != "" {
		return nil, fmt.Errorf("no schedule is called %q; did you mean %q?", name, near)
	}
	return nil, fmt.Errorf("no schedule is called %q; known are %s", name, strings.Join(known, ", "))
}

func normalise(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "_")
}

// nearest returns the known name that contains name or is contained in it, else
// the one with the smallest edit distance (Levenshtein, in bytes), or "" where
// none is close.
func nearest(name string, known []string) string {
	best, bestDist := "", max(2, len(name)/3)+1
	for _, k := range known {
		if len(name) > 2 && (strings.Contains(k, name) || strings.Contains(name, k)) {
			return k
		}
		if d := editDistance(name, k); d < bestDist && d < len(k) {
			best, bestDist = k, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, substituted)
		}
	}
	return row[len(b)]
}
