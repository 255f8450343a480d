package balance

import (
	"fmt"
	"strconv"
	"strings"

	"orrery/sim/unit"
)

// topology says, for each rank of a group and each of its redundant slots, which
// rank's expert the slot holds a copy of: LPLB's r2o, [rank][slot]. In each
// column every rank appears once.
type topology [][]int

// transposed makes a topology from its columns.
func transposed(columns ...[]int) topology {
	t := make(topology, len(columns[0]))
	for i := range t {
		for _, c := range columns {
			t[i] = append(t[i], c[i])
		}
	}
	return t
}

// namedTopologies are those of LPLB's tests.
var namedTopologies = map[string]topology{
	"cube_8p2e": transposed([]int{3, 0, 1, 2, 7, 4, 5, 6}, []int{6, 7, 4, 5, 0, 1, 2, 3}),
	"ring_8p":   transposed([]int{1, 2, 3, 4, 5, 6, 7, 0}),
	"hypercube_16p2e": transposed([]int{3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14},
		[]int{12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}),
}

var topologyNames = []string{"cube_8p2e", "hypercube_16p2e", "ring_8p", "torus_MxN"}

// torus is LPLB's torus_2d: rank i n + j holds copies of the next rank along
// either side.
func torus(m, n int) topology {
	t := make(topology, m*n)
	for r := range t {
		i, j := r/n, r%n
		t[r] = []int{(i+1)%m*n + j, i*n + (j+1)%n}
	}
	return t
}

// lookupTopology finds a topology by name; torus_MxN is made for any M and N of 2
// or more.
func lookupTopology(name string) (topology, error) {
	key := unit.NameKey(name)
	if t, ok := namedTopologies[key]; ok {
		return t, nil
	}
	if sizes, ok := strings.CutPrefix(key, "torus_"); ok {
		a, b, _ := strings.Cut(sizes, "x")
		m, errM := strconv.Atoi(a)
		n, errN := strconv.Atoi(b)
		if errM == nil && errN == nil && m >= 2 && n >= 2 && m <= 64 && n <= 64 {
			return torus(m, n), nil
		}
		return nil, fmt.Errorf("topology %q: want torus_MxN with M and N of 2 to 64", name)
	}
	return nil, unit.UnknownName("topology", name, topologyNames)
}
