package models

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"orrery/sim/unit"
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
	if near := unit.Nearest(key, append(Names(), slices.Sorted(maps.Keys(aliases))...)); near != "" {
		return nil, fmt.Errorf("no model is called %q; did you mean %q?", name, near)
	}
	return nil, fmt.Errorf("no model is called %q; known are %s", name, strings.Join(Names(), ", "))
}

func normalise(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
}
