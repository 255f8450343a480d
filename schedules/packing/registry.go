package packing

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"orrery/sim/unit"
)

// The registry. Packers add themselves from init; what goes wrong there is kept
// for a test to report instead of stopping the program.
var (
	packers          = map[string]Packer{} // by normalised name
	registryProblems []error
)

func register(p Packer) {
	key := normalise(p.Name())
	if _, taken := packers[key]; taken || key == "" {
		registryProblems = append(registryProblems, fmt.Errorf("the packer name %q is empty or taken", p.Name()))
		return
	}
	packers[key] = p
}

// registryErr is nil where every registered name was free.
func registryErr() error { return errors.Join(registryProblems...) }

// All lists the packers, sorted by name.
func All() []Packer {
	out := make([]Packer, 0, len(packers))
	for _, key := range slices.Sorted(maps.Keys(packers)) {
		out = append(out, packers[key])
	}
	return out
}

// Lookup finds a packer by name; case does not matter and a hyphen serves for
// an underscore. The error of an unknown name suggests the nearest one.
func Lookup(name string) (Packer, error) {
	key := normalise(name)
	if p, ok := packers[key]; ok {
		return p, nil
	}
	known := slices.Sorted(maps.Keys(packers))
	if near := unit.Nearest(key, known); near != "" {
		return nil, fmt.Errorf("no packer is called %q; did you mean %q?", name, near)
	}
	return nil, fmt.Errorf("no packer is called %q; known are %s", name, strings.Join(known, ", "))
}

func normalise(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "_")
}
