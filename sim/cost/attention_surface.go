package cost

import (
	"math"
	"sort"
)

// Coords places a kernel's shape in the space of a Surface: feature names and
// values, most of them base-2 logarithms of sizes.
type Coords map[string]float64

// Surface is a smooth correction of a physical model: the sum of small
// multilinear lattices, each over one to three features. Its value is the
// natural logarithm of measured over modelled time. Beyond the outer knots it
// stays constant, so an extrapolated price keeps the shape of the physical model.
type Surface []Lattice

// Lattice holds values on the grid of its axes, the last axis varying fastest.
type Lattice struct {
	Axes   []Axis    `json:"axes"`
	Values []float64 `json:"values"`
}

// Axis is one feature and its ascending knots.
type Axis struct {
	Feature string    `json:"feature"`
	Knots   []float64 `json:"knots"`
	// Saturates: the effect is over beyond the outer knots, so that values there
	// count as measured.
	Saturates bool `json:"saturates,omitempty"`
}

// At evaluates the surface.
func (s Surface) At(c Coords) float64 {
	sum := 0.0
	for _, l := range s {
		l.Corners(c, func(i int, w float64) { sum += w * l.Values[i] })
	}
	return sum
}

// Corners calls f with the index and the weight of each grid point that takes
// part in the interpolation at c. The weights sum to one.
func (l Lattice) Corners(c Coords, f func(index int, weight float64)) {
	var visit func(axis, index int, weight float64)
	visit = func(axis, index int, weight float64) {
		if axis == len(l.Axes) {
			f(index, weight)
			return
		}
		a := l.Axes[axis]
		i, w := a.locate(c[a.Feature])
		if w < 1 {
			visit(axis+1, index*len(a.Knots)+i, weight*(1-w))
		}
		if w > 0 {
			visit(axis+1, index*len(a.Knots)+i+1, weight*w)
		}
	}
	visit(0, 0, 1)
}

// Size is the number of grid points.
func (l Lattice) Size() int {
	n := 1
	for _, a := range l.Axes {
		n *= len(a.Knots)
	}
	return n
}

// locate finds the interval of x and the weight of its upper knot.
func (a Axis) locate(x float64) (int, float64) {
	k := a.Knots
	last := len(k) - 1
	switch {
	case last == 0 || !(x > k[0]): // also NaN
		return 0, 0
	case x >= k[last]:
		return last - 1, 1
	}
	i := sort.SearchFloat64s(k, x)
	if k[i] == x {
		return i - 1, 1
	}
	return i - 1, (x - k[i-1]) / (k[i] - k[i-1])
}

// Beyond returns the feature that lies farthest outside the widest axis over it,
// and by how much; zero where c is inside.
func (s Surface) Beyond(c Coords) (feature string, by float64) {
	const slack = 0.05 // log2: five per cent in a size is still the same place
	for _, l := range s {
		for _, a := range l.Axes {
			if a.Saturates {
				continue
			}
			lo, hi := s.span(a.Feature)
			x := c[a.Feature]
			if d := max(lo-x, x-hi) - slack; d > by {
				feature, by = a.Feature, d
			}
		}
	}
	return feature, by
}

// span returns the outermost knots over a feature.
func (s Surface) span(feature string) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, l := range s {
		for _, a := range l.Axes {
			if a.Feature == feature {
				lo, hi = min(lo, a.Knots[0]), max(hi, a.Knots[len(a.Knots)-1])
			}
		}
	}
	return lo, hi
}

// ErrorBand gives the half width of the 90 % interval by size class: RelErr[i]
// holds for prices below Below[i] microseconds, the last for all others. It is
// measured on rows held out of the fit.
type ErrorBand struct {
	Below  []float64 `json:"below_us"`
	RelErr []float64 `json:"rel_err"`
}

// At returns the relative error of a price in microseconds.
func (b ErrorBand) At(us float64) float64 {
	if len(b.RelErr) == 0 {
		return 0.5 // an unvalidated model
	}
	i := sort.Search(len(b.Below), func(i int) bool { return us < b.Below[i] })
	return b.RelErr[min(i, len(b.RelErr)-1)]
}
