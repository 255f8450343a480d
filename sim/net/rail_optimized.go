package net

import "fmt"

func init() { registerTopology("rail_optimized", newRailOptimized) }

// newRailOptimized is DGX SuperPOD's fabric: NIC i of every node of a scalable
// unit is on leaf i of that unit, and spines join the leaves (NVIDIA DGX
// SuperPOD Reference Architecture, compute fabric). Traffic of one rail stays
// in one leaf inside a unit; other rails are reached through spines, or with
// PXN over NVLink first.
func newRailOptimized(s Spec) (Topology, error) {
	if s.NVLinkDomain != s.GPUsPerNode {
		return nil, fmt.Errorf("an NVLink domain of %d GPUs over nodes of %d: use nvl_rack", s.NVLinkDomain, s.GPUsPerNode)
	}
	return newClos(closSpec{Spec: s, name: "rail_optimized", rails: s.GPUsPerNode})
}
