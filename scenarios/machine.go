package scenarios

import (
	"fmt"
	"strings"

	"orrery/schedules/pipeline"
	"orrery/sim/hw"
)

// machine fills the cluster from the catalogues of GPUs and nodes.
func (r *resolver) machine() {
	c := &r.s.Cluster
	gpu, err := hw.LookupGPU(c.GPU)
	if err != nil { // decode has checked the name
		r.fail([]string{"cluster.gpu"}, err.Error(), show(c.GPU), "")
		return
	}
	from := "catalogue " + gpu.Name
	if !r.settled("cluster.node") {
		node, err := hw.DefaultNode(gpu.Name)
		if err != nil {
			r.missing("cluster.node", "a node (no node of the catalogue holds this GPU)")
			return
		}
		r.settle("cluster.node", node.Name, from)
	}
	node, err := hw.LookupNode(c.Node)
	if err != nil {
		r.fail([]string{"cluster.node"}, err.Error(), show(c.Node), "")
		return
	}
	if node.GPU != gpu.Name {
		r.fail([]string{"cluster.node"}, "holds another GPU, "+node.GPU, show(c.Node), nodesOf(gpu.Name))
		return
	}
	r.settle("cluster.profile", gpu.Name, from)
	r.settle("cluster.override.nvlink_gbps", gpu.NVLinkGBps, from)
	r.settle("cluster.override.hbm_gib", gpu.HBM.GiB(), from)
	r.settle("cluster.override.hbm_gbps", gpu.HBMGBps, from)
	r.settle("cluster.override.power_w", gpu.PowerW, from)
	from = "catalogue " + node.Name
	r.settle("cluster.override.gpus_per_node", int64(node.GPUsPerNode), from)
	r.settle("cluster.override.nvlink_domain", int64(node.NVLinkDomain), from)
	r.settle("cluster.override.nic_gbps", node.NICGBps, from)
	r.settle("cluster.override.host_gbps", node.HostGBps, from)
	if n, d := c.GPUsPerNode, c.NVLinkDomain; n%d != 0 && d%n != 0 {
		r.fail([]string{"cluster.override.nvlink_domain", "cluster.override.gpus_per_node"}, "nodes and NVLink domains do not nest",
			fmt.Sprintf("%d GPUs in a domain, %d in a node", d, n), "one a multiple of the other")
	}
	if gpu.PeakTFLOPS[r.s.Training.Precision.DType()] == 0 {
		var ok []string
		for _, p := range precisions() {
			if gpu.PeakTFLOPS[Precision(p).DType()] > 0 {
				ok = append(ok, p)
			}
		}
		r.fail([]string{"training.precision"}, gpu.Name+" has no such tensor cores", show(string(r.s.Training.Precision)), strings.Join(ok, ", "))
	}
	if r.s.Framework.FP8Attention && gpu.PeakTFLOPS["fp8"] == 0 {
		r.fail([]string{"framework.fp8_attention"}, gpu.Name+" has no fp8 tensor cores", "true", "false")
	}
}

func nodesOf(gpu string) string {
	var names []string
	for _, name := range hw.NodeNames() {
		if n, err := hw.LookupNode(name); err == nil && n.GPU == gpu {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// fabric settles the topology and checks that the job fits it.
func (r *resolver) fabric() {
	c := &r.s.Cluster
	switch local := max(c.NVLinkDomain, c.GPUsPerNode); {
	case c.GPUs <= local:
		r.settle("cluster.topology", SingleNode, "derived: one NVLink domain holds the job")
	case c.NVLinkDomain > c.GPUsPerNode:
		r.settle("cluster.topology", NVLRack, "derived: the NVLink domain is larger than a node")
	default:
		r.settle("cluster.topology", RailOptimized, "default")
	}
	if local := max(c.NVLinkDomain, c.GPUsPerNode); c.Topology == SingleNode && c.GPUs > local {
		r.fail([]string{"cluster.topology"}, "the job does not fit one NVLink domain", fmt.Sprintf("%d GPUs", c.GPUs), fmt.Sprintf("up to %d GPUs", local))
	}
	if c.Topology == NVLRack && c.NVLinkDomain <= c.GPUsPerNode {
		r.fail([]string{"cluster.topology"}, "NVLink does not leave the node", show(c.Topology), strings.Join([]string{SingleNode, RailOptimized, FatTree}, ", "))
	}
	if c.GPUs > c.GPUsPerNode && c.GPUs%c.GPUsPerNode != 0 {
		r.fail([]string{"cluster.gpus", "parallel.dp"}, "not whole nodes", fmt.Sprintf("%d GPUs", c.GPUs), fmt.Sprintf("a multiple of %d, or fewer than that", c.GPUsPerNode))
	}
}

// schedule settles the order of passes.
func (r *resolver) schedule() {
	p := &r.s.Parallel
	switch {
	case p.PP == 1 && p.VP == 1:
		r.settle("schedule.name", "none", "derived: pp is 1")
	case p.VP == 1:
		r.settle("schedule.name", "1f1b", "derived: vp is 1")
	default:
		r.settle("schedule.name", "interleaved_1f1b", "derived: vp > 1")
	}
	if r.s.Schedule.Name == "interleaved_1f1b" {
		r.settle("schedule.group_size", p.PP, "derived: pp")
	}
	r.settle("schedule.group_size", int64(0), "derived: not interleaved")
	r.ownKeys()
	r.settle("schedule.overlap_pairs", hasPairs(&r.s.Schedule), "derived: whether the schedule has pairs")
}

// hasPairs reports whether a schedule runs a forward together with a backward pass.
func hasPairs(schedule *Schedule) bool {
	order, err := schedule.Order()
	if err != nil {
		return false
	}
	o, ok := order.(pipeline.Overlapping)
	return ok && o.Overlaps()
}
