package balance

import (
	"fmt"

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
	a0, b, c0 := p.program()
	rows, cols := a0.Dims()
	a := mat.NewDense(rows, cols+1, nil)
	a.Copy(a0)
	c := append(append([]float64(nil), c0...), ipmBigM)
	x := make([]float64, cols+1)
	for i := range x {
		x[i] = 1
	}
	for i := range rows {
		sum := 0.0
		for j := range cols {
			sum += a.At(i, j)
		}
		a.Set(i, cols, b[i]-sum)
	}
	last := 0.0
	for range ipmSteps {
		d, solved := affineDirection(a, c, x)
		if !solved {
			return p.halves(), false
		}
		last = 0
		for _, v := range d {
			last = max(last, v)
		}
		if last <= 0 { // nothing shrinks: at the optimum
			break
		}
		for i := range x {
			x[i] *= 1 - ipmReach/last*d[i]
		}
	}
	left := x[cols]
	if last >= ipmSettle || left < 0 || left >= ipmLeftM || residual(a0, x[:cols], b) >= ipmResid {
		return p.halves(), false
	}
	return x[:len(p.of)*len(p.of[0])], true
}

func (p *sharing) halves() []float64 {
	out := make([]float64, len(p.of)*len(p.of[0]))
	for i := range out {
		out[i] = 0.5
	}
	return out
}

// affineDirection solves (A X^2 A') y = A X^2 c and returns X (c - A'y).
func affineDirection(a *mat.Dense, c, x []float64) (d []float64, ok bool) {
	rows, cols := a.Dims()
	ax := mat.NewDense(rows, cols, nil)
	ax.Apply(func(_, j int, v float64) float64 { return v * x[j] }, a)
	var m mat.SymDense
	m.SymOuterK(1, ax)
	xc := mat.NewVecDense(cols, nil)
	for j := range cols {
		xc.SetVec(j, x[j]*c[j])
	}
	var rhs, y, back mat.VecDense
	rhs.MulVec(ax, xc)
	var chol mat.Cholesky
	if !chol.Factorize(&m) || chol.SolveVecTo(&y, &rhs) != nil {
		return nil, false
	}
	back.MulVec(ax.T(), &y)
	d = make([]float64, cols)
	for j := range d {
		d[j] = xc.AtVec(j) - back.AtVec(j)
	}
	return d, true
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
