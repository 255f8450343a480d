package packing

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// assignment is phase 1: which replicas each sample runs on.
type assignment struct {
	merged []mergedSamples // in the order that they run
	own    [][]int32       // by replica, longest first
	load   []float64       // by replica, seconds a stage
}

// mergedSamples are samples that run on count replicas from first.
type mergedSamples struct {
	first, count int
	samples      []int32
}

// outliers are the samples that merge replicas: those on the most replicas first,
// then the longest.
type outliers struct {
	samples []int32
	count   map[int32]int // replicas
}

func (a *outliers) equal(b *outliers) bool {
	return slices.Equal(a.samples, b.samples) && maps.Equal(a.count, b.count)
}

// outliers finds the samples that merge replicas: the fewest that bring them below
// their share of a replica's fair load, and their activations below the limit of
// memory. longest is all samples, longest first.
func (o SlimPack) outliers(j *Job, longest []int32, m merging) *outliers {
	out := &outliers{count: map[int32]int{}}
	if o.NoMerge {
		return out
	}
	fair := 0.0
	for _, l := range j.Lengths {
		f, b := j.Cost.Sample(l)
		fair += (f + b) / float64(j.Lanes())
	}
	for _, i := range longest {
		n := j.mergeOf(j.Lengths[i], m.share*fair, m.most)
		if n == 1 {
			break // and so for all that are shorter
		}
		out.samples = append(out.samples, i)
		out.count[i] = n
	}
	slices.SortStableFunc(out.samples, func(x, y int32) int { return cmp.Compare(out.count[y], out.count[x]) })
	return out
}

// assign balances the samples over the replicas: outliers first, then longest first
// to the least loaded; then moves and swaps between the fullest and the emptiest. It
// returns the parts of the plan that share no lane.
func (o SlimPack) assign(j *Job, longest []int32, merged *outliers) []*part {
	a := &assignment{own: make([][]int32, j.DP), load: make([]float64, j.DP)}
	order := longest
	if o.NoAssignment {
		order = arrival(j.Lengths)
	}
	loads := newLeast(j.DP)
	for _, i := range merged.samples {
		a.place(j, loads, i, merged.count[i])
	}
	loads.fill()
	done := 0
	for _, i := range order {
		if merged.count[i] > 0 {
			continue
		}
		f, b := j.Cost.SampleOn(j.Lengths[i], 0, j.CP)
		r := done % j.DP
		if o.NoAssignment {
			loads.load[r] += f + b
		} else {
			r = loads.add(f + b)
		}
		a.own[r] = append(a.own[r], i)
		done++
	}
	copy(a.load, loads.load)
	if !o.NoAssignment {
		a.level(j)
	} else {
		for r := range a.own {
			sortDescending(j, a.own[r])
		}
	}
	return a.parts(j)
}

func sortDescending(j *Job, samples []int32) {
	slices.SortStableFunc(samples, func(x, y int32) int { return cmp.Compare(j.Lengths[y], j.Lengths[x]) })
}

// mergeOf is how many replicas a sample needs: a power of two, so that merged
// replicas nest and no lane waits for another in a circle.
func (j *Job) mergeOf(tokens int, most float64, replicas int) int {
	room := j.tightest() / (1 + j.Footprint.kvShare())
	n := 1
	for ; 2*n <= j.DP; n *= 2 {
		if float64(tokens) > room*float64(n*j.CP) {
			continue
		}
		f, b := j.Cost.SampleOn(tokens, 0, n*j.CP)
		if f+b <= most || 2*n > replicas {
			break
		}
		// Exchange may eat up what more lanes give; then more do not help.
		if g, c := j.Cost.SampleOn(tokens, 0, 2*n*j.CP); g+c >= f+b {
			break
		}
	}
	return n
}

// place puts an outlier on the neighbouring count replicas with the least load.
func (a *assignment) place(j *Job, loads *least, sample int32, count int) {
	best, bestLoad := 0, math.Inf(1)
	for first := 0; first+count <= j.DP; first += count {
		if load := slices.Max(loads.load[first : first+count]); load < bestLoad {
			best, bestLoad = first, load
		}
	}
	f, b := j.Cost.SampleOn(j.Lengths[sample], best*j.CP, count*j.CP)
	for r := best; r < best+count; r++ {
		loads.load[r] = bestLoad + f + b
	}
	for i := range a.merged {
		if m := &a.merged[i]; m.first == best && m.count == count {
			m.samples = append(m.samples, sample)
			return
		}
	}
	a.merged = append(a.merged, mergedSamples{best, count, []int32{sample}})
}

// level moves samples between the fullest replica and the emptiest, or swaps two,
// as long as that lowers the fullest by a thousandth; rounds are bounded by the
// number of replicas.
func (a *assignment) level(j *Job) {
	time := func(i int32) float64 {
		f, b := j.Cost.SampleOn(j.Lengths[i], 0, j.CP)
		return f + b
	}
	for range 4 * j.DP {
		high, low := 0, 0
		for r := range a.load {
			if a.load[r] > a.load[high] {
				high = r
			}
			if a.load[r] < a.load[low] {
				low = r
			}
		}
		gap := a.load[high] - a.load[low]
		if gap <= 1e-3*a.load[high] {
			break
		}
		// Both lists are longest first: for each sample of high, the one of low (or
		// none) whose difference is nearest to half of the gap.
		from, to := a.own[high], a.own[low]
		best, bi, bk := gap/2, -1, -1
		k := 0
		for i, s := range from {
			t := time(s)
			if d := math.Abs(t - gap/2); d < best {
				best, bi, bk = d, i, -1
			}
			for k < len(to) && t-time(to[k]) < gap/2 {
				k++
			}
			for near := max(0, k-1); near <= min(k, len(to)-1); near++ {
				if d := math.Abs(t - time(to[near]) - gap/2); d < best {
					best, bi, bk = d, i, near
				}
			}
		}
		if bi < 0 || best > gap/2-1e-3*a.load[high] {
			break
		}
		delta := time(from[bi])
		moved := from[bi]
		a.own[high] = slices.Delete(from, bi, bi+1)
		if bk >= 0 {
			delta -= time(to[bk])
			a.own[high] = append(a.own[high], to[bk])
			a.own[low] = slices.Delete(to, bk, bk+1)
		}
		a.own[low] = append(a.own[low], moved)
		sortDescending(j, a.own[high])
		sortDescending(j, a.own[low])
		a.load[high] -= delta
		a.load[low] += delta
	}
}

// parts groups the replicas that merged samples link.
func (a *assignment) parts(j *Job) []*part {
	joined := make([]bool, j.DP) // replica r runs something together with r-1
	for _, m := range a.merged {
		for r := m.first + 1; r < m.first+m.count; r++ {
			joined[r] = true
		}
	}
	var out []*part
	for from := 0; from < j.DP; {
		to := from + 1
		for to < j.DP && joined[to] {
			to++
		}
		p := newPart(j, from, to)
		for _, m := range a.merged {
			if m.first >= from && m.first < to {
				p.merged = append(p.merged, mergedSamples{m.first, m.count, p.add(m.samples)})
			}
		}
		for r := from; r < to; r++ {
			p.own[r-from] = p.add(a.own[r])
			p.load = max(p.load, a.load[r])
		}
		if len(p.ids) > 0 {
			out = append(out, p)
		}
		from = to
	}
	return out
}
