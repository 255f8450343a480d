package unit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Named is what a [Registry] holds.
type Named interface{ Name() string }

// Registry holds what adds itself by name from init. What goes wrong there is kept
// for a test to report instead of stopping the program.
type Registry[T Named] struct {
	kind     string
	members  map[string]T // by key
	problems []error
}

// NewRegistry is an empty registry; errors call a member by kind ("schedule").
func NewRegistry[T Named](kind string) *Registry[T] {
	return &Registry[T]{kind: kind, members: map[string]T{}}
}

// Add registers a member.
func (r *Registry[T]) Add(member T) {
	key := NameKey(member.Name())
	if _, taken := r.members[key]; taken || key == "" {
		r.problems = append(r.problems, fmt.Errorf("the %s name %q is empty or taken", r.kind, member.Name()))
		return
	}
	r.members[key] = member
}

// Err is nil where every registered name was free.
func (r *Registry[T]) Err() error { return errors.Join(r.problems...) }

// All lists the members, sorted by name.
func (r *Registry[T]) All() []T {
	out := make([]T, 0, len(r.members))
	for _, key := range slices.Sorted(maps.Keys(r.members)) {
		out = append(out, r.members[key])
	}
	return out
}

// Lookup finds a member by name, written as [NameKey] allows.
func (r *Registry[T]) Lookup(name string) (T, error) {
	member, ok := r.members[NameKey(name)]
	if !ok {
		return member, UnknownName(r.kind, name, slices.Sorted(maps.Keys(r.members)))
	}
	return member, nil
}

var nameKey = strings.NewReplacer("-", "_", "+", "_plus")

// NameKey is what a name is looked up by: case does not matter, a hyphen serves for
// an underscore and a plus sign for "_plus".
func NameKey(name string) string {
	return nameKey.Replace(strings.ToLower(strings.TrimSpace(name)))
}

// UnknownName is the error of a name that none of a kind has; it suggests the
// nearest of the known ones or lists them.
func UnknownName(kind, name string, known []string) error {
	if near := Nearest(NameKey(name), known); near != "" {
		return fmt.Errorf("no %s is called %q; did you mean %q?", kind, name, near)
	}
	return fmt.Errorf("no %s is called %q; known are %s", kind, name, strings.Join(known, ", "))
}
