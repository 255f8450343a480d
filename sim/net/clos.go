package net

import (
	"fmt"
	"slices"
)

// clos is what the topologies have in common: GPUs with a port into their
// NVLink domain's switch and a NIC into a leaf, leaves below spines, spines of
// pods below a core. Every cable is two links, up and down. The paths that ECMP
// spreads over (a leaf's uplinks, a pod's) are one link of their sum: ideal
// balance.
type clos struct {
	name   string
	domain int // ranks of an NVLink domain
	rails  int // NICs of a node that go to different leaves; 1 if all go to one
	pxn    bool
	links  []Link

	// first of each kind of link; two links each (up, down) by index
	nvlink, nic, leaf, pod LinkID

	leafOf []int32 // by rank
	podOf  []int32 // by leaf
}

// closSpec tells how a topology wires NICs to leaves.
type closSpec struct {
	Spec
	name  string
	rails int
}

func newClos(c closSpec) (Topology, error) {
	if c.Nodes*c.GPUsPerNode%c.NVLinkDomain != 0 {
		return nil, fmt.Errorf("%d nodes of %d GPUs do not fill NVLink domains of %d", c.Nodes, c.GPUsPerNode, c.NVLinkDomain)
	}
	if nodes := c.NVLinkDomain / c.GPUsPerNode; c.NodesPerUnit%nodes != 0 {
		return nil, fmt.Errorf("units of %d nodes split NVLink domains of %d nodes", c.NodesPerUnit, nodes)
	}
	ranks := c.Nodes * c.GPUsPerNode
	t := &clos{name: c.name, domain: c.NVLinkDomain, rails: c.rails, pxn: c.PXN, leafOf: make([]int32, ranks)}
	units := (c.Nodes + c.NodesPerUnit - 1) / c.NodesPerUnit
	perPod := c.UnitsPerPod
	if perPod == 0 || perPod > units {
		perPod = units
	}
	t.podOf = make([]int32, units*c.rails)
	for r := range ranks {
		t.leafOf[r] = int32(r/c.GPUsPerNode/c.NodesPerUnit*c.rails + r%c.rails)
	}
	for l := range t.podOf {
		t.podOf[l] = int32(l / c.rails / perPod)
	}

	add := func(n int, l Link) LinkID {
		first := LinkID(len(t.links))
		for i := range n {
			for _, way := range []string{"up", "down"} {
				t.links = append(t.links, Link{Name: fmt.Sprintf("%s%d/%s", l.Name, i, way), GBps: l.GBps, Latency: l.Latency})
			}
		}
		return first
	}
	t.nvlink = add(ranks, Link{"nvlink", c.NVLinkGBps, c.NVLinkLatency})
	if ranks == c.NVLinkDomain {
		return t, nil // nothing leaves the domain
	}
	if c.NICGBps == 0 {
		return nil, fmt.Errorf("%d NVLink domains and NICs of 0 GB/s: nothing joins them", ranks/c.NVLinkDomain)
	}
	t.nic = add(ranks, Link{"nic", c.NICGBps, c.NICLatency})
	if units > 1 || c.rails > 1 {
		below := float64(c.NodesPerUnit*c.GPUsPerNode/c.rails) * c.NICGBps
		t.leaf = add(units*c.rails, Link{"leaf", below / c.Oversubscription, c.SwitchLatency})
		if pods := (units + perPod - 1) / perPod; pods > 1 {
			above := below / c.Oversubscription * float64(c.rails*perPod)
			t.pod = add(pods, Link{"pod", above / c.CoreOversubscription, c.SwitchLatency})
		}
	}
	return t, nil
}

func (t *clos) Name() string  { return t.name }
func (t *clos) Ranks() int    { return len(t.leafOf) }
func (t *clos) Links() []Link { return t.links }

func up(first LinkID, i int) LinkID   { return first + LinkID(2*i) }
func down(first LinkID, i int) LinkID { return first + LinkID(2*i) + 1 }

func (t *clos) Route(src, dst int) []LinkID {
	if src == dst || min(src, dst) < 0 || max(src, dst) >= t.Ranks() {
		return nil
	}
	if src/t.domain == dst/t.domain {
		return []LinkID{up(t.nvlink, src), down(t.nvlink, dst)}
	}
	path := make([]LinkID, 0, 8)
	if rail := dst % t.rails; t.pxn && src%t.rails != rail {
		peer := src - src%t.rails + rail
		path = append(path, up(t.nvlink, src), down(t.nvlink, peer))
		src = peer
	}
	path = append(path, up(t.nic, src))
	if from, to := int(t.leafOf[src]), int(t.leafOf[dst]); from != to {
		path = append(path, up(t.leaf, from))
		if p, q := int(t.podOf[from]), int(t.podOf[to]); p != q {
			path = append(path, up(t.pod, p), down(t.pod, q))
		}
		path = append(path, down(t.leaf, to))
	}
	return slices.Clip(append(path, down(t.nic, dst)))
}
