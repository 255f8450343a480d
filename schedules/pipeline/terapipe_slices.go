package pipeline

import (
	"fmt"
	"slices"

	"orrery/sim/unit"
)

// maxTeraPipeUnits bounds the work of TeraPipeSlices, which grows with the
// fourth power of the units.
const maxTeraPipeUnits = 128

// TeraPipeSlices cuts a sequence of a number of equal units (of, say, 128 tokens)
// for a pipeline of p devices so that the time of one pass through it, the sum of
// the slices' times and p-1 times the longest, is least (TeraPipe,
// arXiv:2102.07988, algorithm 1). time is that of a slice of some units after a
// prefix of others. It returns the slices' units and the least time.
//
// For each candidate of the longest slice's time, dynamic programming over the
// prefix finds the least sum; candidates rise until their share alone is more
// than the best.
func TeraPipeSlices(units, p int, time func(length, prefix int) unit.Time) ([]int, unit.Time, error) {
	if units < 1 || units > maxTeraPipeUnits || p < 1 || p > maxPasses {
		return nil, 0, fmt.Errorf("%d units on %d devices, want 1 to %d units and 1 or more devices", units, p, maxTeraPipeUnits)
	}
	cost := make([][]unit.Time, units+1) // by length and prefix
	var longest []unit.Time
	for length := 1; length <= units; length++ {
		cost[length] = make([]unit.Time, units)
		for prefix := 0; prefix+length <= units; prefix++ {
			t := time(length, prefix)
			if t < 0 || t > (1<<62)/unit.Time(units+p) {
				return nil, 0, fmt.Errorf("the time of %d units after %d is %d, out of range", length, prefix, t)
			}
			cost[length][prefix] = t
			longest = append(longest, t)
		}
	}
	slices.Sort(longest)
	var best []int
	least := unset
	for _, most := range slices.Compact(longest) {
		share := unit.Time(p-1) * most
		if least != unset && share >= least {
			break
		}
		sum, cut := shortestCut(units, cost, most)
		if cut != nil && (least == unset || sum+share < least) {
			best, least = cut, sum+share
		}
	}
	return best, least, nil
}

// shortestCut is the cut of least sum whose slices take at most most; nil where
// there is none.
func shortestCut(units int, cost [][]unit.Time, most unit.Time) (unit.Time, []int) {
	sum, last := make([]unit.Time, units+1), make([]int, units+1) // of the first i units
	for i := 1; i <= units; i++ {
		sum[i] = unset
		for length := 1; length <= i; length++ {
			t := cost[length][i-length]
			if t > most || sum[i-length] == unset {
				continue
			}
			if sum[i] == unset || sum[i-length]+t < sum[i] {
				sum[i], last[i] = sum[i-length]+t, length
			}
		}
	}
	if sum[units] == unset {
		return 0, nil
	}
	var cut []int
	for i := units; i > 0; i -= last[i] {
		cut = append(cut, last[i])
	}
	slices.Reverse(cut)
	return sum[units], cut
}
