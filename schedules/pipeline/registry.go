package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"orrery/sim/unit"
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
	if near := unit.Nearest(key, known); near != "" {
		return nil, fmt.Errorf("no schedule is called %q; did you mean %q?", name, near)
	}
	return nil, fmt.Errorf("no schedule is called %q; known are %s", name, strings.Join(known, ", "))
}

func normalise(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "_")
}
