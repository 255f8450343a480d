package models

import (
	"fmt"
	"slices"
	"strings"
)

// catalogue maps names to models, alias to the name it stands for. Files of
// model families fill both when the program starts.
var (
	catalogue = map[string]*Model{}
	aliases   = map[string]string{}
)

// register puts a model into the catalogue; alias are other names of it.
func register(m Model, alias ...string) {
	catalogue[m.Name] = &m
	for _, a := range alias {
		aliases[normalise(a)] = m.Name
	}
}

// Names lists the catalogue in alphabetical order, without aliases.
func Names() []string {
	names := make([]string, 0, len(catalogue))
	for n := range catalogue {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Lookup returns a copy of a model of the catalogue. Letter case does not matter
// and '_' is '-'. The error of an unknown name suggests the nearest one.
func Lookup(name string) (*Model, error) {
	key := normalise(name)
	for n := range catalogue {
		if normalise(n) == key {
			return catalogue[n].Clone(), nil
		}
	}
	if n, ok := aliases[key]; ok {
		return catalogue[n].Clone(), nil
	}
	if near := nearest(key); near != "" {
		return nil, fmt.Errorf("no model is called %q; did you mean %q?", name, near)
	}
	return nil, fmt.Errorf("no model is called %q; known are %s", name, strings.Join(Names(), ", "))
}

func normalise(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
}

// nearest is the name or alias with the fewest edits from key, the first in the
// alphabet of several, or "" where more than a third would have to change.
func nearest(key string) string {
	known := Names()
	for a := range aliases {
		known = append(known, a)
	}
	slices.Sort(known)
	best, edits := "", len(key)/3+1
	for _, n := range known {
		if d := editDistance(key, normalise(n)); d < edits {
			best, edits = n, d
		}
	}
	return best
}

// editDistance is the number of bytes to insert, delete or replace (Levenshtein,
// by rows).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
