package sweep

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"orrery/sim/unit"
)

// formula is an expression of the scenario's keys in the language of
// expr-lang.org, without what depends on the clock or on the order of a map.
type formula struct {
	text    string
	names   []string // paths of keys that it reads
	program *vm.Program
}

// impure functions give other answers at another time or in another run.
var impure = []string{"now", "date", "timezone", "duration", "keys", "values", "toPairs"}

// function is one that formulas have beside expr's.
type function struct {
	name, doc string
	of        func(args ...any) (any, error)
	types     any
}

var own = []function{
	{"divisors", "`divisors(n)`: the divisors of n, ascending", divisors, new(func(any) []int)},
	{"powers", "`powers(b, from, to)`: from, from x b, from x b x b … up to to", powers, new(func(any, any, any) []int)},
}

// maxDivided bounds the work of divisors.
const maxDivided = 1 << 40

// whole is an integer, or a float that is one: division gives floats.
func whole(v any) (int, error) {
	switch v := v.(type) {
	case int:
		return v, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return int(v), nil
		}
	}
	return 0, fmt.Errorf("%v is not whole", v)
}

func divisors(args ...any) (any, error) {
	n, err := whole(args[0])
	if err != nil {
		return nil, err
	}
	if n < 1 || n > maxDivided {
		return nil, fmt.Errorf("divisors of %d: must be from 1 to 2^40", n)
	}
	var low, high []int
	for d := 1; d <= n/d; d++ {
		if n%d == 0 {
			low = append(low, d)
			if d != n/d {
				high = append(high, n/d)
			}
		}
	}
	slices.Reverse(high)
	return append(low, high...), nil
}

func powers(args ...any) (any, error) {
	b, errB := whole(args[0])
	from, errFrom := whole(args[1])
	to, errTo := whole(args[2])
	if err := errors.Join(errB, errFrom, errTo); err != nil {
		return nil, err
	}
	if b < 2 || from < 1 {
		return nil, fmt.Errorf("powers(%d, %d, %d): the base must be 2 or more and the first power 1 or more", b, from, to)
	}
	out := []int{}
	for n := from; n <= to; n *= b {
		if out = append(out, n); n > to/b {
			break
		}
	}
	return out, nil
}

func options() []expr.Option {
	opts := []expr.Option{expr.Env(map[string]any{}), expr.AllowUndefinedVariables()}
	for _, f := range own {
		opts = append(opts, expr.Function(f.name, f.of, f.types))
	}
	for _, name := range impure {
		opts = append(opts, expr.DisableBuiltin(name))
	}
	return opts
}

// maxFormula bounds a formula's text, in bytes.
const maxFormula = 4096

// newFormula compiles a text. keys are the paths that it may name: an error
// suggests the nearest.
func newFormula(text string, keys []string) (*formula, error) {
	if len(text) > maxFormula {
		return nil, fmt.Errorf("longer than %d characters", maxFormula)
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, short(err)
	}
	f := &formula{text: text}
	v := &paths{at: map[ast.Node]string{}}
	ast.Walk(&tree.Node, v)
	for _, p := range v.used() {
		if slices.Contains(impure, p) {
			return nil, fmt.Errorf("%s is not there: formulas do not depend on the clock or the order of a map", p)
		}
		if !slices.Contains(keys, p) {
			err := fmt.Errorf("%s is not a key of the scenario", p)
			if near := unit.Nearest(p, keys); near != "" {
				err = fmt.Errorf("%w; did you mean %s?", err, near)
			}
			return nil, err
		}
		if !slices.Contains(f.names, p) {
			f.names = append(f.names, p)
		}
	}
	if f.program, err = expr.Compile(text, options()...); err != nil {
		return nil, short(err)
	}
	return f, nil
}

// short is what expr says without its drawing of the place.
func short(err error) error {
	var e *file.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%s (at character %d of the formula)", e.Message, e.Column+1)
	}
	return err
}

// paths finds the dotted names of an expression.
type paths struct {
	order    []ast.Node
	at       map[ast.Node]string // path by node; inner parts of a longer one removed
	declared []string
}

// Visit sees inner nodes before outer ones.
func (p *paths) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		p.put(n, n.Value)
	case *ast.MemberNode:
		inner, ok := p.at[n.Node]
		name, isName := n.Property.(*ast.StringNode)
		if ok && isName {
			delete(p.at, n.Node)
			p.put(n, inner+"."+name.Value)
		}
	case *ast.ChainNode: // a?.b
		if inner, ok := p.at[n.Node]; ok {
			delete(p.at, n.Node)
			p.put(n, inner)
		}
	case *ast.CallNode:
		callee, ok := n.Callee.(*ast.IdentifierNode)
		if ok && slices.ContainsFunc(own, func(f function) bool { return f.name == callee.Value }) {
			delete(p.at, callee)
		}
	case *ast.BuiltinNode:
		if slices.Contains(impure, n.Name) {
			p.put(n, n.Name)
		}
	case *ast.VariableDeclaratorNode:
		p.declared = append(p.declared, n.Name)
	}
}

func (p *paths) put(n ast.Node, path string) {
	p.at[n] = path
	p.order = append(p.order, n)
}

func (p *paths) used() []string {
	var out []string
	for _, n := range p.order {
		if path, ok := p.at[n]; ok {
			if root, _, _ := strings.Cut(path, "."); !slices.Contains(p.declared, root) {
				out = append(out, path)
			}
		}
	}
	return out
}

// env is the values that a formula sees, nested by the parts of their paths.
type env map[string]any

func (e env) set(path string, v any) {
	table := map[string]any(e)
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		sub, ok := table[part].(map[string]any)
		if !ok {
			sub = map[string]any{}
			table[part] = sub
		}
		table = sub
	}
	if n, ok := v.(int64); ok { // expr calculates with int
		v = int(n)
	}
	table[parts[len(parts)-1]] = v
}

func (e env) get(path string) any {
	var v any = map[string]any(e)
	for part := range strings.SplitSeq(path, ".") {
		table, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = table[part]
	}
	return v
}

// run evaluates the formula; keys without a value are nil.
func (f *formula) run(e env) (any, error) {
	v, err := expr.Run(f.program, map[string]any(e))
	if err == nil {
		return v, nil
	}
	for _, name := range f.names {
		if e.get(name) == nil {
			return nil, fmt.Errorf("%q: %s has no value here", f.text, name)
		}
	}
	return nil, fmt.Errorf("%q: %w", f.text, short(err))
}

// holds is run for a condition.
func (f *formula) holds(e env) (bool, error) {
	v, err := f.run(e)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%q is %v, must be true or false", f.text, v)
	}
	return b, nil
}

// list is run for values: a value that is not a list is a list of one. Whole
// floats become integers where the key is one, since division gives floats.
func (f *formula) list(e env, kind string) ([]any, error) {
	v, err := f.run(e)
	if err != nil {
		return nil, err
	}
	out, err := flat(v, kind)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", f.text, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q gives no value", f.text)
	}
	return out, nil
}

func flat(v any, kind string) ([]any, error) {
	var out []any
	switch v := v.(type) {
	case nil:
		return nil, errors.New("gives nil")
	case []any:
		for _, x := range v {
			one, err := plain(x, kind)
			if err != nil {
				return nil, err
			}
			out = append(out, one)
		}
		return out, nil
	case []int:
		for _, n := range v {
			out = append(out, int64(n))
		}
		return out, nil
	}
	one, err := plain(v, kind)
	return []any{one}, err
}

// plain makes a value what TOML would have given.
func plain(v any, kind string) (any, error) {
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case float64:
		if kind == "integer" {
			n, err := whole(v)
			return int64(n), err
		}
		return v, nil
	case bool, string, int64:
		return v, nil
	case []int, []any:
		list, err := flat(v, kind)
		return list, err
	}
	return nil, fmt.Errorf("gives a %T, must give a value or a list of values", v)
}
