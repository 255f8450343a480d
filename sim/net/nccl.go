package net

import (
	"fmt"
	"math"
	"math/bits"
)

// Graph is what NCCL's topology search found for an algorithm: channels and
// the bandwidth of each. NCCL prints it with NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=GRAPH.
type Graph struct {
	Channels  int
	IntraGBps float64 // of a channel inside the node
	InterGBps float64 // of a channel between nodes
}

// NCCLSystem is a communicator as NCCL's tuner sees it. An NVLink domain of
// several trays (NVL72) counts as one node.
type NCCLSystem struct {
	Title      string
	Generation Generation
	Ranks      int
	Nodes      int  // Ranks/Nodes on each
	PCIe       bool // GPUs of a node talk over PCIe, not NVLink
	AMDHost    bool // x86 host of AMD; else Intel or Arm
	NoLL128    bool // LL128 is off: PCIe beyond a switch on the way to the NIC
	PlainTree  bool // tree of pattern TREE, not balanced or split
	// NICLatencyUs is what the network's driver reports; 0 is usual.
	NICLatencyUs         float64
	Ring, Tree           Graph
	NVLS, NVLSTree       Graph // Channels 0 where the machine has no NVLink SHARP
	CollectiveOffloadNIC bool  // CollNet: lets NVLS span nodes
}

// Choice is one way to run a collective, and its predicted cost: bytes take
// LatencyUs + bytes/(1000 AlgGBps) microseconds before corrections.
type Choice struct {
	Algo      Algo
	Proto     Proto
	LatencyUs float64
	AlgGBps   float64 // bytes of the operation over time
}

func (s NCCLSystem) check() error {
	if s.Ranks < 2 || s.Nodes < 1 || s.Ranks%s.Nodes != 0 {
		return fmt.Errorf("nccl: %d ranks on %d nodes: want at least two ranks and equally many on each node", s.Ranks, s.Nodes)
	}
	if s.Generation < Volta || s.Generation >= numGenerations {
		return fmt.Errorf("nccl: unknown GPU generation %d", s.Generation)
	}
	for _, g := range []Graph{s.Ring, s.Tree, s.NVLS, s.NVLSTree} {
		if g.Channels < 0 || !(g.IntraGBps >= 0) || !(g.InterGBps >= 0) {
			return fmt.Errorf("nccl: graph %+v: want no negative figure", g)
		}
	}
	if s.Ring.Channels == 0 {
		return fmt.Errorf("nccl: the ring graph has no channels")
	}
	return nil
}

// Choices lists every enabled way to run c, in NCCL's order (algorithm, then
// protocol). NCCL tunes all-reduce, all-gather, reduce-scatter and broadcast;
// others give an error.
func (s NCCLSystem) Choices(c Collective) ([]Choice, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	switch c {
	case AllReduce, AllGather, ReduceScatter, Broadcast:
	default:
		return nil, fmt.Errorf("nccl: its tuner has no model of %s", c)
	}
	var out []Choice
	for a := range numAlgos {
		for p := range numProtos {
			if !s.enabled(c, a, p) {
				continue
			}
			ch := Choice{Algo: a, Proto: p, LatencyUs: s.latency(c, a, p), AlgGBps: s.bandwidth(c, a, p)}
			if ch.AlgGBps > 0 {
				out = append(out, ch)
			}
		}
	}
	return out, nil
}

// Predict returns NCCL's choice for bytes, and its predicted time. The model
// selects well and is pessimistic about the latency of small messages.
func (s NCCLSystem) Predict(c Collective, bytes int64) (Choice, float64, error) {
	if bytes < 0 {
		return Choice{}, 0, fmt.Errorf("nccl: %d bytes: want a size >= 0", bytes)
	}
	choices, err := s.Choices(c)
	if err != nil {
		return Choice{}, 0, err
	}
	best, bestUs := Choice{}, math.Inf(1)
	for _, ch := range choices {
		if us := s.Micros(c, ch, bytes); us < bestUs {
			best, bestUs = ch, us
		}
	}
	if math.IsInf(bestUs, 1) {
		return Choice{}, 0, fmt.Errorf("nccl: no algorithm can run %s on %s", c, s.Title)
	}
	return best, bestUs, nil
}

// Micros is the time of one choice, with NCCL's corrections for size.
func (s NCCLSystem) Micros(c Collective, ch Choice, bytes int64) float64 {
	bw, lat := ch.AlgGBps, ch.LatencyUs
	if ch.Algo == Tree {
		if i := bits.Len64(uint64(bytes>>6)) - 1; i >= 0 && i < len(treeCorrection[ch.Proto]) {
			bw *= treeCorrection[ch.Proto][i]
		}
	}
	if ch.Algo == Ring && ch.Proto == Simple && s.Nodes > 1 && c == AllReduce &&
		bytes/int64(s.Ring.Channels*s.Ranks) >= 64 {
		lat *= plateau(s.Generation)
	}
	return lat + float64(bytes)/(1e3*bw)
}

// plateau is how much longer a ring's latency is once its chunks are full.
func plateau(g Generation) float64 {
	if g < Ampere {
		return 1.9
	}
	return 1.4
}

func (s NCCLSystem) enabled(c Collective, a Algo, p Proto) bool {
	if p == LL128 && s.NoLL128 {
		return false
	}
	gather := c == AllGather || c == ReduceScatter
	switch a {
	case Ring:
		return true
	case Tree:
		return c == AllReduce && s.Tree.Channels > 0
	case NVLS:
		return p == Simple && s.NVLS.Channels >= 2 && (c == AllReduce || gather) &&
			(s.Nodes == 1 || s.CollectiveOffloadNIC)
	case NVLSTree:
		return p == Simple && s.NVLSTree.Channels >= 2 && c == AllReduce && s.Nodes > 1
	case PAT:
		return p == Simple && gather && s.Nodes > 1 && s.Nodes == s.Ranks
	}
	return false
}

// steps is the number of messages of a ring.
func (s NCCLSystem) steps(c Collective) float64 {
	switch c {
	case AllReduce:
		return 2 * float64(s.Ranks-1)
	case AllGather, ReduceScatter:
		return float64(s.Ranks - 1)
	}
	return float64(s.Ranks)
}

// bandwidth is the algorithm bandwidth in GB/s.
func (s NCCLSystem) bandwidth(c Collective, a Algo, p Proto) float64 {
	llRow := s.Generation
	if s.Nodes > 1 {
		llRow = Volta // Intel's row
		if s.AMDHost {
			llRow = Ampere
		}
	}
	llMax := llMaxGBps[llRow].at(s.Nodes)
	n := float64(s.Ranks)
	switch a {
	case Ring:
		bus := float64(s.Ring.Channels) * s.perChannel(s.Ring)
		switch p {
		case LL:
			bus = min(llMax, bus*.5)
		case LL128:
			bus = min(.92*bus, float64(s.Ring.Channels)*ringLL128PerChannel[s.Generation].at(s.Nodes))
		}
		return bus * n / s.steps(c)
	case Tree:
		ch := float64(s.Tree.Channels)
		bus := min(.92*ch*s.perChannel(s.Tree), ch*treePerChannel[s.Generation].at(s.Nodes))
		switch p {
		case LL:
			bus = min(bus/3.8, llMax)
		case LL128:
			useful := 120.0 / 128
			if s.Nodes == 1 {
				useful = 7.0 / 9
			}
			bus = min(bus*useful, ch*treeLL128PerChannel[s.Generation].at(s.Nodes))
		}
		if s.PlainTree {
			bus *= .85
		}
		return bus * .5
	case NVLS:
		return s.nvls(c, s.NVLS, s.NVLS.InterGBps)
	case NVLSTree:
		inter := s.NVLSTree.InterGBps
		if s.Nodes <= 2 {
			inter *= 2
		}
		return s.nvls(c, s.NVLSTree, min(inter, nvlsTreePerChannel[s.Generation].at(s.Nodes)))
	case PAT:
		return .75 * float64(s.Ring.Channels) * s.perChannel(s.Ring)
	}
	return 0
}

func (s NCCLSystem) perChannel(g Graph) float64 {
	if s.Nodes <= 2 {
		return g.IntraGBps
	}
	return g.InterGBps
}

// nvls is the algorithm bandwidth of reduction in the NVLink switch.
func (s NCCLSystem) nvls(c Collective, g Graph, inter float64) float64 {
	ch := float64(g.Channels)
	intra := g.IntraGBps * nvlsEfficiency[s.Generation] * (ch - 1) / ch
	if c == AllReduce {
		return min(2*intra, inter) * ch * float64(s.Ranks) / s.steps(c)
	}
	local := float64(s.Ranks / s.Nodes)
	return min(intra*(local-1)/local, inter) * ch
}

// latency is the latency of a lone operation, in microseconds.
func (s NCCLSystem) latency(c Collective, a Algo, p Proto) float64 {
	intra := nvlinkLatencyUs[a][p]
	if s.PCIe {
		intra = pcieLatencyUs[a][p]
	}
	nodes, local := float64(s.Nodes), float64(s.Ranks/s.Nodes)
	inter := 0.0
	if s.Nodes > 1 {
		inter = netLatencyUs[a][p]
		if a == Ring && local == 1 {
			inter = netLatencyUs[Tree][p]
		}
		inter += s.NICLatencyUs
		if p == Simple {
			inter += s.NICLatencyUs // the flush
		}
	}
	base := baseLatencyUs[a][p]
	depth := math.Floor(math.Log2(nodes))
	switch a {
	case Ring:
		if c == Broadcast {
			// The channels of a ring inside and between nodes are the same on
			// every NVSwitch machine, and chunks stream.
			if s.Nodes > 1 {
				return base + netLatencyUs[Ring][p]
			}
			return base + intra
		}
		if s.Nodes == 1 {
			return base + s.steps(c)*intra
		}
		post := 1.0 // posting to the NIC, microseconds
		if s.AMDHost {
			post = 2
		}
		if p == Simple {
			post *= 3
		}
		cross := nodes - 1
		if c == AllReduce {
			cross *= 2
		}
		return base + (s.steps(c)-cross)*max(intra, post) + cross*inter
	case Tree:
		return base + 2*((local-1)*intra+depth*inter)
	case NVLS:
		return intra + inter
	case NVLSTree:
		return base + intra + 2*depth*inter
	case PAT:
		return base + depth*inter/3.5 + 2.8*float64(s.Ranks)
	}
	return base
}
