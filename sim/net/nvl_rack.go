package net

import "fmt"

func init() { registerTopology("nvl_rack", newNVLRack) }

// newNVLRack is racks of trays that one NVLink domain joins (NVL72: 18 trays of
// 4 GPUs), with NIC i of every tray on leaf i of its unit. Ranks of a rack
// never use a NIC.
func newNVLRack(s Spec) (Topology, error) {
	if s.NVLinkDomain == s.GPUsPerNode {
		return nil, fmt.Errorf("the NVLink domain is a node of %d GPUs: use rail_optimized", s.GPUsPerNode)
	}
	return newClos(closSpec{Spec: s, name: "nvl_rack", rails: s.GPUsPerNode})
}
