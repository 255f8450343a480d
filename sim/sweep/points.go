package sweep

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"

	"orrery/scenarios"
)

// Point is one scenario of a sweep.
type Point struct {
	Values []scenarios.Override // what the axes say, in their order; those that do not apply are left out
}

// Points are what a Spec asks for.
type Points struct {
	List     []Point
	Excluded []Excluded // by rule
}

// Excluded counts what a rule left out.
type Excluded struct {
	Reason string `json:"reason"`
	Points int    `json:"points"`
}

// Points makes the points in order: of a grid, the last axis varies fastest.
// Errors name the point at which a formula failed.
func (s *Spec) Points() (*Points, error) {
	w := &walk{s: s, out: &Points{Excluded: []Excluded{}}}
	for _, x := range s.exclude {
		w.out.Excluded = append(w.out.Excluded, Excluded{Reason: x.reason})
	}
	if s.Sample == Grid {
		if s.least() > MaxPoints {
			return nil, s.tooMany()
		}
		if err := w.grid(0, nil, s.written.clone()); err != nil {
			return nil, err
		}
	} else {
		us := s.draw()
		for i := range s.Samples {
			if err := w.sample(us, i); err != nil {
				return nil, err
			}
		}
	}
	if len(w.out.List) == 0 {
		return nil, fmt.Errorf("%s: every point is excluded", s.Name)
	}
	return w.out, nil
}

// least is what the axes that always have the same levels make of a grid.
func (s *Spec) least() int {
	n := 1
	for _, a := range s.Axes {
		if a.when == nil && a.formula == nil && n <= MaxPoints {
			n *= len(a.rows)
		}
	}
	return n
}

func (s *Spec) tooMany() error {
	return fmt.Errorf("%s has more than %d points; sample = \"latin_hypercube\" would do with fewer", s.Name, MaxPoints)
}

type walk struct {
	s    *Spec
	out  *Points
	seen int // points before exclusion
}

// levels are the axis's values at a point; none where it does not apply.
func (a *Axis) levels(at env) (rows [][]any, applies bool, err error) {
	if a.when != nil {
		if applies, err = a.when.holds(at); err != nil || !applies {
			return nil, false, err
		}
	}
	if a.formula == nil {
		return a.rows, true, nil
	}
	list, err := a.formula.list(at, a.kind)
	if err != nil {
		return nil, false, err
	}
	if len(list) > maxLevels {
		return nil, false, fmt.Errorf("%q gives %d values, more than %d", a.formula.text, len(list), maxLevels)
	}
	for _, v := range list {
		rows = append(rows, []any{v})
	}
	return rows, true, nil
}

// apply sets the axis's keys.
func (a *Axis) apply(row []any, values []scenarios.Override, at env) ([]scenarios.Override, error) {
	values = values[:len(values):len(values)] // siblings share what is before
	for i, name := range a.Keys {
		for _, o := range values {
			if o.Key == name {
				return nil, fmt.Errorf("two axes of %s apply", name)
			}
		}
		if a.formula != nil {
			if e := scenarios.CheckValue(name, row[i]); e != nil {
				return nil, fmt.Errorf("%q: %w", a.formula.text, e)
			}
		}
		values = append(values, scenarios.Override{Key: name, Value: row[i]})
		at.set(name, row[i])
	}
	return values, nil
}

// grid walks the axes from i on.
func (w *walk) grid(i int, values []scenarios.Override, at env) error {
	if i == len(w.s.Axes) {
		return w.leaf(values, at)
	}
	a := w.s.Axes[i]
	rows, applies, err := a.levels(at)
	if err != nil {
		return where(values, err)
	}
	if !applies {
		return w.grid(i+1, values, at)
	}
	for _, row := range rows {
		below := at.clone()
		v, err := a.apply(row, values, below)
		if err != nil {
			return where(values, err)
		}
		if err := w.grid(i+1, v, below); err != nil {
			return err
		}
	}
	return nil
}

// sample makes the i-th point of a sample: axis j takes its value at us[j][i].
func (w *walk) sample(us [][]float64, i int) error {
	var values []scenarios.Override
	at := w.s.written.clone()
	for j, a := range w.s.Axes {
		rows, applies, err := a.levels(at)
		if err != nil {
			return where(values, err)
		}
		if !applies {
			continue
		}
		row := []any{nil}
		if u := us[j][i]; a.span != nil {
			row[0] = a.round(a.span.at(u))
		} else {
			row = rows[int(u*float64(len(rows)))]
		}
		v, err := a.apply(row, values, at)
		if err != nil {
			return where(values, err)
		}
		values = v
	}
	return w.leaf(values, at)
}

func (w *walk) leaf(values []scenarios.Override, at env) error {
	if w.seen++; w.seen > MaxPoints {
		return w.s.tooMany()
	}
	for i, x := range w.s.exclude {
		out, err := x.when.holds(at)
		if err != nil {
			return where(values, err)
		}
		if out {
			w.out.Excluded[i].Points++
			return nil
		}
	}
	w.out.List = append(w.out.List, Point{Values: values})
	return nil
}

// where adds the point to an error of a formula.
func where(values []scenarios.Override, err error) error {
	if len(values) == 0 {
		return err
	}
	return fmt.Errorf("at %s: %w", Describe(values), err)
}

// Describe writes "parallel.tp = 8, parallel.pp = 4".
func Describe(values []scenarios.Override) string {
	parts := make([]string, len(values))
	for i, o := range values {
		parts[i] = fmt.Sprintf("%s = %v", o.Key, o.Value)
	}
	return strings.Join(parts, ", ")
}

// draw gives the place of every point on every axis, in [0, 1). A Latin
// hypercube (McKay, Beckman and Conover, Technometrics 21(2), 1979) has one
// point in each of as many strata of each axis. Every axis has its own stream,
// so that one more axis moves none of the others.
func (s *Spec) draw() [][]float64 {
	us := make([][]float64, len(s.Axes))
	for j := range us {
		rng := rand.New(rand.NewPCG(s.Seed, uint64(j)))
		us[j] = make([]float64, s.Samples)
		strata := make([]int, s.Samples)
		if s.Sample == LatinHypercube {
			strata = rng.Perm(s.Samples)
		}
		for i := range us[j] {
			us[j][i] = rng.Float64()
			if s.Sample == LatinHypercube {
				us[j][i] = stratum(strata[i], us[j][i], s.Samples)
			}
		}
	}
	return us
}

// stratum is the point at u of the k-th of n strata; rounding must not lift it
// into the next.
func stratum(k int, u float64, n int) float64 {
	x := (float64(k) + u) / float64(n)
	for int(x*float64(n)) > k {
		x *= 1 - 1e-15
	}
	return x
}

// Map is the values by key.
func (p Point) Map() map[string]any {
	m := make(map[string]any, len(p.Values))
	for _, o := range p.Values {
		m[o.Key] = o.Value
	}
	return m
}

// clone copies what formulas see, table by table.
func (e env) clone() env {
	out := maps.Clone(e)
	for k, v := range out {
		if table, ok := v.(map[string]any); ok {
			out[k] = map[string]any(env(table).clone())
		}
	}
	return out
}
