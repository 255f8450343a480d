package plan

import (
	"fmt"

	"orrery/scenarios"
	"orrery/sim/cost"
	"orrery/sim/net"
	"orrery/sim/unit"
)

// nodesPerUnit are the nodes whose NICs meet in one set of leaf switches: 32 in
// a DGX SuperPOD's scalable unit (NVIDIA DGX SuperPOD reference architecture, H100).
const nodesPerUnit = 32

// modelledUnits bounds the fabric on which shares are computed: what crosses
// from one unit to the next looks the same everywhere.
const modelledUnits = 4

// NIC is the rate of a rank's NIC that a collective of a group gets, in GB/s:
// less than nominal where all groups of its kind together fill the uplinks of an
// oversubscribed fabric. 0 where the group stays in its NVLink domain.
func (p *Plan) NIC(g cost.Group, kind cost.CollectiveKind) float64 {
	if g.Domains() <= 1 {
		return 0
	}
	share, ok := p.shares[g]
	if !ok {
		share = fabricShare{1, 1}
	}
	if kind == cost.AllToAll {
		return p.Scenario.Cluster.NICGBps * share.scatter
	}
	return p.Scenario.Cluster.NICGBps * share.ring
}

// fabricShare is the rate of the slowest flow over the NIC's when every rank
// sends at once: to its successor in a ring, or to peers all over the group.
type fabricShare struct{ ring, scatter float64 }

// fabric computes the shares of every group that leaves its NVLink domain, by
// max-min sharing on the cluster's topology.
func (p *Plan) fabric(placed []placement) error {
	c := p.Scenario.Cluster
	nodes := c.GPUs / max(c.GPUsPerNode, 1)
	p.shares = map[cost.Group]fabricShare{}
	if c.Oversub <= 1 || nodes <= nodesPerUnit || c.Topology == scenarios.SingleNode {
		return nil
	}
	units := min((nodes+nodesPerUnit-1)/nodesPerUnit, modelledUnits)
	topo, err := net.New(c.Topology, net.Spec{Nodes: int(units * nodesPerUnit), GPUsPerNode: int(c.GPUsPerNode),
		NVLinkDomain: int(c.NVLinkDomain), NVLinkGBps: c.NVLinkGBps, NICGBps: c.NICGBps,
		NodesPerUnit: nodesPerUnit, Oversubscription: c.Oversub, PXN: true}) // as NCCL does
	if err != nil {
		return fmt.Errorf("cluster.topology %s: %w", c.Topology, err)
	}
	for _, pl := range placed {
		if pl.group.Domains() <= 1 {
			continue
		}
		ring, err := slowest(topo, c.NICGBps, pl, []int64{1})
		if err != nil {
			return err
		}
		scatter, err := slowest(topo, c.NICGBps, pl, []int64{1, pl.group.Ranks / 3, pl.group.Ranks / 2})
		if err != nil {
			return err
		}
		s := fabricShare{ring, scatter}
		if old, ok := p.shares[pl.group]; ok { // groups of one shape, placed twice: the worse
			s = fabricShare{min(s.ring, old.ring), min(s.scatter, old.scatter)}
		}
		p.shares[pl.group] = s
	}
	return nil
}

// slowest lets every rank send one message to each of the peers that many
// members on, all at once, and returns the share of the NIC that the last to
// finish got.
func slowest(t net.Topology, nic float64, pl placement, hops []int64) (float64, error) {
	const bytes = 1e9
	ranks := int64(t.Ranks())
	size := min(pl.group.Ranks, max(ranks/pl.stride, 1))
	var flows []net.TimedFlow
	for r := range ranks {
		i := r / pl.stride % size
		for _, h := range hops {
			peer := r + ((i+h)%size-i)*pl.stride
			path := t.Route(int(r), int(peer))
			if h%size == 0 || len(path) == 0 {
				continue
			}
			flows = append(flows, net.TimedFlow{Flow: net.Flow{Path: path, Bytes: bytes}})
		}
	}
	if len(flows) == 0 {
		return 1, nil
	}
	ends, err := net.Completions(net.Capacities(t), flows)
	if err != nil {
		return 0, err
	}
	var last unit.Time
	for _, e := range ends {
		last = max(last, e)
	}
	ideal := bytes * float64(len(hops)) / (nic * 1e9)
	return min(ideal/last.Seconds(), 1), nil
}
