package net

import "fmt"

func init() { registerTopology("single_node", newSingleNode) }

// newSingleNode is one NVLink domain: each GPU has a port up to and down from
// NVSwitches that do not block.
func newSingleNode(s Spec) (Topology, error) {
	if ranks := s.Nodes * s.GPUsPerNode; ranks != s.NVLinkDomain {
		return nil, fmt.Errorf("%d GPUs in NVLink domains of %d: want one domain", ranks, s.NVLinkDomain)
	}
	return newClos(closSpec{Spec: s, name: "single_node", rails: 1})
}
