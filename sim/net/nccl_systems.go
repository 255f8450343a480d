package net

import (
	"fmt"
	"strings"
)

// ncclMachine is the search result of one machine, on one node and on several.
type ncclMachine struct {
	title      string
	generation Generation
	ring, nvls Graph // one node; ring is the tree's too
	multi      Graph // several nodes: ring and tree
	multiNVLS  Graph
}

// ncclMachines are in the order that errors list them. The one-node graphs of
// dgx-h100 are from public NCCL logs (rings and trees of 12 x 30 GB/s, NVLS of 8
// channels); all others are assumed, not from a dump: entries of NCCL's speed
// tables (src/graph/search.cc) that the machine's NVLink and 400 Gb/s NICs
// could hold, as ../shared/research/schedules.md section 6.2 assumes them.
var ncclMachines = []struct {
	name string
	ncclMachine
}{
	{"dgx-h100", ncclMachine{
		title: "DGX H100", generation: Hopper,
		ring: Graph{12, 30, 30}, nvls: Graph{8, 40, 60},
		multi: Graph{8, 48, 48}, multiNVLS: Graph{8, 45, 45},
	}},
	{"dgx-b200", ncclMachine{
		title: "DGX B200", generation: Blackwell,
		ring: Graph{24, 30, 30}, nvls: Graph{8, 90, 90},
	}},
}

// NewNCCLSystem describes a communicator of all GPUs of nodes machines of a kind
// ("dgx-h100", "dgx-b200"; 8 GPUs each) for NCCL's tuner. Other machines are
// described by filling in an NCCLSystem.
func NewNCCLSystem(machine string, nodes int) (NCCLSystem, error) {
	var known []string
	for _, m := range ncclMachines {
		known = append(known, m.name)
		if m.name != machine {
			continue
		}
		if nodes < 1 {
			return NCCLSystem{}, fmt.Errorf("nccl: %d nodes: want at least one", nodes)
		}
		s := NCCLSystem{
			Title: fmt.Sprintf("%d x %s", nodes, m.title), Generation: m.generation,
			Ranks: 8 * nodes, Nodes: nodes,
			Ring: m.ring, Tree: m.ring, NVLS: m.nvls,
		}
		if nodes == 1 {
			return s, nil
		}
		if m.multi.Channels == 0 {
			return NCCLSystem{}, fmt.Errorf("nccl: no graph of several %s is known; fill in an NCCLSystem", m.title)
		}
		s.Ring, s.Tree, s.NVLS, s.NVLSTree = m.multi, m.multi, m.multiNVLS, m.multiNVLS
		return s, nil
	}
	return NCCLSystem{}, fmt.Errorf("nccl: no machine %q; known are %s", machine, strings.Join(known, ", "))
}
