package balance

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"orrery/sim/unit"
)

var balancers = unit.NewRegistry[Balancer]("balancer")

func register(b Balancer) { balancers.Add(b) }

// All lists the balancers, sorted by name.
func All() []Balancer { return balancers.All() }

// Lookup finds a balancer by name, written as [unit.NameKey] allows.
func Lookup(name string) (Balancer, error) { return balancers.Lookup(name) }

// ParseBalancer reads NAME or NAME:KEY=VALUE,KEY=VALUE. What the values may be,
// Start says.
func ParseBalancer(text string) (Balancer, map[string]string, error) {
	name, list, _ := strings.Cut(text, ":")
	b, err := Lookup(name)
	if err != nil {
		return nil, nil, err
	}
	values := map[string]string{}
	if list == "" {
		return b, values, nil
	}
	for _, pair := range strings.Split(list, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			return nil, nil, fmt.Errorf("balancer %s: %q is not of the form key=value", b.Name(), pair)
		}
		if _, twice := values[key]; twice {
			return nil, nil, fmt.Errorf("balancer %s: parameter %q is there twice", b.Name(), key)
		}
		values[key] = value
	}
	if err := (Setup{Params: values}).params(b).err; err != nil {
		return nil, nil, err
	}
	return b, values, nil
}

// params reads a balancer's parameters; the first problem sticks.
type params struct {
	of     string
	values map[string]string
	err    error
}

func (s Setup) params(b Balancer) *params {
	p := &params{of: b.Name(), values: s.Params}
	known := slices.Sorted(maps.Keys(b.Params()))
	for _, key := range slices.Sorted(maps.Keys(s.Params)) {
		if slices.Contains(known, key) {
			continue
		}
		switch near := unit.Nearest(key, known); {
		case len(known) == 0:
			p.err = fmt.Errorf("parameter %q: %s takes none", key, p.of)
		case near != "":
			p.err = fmt.Errorf("parameter %q: %s has none of that name; did you mean %q?", key, p.of, near)
		default:
			p.err = fmt.Errorf("parameter %q: %s has none of that name; it takes %s", key, p.of, strings.Join(known, ", "))
		}
		return p
	}
	return p
}

func (p *params) fail(key, want string) {
	if p.err == nil {
		p.err = fmt.Errorf("parameter %s of %s is %q, must be %s", key, p.of, p.values[key], want)
	}
}

// number reads a decimal of lo to hi.
func (p *params) number(key string, lo, hi, otherwise float64) float64 {
	text, ok := p.values[key]
	if !ok {
		return otherwise
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || !(x >= lo && x <= hi) {
		p.fail(key, fmt.Sprintf("a number of %g to %g", lo, hi))
		return otherwise
	}
	return x
}

// whole reads an integer of lo to hi.
func (p *params) whole(key string, lo, hi, otherwise int) int {
	text, ok := p.values[key]
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < lo || n > hi {
		p.fail(key, fmt.Sprintf("a whole number of %d to %d", lo, hi))
		return otherwise
	}
	return n
}

// truth reads true or false.
func (p *params) truth(key string, otherwise bool) bool {
	text, ok := p.values[key]
	if !ok {
		return otherwise
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		p.fail(key, "true or false")
		return otherwise
	}
	return b
}

// choice reads one of a few words; the first is the default.
func (p *params) choice(key string, words ...string) string {
	text, ok := p.values[key]
	if !ok {
		return words[0]
	}
	if !slices.Contains(words, text) {
		p.fail(key, "one of "+strings.Join(words, ", "))
		return words[0]
	}
	return text
}
