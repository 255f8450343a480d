package calibrate

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/mat"

	"orrery/sim/cost"
)

// The machinery that attention and expert layers share: a physical model with a
// few positive parameters, then a smooth correction of its logarithmic errors,
// then error bars from rows that neither has seen.

// weightOf a row in a fit: launches below 20 us are dominated by what the
// simulator does not ask about, so they only keep the model from drifting.
func weightOf(micros float64) float64 {
	if micros < 20 {
		return 0.1
	}
	return 1
}

// fitPositive finds positive parameters that minimise the robust (soft-L1, scale
// 0.1) error of log(model/measured), by Levenberg-Marquardt on the logarithms of
// the parameters (Nocedal and Wright, Numerical Optimization, 10.3). start gives
// their order of magnitude; a weak pull towards it keeps parameters in place that
// the rows do not determine. It also returns the loss, to compare models with.
func fitPositive(start []float64, micros []float64, model func(row int, p []float64) float64) (fitted []float64, loss float64, err error) {
	const rowsUsed, scale, pull, rounds = 3000, 0.1, 0.03, 60
	stride := 1 + len(micros)/rowsUsed
	n := len(start)
	params := func(x []float64) []float64 {
		p := make([]float64, n)
		for i, v := range x {
			p[i] = start[i] * math.Exp(v)
		}
		return p
	}
	// errors returns log(model/measured)/scale for the rows used and the loss.
	errors := func(x []float64) (r []float64, loss float64) {
		p := params(x)
		for i := 0; i < len(micros); i += stride {
			e := math.Log(model(i, p)/micros[i]) / scale
			r = append(r, e)
			loss += weightOf(micros[i]) * 2 * (math.Sqrt(1+e*e) - 1)
		}
		for _, v := range x {
			loss += pull * v * v
		}
		return r, loss
	}
	x := make([]float64, n)
	r, loss := errors(x)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return nil, 0, fmt.Errorf("physical model: no finite error at the start")
	}
	damping := 1e-2
	for range rounds {
		jacobian := make([][]float64, n)
		for j := range n {
			const h = 1e-4
			moved := slices.Clone(x)
			moved[j] += h
			rj, _ := errors(moved)
			for i := range rj {
				rj[i] = (rj[i] - r[i]) / h
			}
			jacobian[j] = rj
		}
		normal := mat.NewSymDense(n, nil)
		gradient := mat.NewVecDense(n, nil)
		for j := range n {
			for k := j; k < n; k++ {
				sum := 0.0
				for i := range r {
					sum += rowWeight(micros[i*stride], r[i]) * jacobian[j][i] * jacobian[k][i]
				}
				normal.SetSym(j, k, sum)
			}
			sum := -pull * x[j]
			for i := range r {
				sum -= rowWeight(micros[i*stride], r[i]) * jacobian[j][i] * r[i]
			}
			gradient.SetVec(j, sum)
		}
		improved := false
		for ; damping < 1e8; damping *= 4 {
			damped := mat.NewSymDense(n, nil)
			damped.CopySym(normal)
			for j := range n {
				damped.SetSym(j, j, normal.At(j, j)*(1+damping)+pull)
			}
			var chol mat.Cholesky
			step := mat.NewVecDense(n, nil)
			if !chol.Factorize(damped) || chol.SolveVecTo(step, gradient) != nil {
				continue
			}
			next := slices.Clone(x)
			for j := range n {
				next[j] += max(-1, min(1, step.AtVec(j))) // at most a factor e at a time
			}
			if rn, ln := errors(next); ln < loss {
				improved = loss-ln > 1e-7*loss
				x, r, loss = next, rn, ln
				damping = max(damping/10, 1e-9)
				break
			}
		}
		if !improved {
			break
		}
	}
	return params(x), loss, nil
}

// rowWeight is the weight of a squared residual that gives the soft-L1 loss.
func rowWeight(micros, residual float64) float64 {
	return weightOf(micros) / math.Sqrt(1+residual*residual)
}

// axis and lattice are shorthands for the layout of a surface.
func axis(feature string, knots ...float64) cost.Axis {
	return cost.Axis{Feature: feature, Knots: knots}
}

func lattice(axes ...cost.Axis) cost.Lattice { return cost.Lattice{Axes: axes} }

// fitSurface fills the values of a layout so that it follows the targets
// (logarithms of measured over modelled). It is a ridge regression with a
// penalty on differences between neighbours, made robust by Huber weights.
func fitSurface(layout cost.Surface, at []cost.Coords, target, weight []float64) (cost.Surface, error) {
	const ridge, smooth, rounds = 1.0, 1.0, 6
	type entry struct {
		index  int
		weight float64
	}
	size := 0
	offsets := make([]int, len(layout))
	for i, l := range layout {
		offsets[i] = size
		size += l.Size()
	}
	rows := make([][]entry, len(at))
	for r, c := range at {
		for i, l := range layout {
			l.Corners(c, func(k int, w float64) { rows[r] = append(rows[r], entry{offsets[i] + k, w}) })
		}
	}
	penalty := mat.NewSymDense(size, nil)
	for i := range size {
		penalty.SetSym(i, i, ridge)
	}
	for i, l := range layout {
		stride := l.Size()
		for _, a := range l.Axes {
			n := len(a.Knots)
			stride /= n
			for k := range l.Size() {
				if k/stride%n == n-1 {
					continue
				}
				p, q := offsets[i]+k, offsets[i]+k+stride
				penalty.SetSym(p, p, penalty.At(p, p)+smooth)
				penalty.SetSym(q, q, penalty.At(q, q)+smooth)
				penalty.SetSym(p, q, penalty.At(p, q)-smooth)
			}
		}
	}
	values := mat.NewVecDense(size, nil)
	residual := slices.Clone(target)
	robust := slices.Clone(weight)
	for range rounds {
		normal := mat.NewSymDense(size, nil)
		normal.CopySym(penalty)
		raw := normal.RawSymmetric()
		right := mat.NewVecDense(size, nil)
		for r, es := range rows {
			w := robust[r]
			for _, a := range es {
				right.SetVec(a.index, right.AtVec(a.index)+w*a.weight*target[r])
				for _, b := range es {
					if b.index >= a.index {
						raw.Data[a.index*raw.Stride+b.index] += w * a.weight * b.weight
					}
				}
			}
		}
		var chol mat.Cholesky
		if !chol.Factorize(normal) {
			return nil, fmt.Errorf("correction: normal matrix of %d values is singular", size)
		}
		if err := chol.SolveVecTo(values, right); err != nil {
			return nil, fmt.Errorf("correction: %w", err)
		}
		abs := make([]float64, len(rows))
		for r, es := range rows {
			residual[r] = target[r]
			for _, e := range es {
				residual[r] -= e.weight * values.AtVec(e.index)
			}
			abs[r] = math.Abs(residual[r])
		}
		limit := 1.5*quantile(abs, 0.5) + 1e-3
		for r := range rows {
			robust[r] = weight[r] * min(1, limit/max(abs[r], 1e-9))
		}
	}
	out := make(cost.Surface, len(layout))
	for i, l := range layout {
		out[i] = cost.Lattice{Axes: l.Axes, Values: make([]float64, l.Size())}
		for k := range out[i].Values {
			out[i].Values[k] = round4(values.AtVec(offsets[i] + k))
		}
	}
	return out, nil
}

// quantile of an unsorted sample; zero for an empty one.
func quantile(x []float64, q float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// round4 keeps four significant digits: a profile is a fit, not a table.
func round4(x float64) float64 {
	if math.Abs(x) < 1e-4 {
		return 0 // 0.01 % in a price
	}
	v, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64)
	if err != nil {
		return x
	}
	return v
}
