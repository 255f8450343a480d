package balance

import (
	"cmp"
	"slices"
)

// balancedPack puts n items into packs of n/packs each: heaviest first, into the
// lightest pack with room (ties: the lower). With one item a pack, item i goes
// to pack i. It returns each item's pack and its rank there (EPLB,
// balanced_packing; single precision as there).
func balancedPack(weights []float32, packs int) (pack, rank []int) {
	n := len(weights)
	pack, rank = make([]int, n), make([]int, n)
	if n == packs {
		for i := range pack {
			pack[i] = i
		}
		return pack, rank
	}
	load, items := make([]float32, packs), make([]int, packs)
	for _, i := range heaviest(weights) {
		best := -1
		for p := range load {
			if items[p] < n/packs && (best < 0 || load[p] < load[best]) {
				best = p
			}
		}
		pack[i], rank[i] = best, items[best]
		load[best] += weights[i]
		items[best]++
	}
	return pack, rank
}

// heaviest are the indices in descending order of weight, the lower first among
// equals.
func heaviest[T cmp.Ordered](weights []T) []int {
	order := make([]int, len(weights))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(weights[b], weights[a]) })
	return order
}

// replicate makes physical experts out of logical ones: each once, then again
// whichever has the most load a copy (ties: the lower). It returns the logical
// expert of each physical one and how many copies each logical one has.
func replicate(weights []float32, physical int) (logical, count []int) {
	logical, count = make([]int, 0, physical), make([]int, len(weights))
	for e := range weights {
		logical, count[e] = append(logical, e), 1
	}
	for len(logical) < physical {
		best := 0
		for e := range weights {
			if weights[e]/float32(count[e]) > weights[best]/float32(count[best]) {
				best = e
			}
		}
		logical = append(logical, best)
		count[best]++
	}
	return logical, count
}

// rebalance is EPLB's rebalance_experts for one layer: the logical expert of
// each physical one (phy2log), GPU by GPU. Groups of experts are packed onto
// nodes, experts replicated within a node, and their copies packed onto its
// GPUs. Where groups do not divide over nodes, that is done for all as one group
// on one node. The caller has checked that experts divide into groups, GPUs and
// replicas over nodes, and replicas over GPUs.
func rebalance(weights []float32, physical, groups, nodes, gpus int) []int32 {
	if groups%nodes != 0 {
		groups, nodes = 1, 1
	}
	size := len(weights) / groups
	sums := make([]float32, groups)
	for e, w := range weights {
		sums[e/size] += w
	}
	node, rank := balancedPack(sums, nodes)
	members := make([][]int, nodes) // experts of a node, in the order of its groups' ranks
	for n := range members {
		members[n] = make([]int, len(weights)/nodes)
	}
	for g := range groups {
		for i := range size {
			members[node[g]][rank[g]*size+i] = g*size + i
		}
	}
	out := make([]int32, physical)
	perNode, perGPU := physical/nodes, physical/gpus
	for n, experts := range members {
		own := make([]float32, len(experts))
		for i, e := range experts {
			own[i] = weights[e]
		}
		logical, count := replicate(own, perNode)
		each := make([]float32, perNode)
		for i, l := range logical {
			each[i] = own[l] / float32(count[l])
		}
		gpu, slot := balancedPack(each, gpus/nodes)
		for i, l := range logical {
			out[n*perNode+gpu[i]*perGPU+slot[i]] = int32(experts[l])
		}
	}
	return out
}
