package net

import (
	"fmt"
	"slices"
)

// Dim is one dimension of a rank grid: "tp" of 8.
type Dim struct {
	Name string
	Size int
}

// Grid numbers the ranks of a parallel job: a mixed-radix count whose first
// dimension runs fastest, as Megatron's order "tp-cp-ep-dp-pp" does
// (megatron/core/parallel_state.py, RankGenerator). The ranks that differ only
// in one dimension, or in some, are a group.
type Grid struct {
	dims   []Dim
	stride []int
	ranks  int
}

// maxRanks bounds a grid far above any machine.
const maxRanks = 1 << 30

// NewGrid makes a grid of dimensions, fastest first. Sizes are at least one and
// names differ.
func NewGrid(dims []Dim) (Grid, error) {
	g := Grid{dims: slices.Clone(dims), stride: make([]int, len(dims)), ranks: 1}
	for i, d := range dims {
		if d.Size < 1 {
			return Grid{}, fmt.Errorf("rank grid: %s has a size of %d: want at least one", d.Name, d.Size)
		}
		if d.Name == "" || slices.ContainsFunc(dims[:i], func(e Dim) bool { return e.Name == d.Name }) {
			return Grid{}, fmt.Errorf("rank grid: dimension %d is called %q: want a name of its own", i, d.Name)
		}
		if d.Size > maxRanks/g.ranks {
			return Grid{}, fmt.Errorf("rank grid: more than %d ranks", maxRanks)
		}
		g.stride[i] = g.ranks
		g.ranks *= d.Size
	}
	return g, nil
}

// NewExpertGrid is the grid that expert layers see of the same world of ranks:
// expert tensor parallelism fastest, then expert parallelism, then the replicas
// of the experts, and pipeline stages outermost. Expert parallelism thus folds
// over the data-, context- and tensor-parallel ranks of a stage (Liu et al.,
// MoE Parallel Folding, arXiv:2504.14960). Dimensions are etp, ep, edp, pp.
func NewExpertGrid(world, etp, ep, pp int) (Grid, error) {
	if world < 1 || etp < 1 || ep < 1 || pp < 1 {
		return Grid{}, fmt.Errorf("expert grid: %d ranks, etp %d, ep %d, pp %d: want each at least one", world, etp, ep, pp)
	}
	edp := world
	for _, n := range []int{etp, ep, pp} {
		if edp%n != 0 {
			return Grid{}, fmt.Errorf("expert grid: etp %d x ep %d x pp %d does not divide %d ranks", etp, ep, pp, world)
		}
		edp /= n
	}
	return NewGrid([]Dim{{"etp", etp}, {"ep", ep}, {"edp", edp}, {"pp", pp}})
}

// Ranks is the number of ranks.
func (g Grid) Ranks() int { return g.ranks }

// Dims lists the dimensions, fastest first.
func (g Grid) Dims() []Dim { return slices.Clone(g.dims) }

// Index is the position of the dimension of that name, -1 if there is none.
func (g Grid) Index(name string) int {
	return slices.IndexFunc(g.dims, func(d Dim) bool { return d.Name == name })
}

// Coords are the rank's coordinates by dimension; nil for a rank out of range.
func (g Grid) Coords(rank int) []int {
	if rank < 0 || rank >= g.ranks {
		return nil
	}
	c := make([]int, len(g.dims))
	for i := range c {
		c[i] = g.coord(rank, i)
	}
	return c
}

// RankAt is the rank at coordinates; -1 if one is out of range or missing.
func (g Grid) RankAt(coords []int) int {
	if len(coords) != len(g.dims) {
		return -1
	}
	rank := 0
	for i, c := range coords {
		if c < 0 || c >= g.dims[i].Size {
			return -1
		}
		rank += c * g.stride[i]
	}
	return rank
}

func (g Grid) coord(rank, dim int) int { return rank / g.stride[dim] % g.dims[dim].Size }

// GroupOf lists the ranks that share all of rank's coordinates but that of dim,
// in ascending order; nil for a rank or dimension out of range.
func (g Grid) GroupOf(rank, dim int) []int { return g.JointGroup(rank, dim) }

// JointGroup is GroupOf over several dimensions together, as gradients are
// reduced over cp and dp.
func (g Grid) JointGroup(rank int, dims ...int) []int {
	if rank < 0 || rank >= g.ranks || !g.valid(dims) {
		return nil
	}
	for _, d := range dims {
		rank -= g.coord(rank, d) * g.stride[d]
	}
	group := []int{rank}
	for _, d := range slices.Sorted(slices.Values(dims)) { // faster dimensions first keep the order
		n := len(group)
		for c := 1; c < g.dims[d].Size; c++ {
			for _, r := range group[:n] {
				group = append(group, r+c*g.stride[d])
			}
		}
	}
	return group
}

// valid reports whether dims are different dimensions of the grid.
func (g Grid) valid(dims []int) bool {
	for i, d := range dims {
		if d < 0 || d >= len(g.dims) || slices.Contains(dims[:i], d) {
			return false
		}
	}
	return true
}

// Shape tells how groups of dim lie in domains of consecutive ranks (an NVLink
// domain, a node): perDomain ranks of a group share one. Where not every group
// has the same number in each domain it touches, uniform is false and perDomain
// the worst, that is the smallest. Both are zero for arguments out of range.
func (g Grid) Shape(dim, domain int) (perDomain int, uniform bool) {
	return g.JointShape(domain, dim)
}

// JointShape is Shape of the groups over several dimensions together.
func (g Grid) JointShape(domain int, dims ...int) (perDomain int, uniform bool) {
	if domain < 1 || g.ranks == 0 || !g.valid(dims) {
		return 0, false
	}
	least, most := g.ranks, 0
	for first := range g.ranks {
		if slices.ContainsFunc(dims, func(d int) bool { return g.coord(first, d) != 0 }) {
			continue // counted with its group's first rank
		}
		run, last := 0, first/domain
		for _, r := range g.JointGroup(first, dims...) { // ascending: a domain's ranks come together
			if r/domain != last {
				least, most = min(least, run), max(most, run)
				run, last = 0, r/domain
			}
			run++
		}
		least, most = min(least, run), max(most, run)
	}
	return least, least == most
}
