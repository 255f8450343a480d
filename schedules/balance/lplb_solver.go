package balance

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"
)

// sharing is LPLB's problem for one group of ranks: some loads may be shared
// between the rank that has them and the one rank that has a copy.
type sharing struct {
	of    topology
	dup   [][]float64 // [rank][slot]: load that may be shared
	fixed []float64   // [rank]: load that may not
	// unit is what loads are divided by: the largest load of an expert. The
	// interior point's steps depend on it.
	unit float64
}

// program is the problem in standard form: minimise z with, for each rank, its own share of dup, the shares it takes over
// and slack add up to z - fixed, and the two shares of every load to 1. Columns
// are own shares, shares given, slacks, z.
func (p *sharing) program() (a *mat.Dense, b, c []float64) {
	g, d := len(p.of), len(p.of[0])
	scale := p.unit
	if scale == 0 {
		scale = 1
	}
	n := g * d
	a, b, c = mat.NewDense(g+n, 2*n+g+1, nil), make([]float64, g+n), make([]float64, 2*n+g+1)
	for i := range g {
		for j := range d {
			own, from := i*d+j, p.of[i][j]
			a.Set(i, own, p.dup[i][j]/scale)
			a.Set(i, n+from*d+j, p.dup[from][j]/scale)
			a.Set(g+own, own, 1)
			a.Set(g+own, n+own, 1)
			b[g+own] = 1
		}
		a.Set(i, 2*n+i, 1)
		a.Set(i, 2*n+g, -1)
		b[i] = -p.fixed[i] / scale
	}
	c[2*n+g] = 1
	return a, b, c
}

// loads are the ranks' under the shares that stay with the owners.
func (p *sharing) loads(shares []float64) []float64 {
	d := len(p.of[0])
	out := append([]float64(nil), p.fixed...)
	for i := range p.of {
		for j, from := range p.of[i] {
			out[i] += p.dup[i][j]*shares[i*d+j] + p.dup[from][j]*(1-shares[from*d+j])
		}
	}
	return out
}

// exact solves the problem by the simplex method: the best that any sharing can do.
func (p *sharing) exact() ([]float64, error) {
	a, b, c := p.program()
	_, x, err := lp.Simplex(c, a, b, 1e-10, nil)
	if err != nil {
		return nil, fmt.Errorf("LPLB's linear program over %d ranks: %w", len(p.of), err)
	}
	return x[:len(p.of)*len(p.of[0])], nil
}

// Constants of LPLB's solver (minilp.cu).
const (
	ipmSteps  = 5
	ipmBigM   = 1000.0
	ipmReach  = 0.999 // of the way to the boundary
	ipmSettle = 0.1   // largest direction at the end
	ipmLeftM  = 1e-4  // most that may remain of the artificial variable
	ipmResid  = 0.05
)

// interiorPoint is LPLB's own solver: five steps of affine scaling from all ones,
// with an artificial variable that makes them feasible. Where it does not
// settle, every load is halved and ok is false.
func (p *sharing) interiorPoint() (shares []float64, ok bool) {
	dense, b, c := p.program()
	rows, cols := dense.Dims()
	a := columnsOf(dense)
	artificial := make([]entry, rows)
	for i := range rows {
		artificial[i] = entry{int32(i), b[i] - mat.Sum(dense.RowView(i))}
	}
	a, c = append(a, artificial), append(c, ipmBigM)
	s := newScaling(a, c, rows)
	last := 0.0
	for range ipmSteps {
		if !s.direction() {
			return p.halves(), false
		}
		last = max(0, slices.Max(s.d))
		if last == 0 { // nothing shrinks: at the optimum
			break
		}
		for i := range s.x {
			s.x[i] *= 1 - ipmReach/last*s.d[i]
		}
	}
	left := s.x[cols]
	if last >= ipmSettle || left < 0 || left >= ipmLeftM || residual(dense, s.x[:cols], b) >= ipmResid {
		return p.halves(), false
	}
	return s.x[:len(p.of)*len(p.of[0])], true
}

func (p *sharing) halves() []float64 {
	out := make([]float64, len(p.of)*len(p.of[0]))
	for i := range out {
		out[i] = 0.5
	}
	return out
}

// entry is a coefficient of a column. Nearly all columns have two, so that products
// with the matrix go by columns.
type entry struct {
	row   int32
	value float64
}

func columnsOf(m *mat.Dense) [][]entry {
	rows, cols := m.Dims()
	out, room := make([][]entry, cols, cols+1), make([]entry, 2*cols)
	for j := range out {
		out[j] = room[2*j : 2*j : 2*j+2]
	}
	for i := range rows {
		for j, v := range m.RawRowView(i) {
			if v != 0 {
				out[j] = append(out[j], entry{int32(i), v})
			}
		}
	}
	return out
}

// scaling is a run of affine scaling: A by columns, c, and the point x.
type scaling struct {
	a       [][]entry
	c, x, d []float64
	m       *mat.SymDense
	rhs, y  *mat.VecDense
	chol    mat.Cholesky
}

func newScaling(a [][]entry, c []float64, rows int) *scaling {
	s := &scaling{a: a, c: c, x: make([]float64, len(a)), d: make([]float64, len(a)),
		m: mat.NewSymDense(rows, nil), rhs: mat.NewVecDense(rows, nil), y: mat.NewVecDense(rows, nil)}
	for i := range s.x {
		s.x[i] = 1
	}
	return s
}

// direction solves (A X^2 A') y = A X^2 c and sets d = X (c - A'y).
func (s *scaling) direction() bool {
	m, rhs, y := s.m.RawSymmetric(), s.rhs.RawVector().Data, s.y.RawVector().Data
	clear(m.Data)
	clear(rhs)
	for j, column := range s.a {
		w := s.x[j] * s.x[j]
		for i, e := range column {
			rhs[e.row] += w * e.value * s.c[j]
			into := m.Data[int(e.row)*m.Stride:]
			for _, f := range column[i:] { // rows ascend: the upper triangle
				into[f.row] += w * e.value * f.value
			}
		}
	}
	if !s.chol.Factorize(s.m) || s.chol.SolveVecTo(s.y, s.rhs) != nil {
		return false
	}
	for j, column := range s.a {
		s.d[j] = s.c[j]
		for _, e := range column {
			s.d[j] -= e.value * y[e.row]
		}
		s.d[j] *= s.x[j]
	}
	return true
}

// residual is the largest violation of A x = b.
func residual(a *mat.Dense, x, b []float64) float64 {
	var ax mat.VecDense
	ax.MulVec(a, mat.NewVecDense(len(x), x))
	worst := 0.0
	for i, v := range b {
		worst = max(worst, v-ax.AtVec(i), ax.AtVec(i)-v)
	}
	return worst
}
