package hw

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"orrery/sim/unit"
)

// registry holds things by name and alias. Files add to it from init; what goes
// wrong there is kept for a test to report instead of stopping the program.
type registry[T any] struct {
	kind     string
	byName   map[string]*T
	byKey    map[string]*T // normalised names and aliases
	problems []error
}

func newRegistry[T any](kind string) *registry[T] {
	return &registry[T]{kind: kind, byName: map[string]*T{}, byKey: map[string]*T{}}
}

var (
	gpus  = newRegistry[GPU]("GPU")
	nodes = newRegistry[Node]("node")
)

func registerGPU(g GPU)   { gpus.add(&g, g.Name, g.Aliases) }
func registerNode(n Node) { nodes.add(&n, n.Name, n.Aliases) }

func (r *registry[T]) add(item *T, name string, aliases []string) {
	for _, key := range append([]string{name}, aliases...) {
		key = normalise(key)
		if _, taken := r.byKey[key]; taken || key == "" {
			r.problems = append(r.problems, fmt.Errorf("%s %q: the name %q is empty or taken", r.kind, name, key))
			continue
		}
		r.byKey[key] = item
	}
	r.byName[name] = item
}

func (r *registry[T]) err() error { return errors.Join(r.problems...) }

func (r *registry[T]) names() []string { return slices.Sorted(maps.Keys(r.byName)) }

func (r *registry[T]) lookup(name string) (*T, error) {
	key := normalise(name)
	if item, ok := r.byKey[key]; ok {
		return item, nil
	}
	if near := unit.Nearest(key, slices.Sorted(maps.Keys(r.byKey))); near != "" {
		return nil, fmt.Errorf("no %s is called %q; did you mean %q?", r.kind, name, near)
	}
	return nil, fmt.Errorf("no %s is called %q; known are %s", r.kind, name, strings.Join(r.names(), ", "))
}

// normalise makes "H100 SXM", "h100_sxm" and "NVIDIA h100-sxm" the same key.
func normalise(name string) string {
	s := strings.ToLower(strings.TrimSpace(name))
	s = strings.NewReplacer(" ", "-", "_", "-").Replace(s)
	return strings.TrimPrefix(s, "nvidia-")
}

// GPUNames lists the GPUs, sorted.
func GPUNames() []string { return gpus.names() }

// LookupGPU finds a GPU by name or alias; case, blanks and underscores do not
// matter. The result is shared: do not write to it. The error of an unknown
// name suggests the nearest one.
func LookupGPU(name string) (*GPU, error) { return gpus.lookup(name) }

// NodeNames lists the nodes, sorted.
func NodeNames() []string { return nodes.names() }

// LookupNode finds a node as LookupGPU finds a GPU.
func LookupNode(name string) (*Node, error) { return nodes.lookup(name) }

// DefaultNode is the node that the GPU (name or alias) is usually sold in: the
// first by name of those that hold it.
func DefaultNode(gpu string) (*Node, error) {
	g, err := LookupGPU(gpu)
	if err != nil {
		return nil, err
	}
	for _, name := range nodes.names() {
		if n := nodes.byName[name]; n.GPU == g.Name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node holds the GPU %s; known are %s", g.Name, strings.Join(nodes.names(), ", "))
}
