package net

import "fmt"

func init() { registerTopology("fat_tree", newFatTree) }

// newFatTree is a folded Clos network (Al-Fares, Loukissas and Vahdat, SIGCOMM
// 2008) whose leaf serves all NICs of the nodes of a unit, often a rack. Llama
// 3's has pods of 3072 GPUs below a core oversubscribed 1:7 (arXiv:2407.21783,
// section 3.3.1).
func newFatTree(s Spec) (Topology, error) {
	if s.PXN {
		return nil, fmt.Errorf("PXN is for rails: all NICs of a node are on one leaf here")
	}
	return newClos(closSpec{Spec: s, name: "fat_tree", rails: 1})
}
