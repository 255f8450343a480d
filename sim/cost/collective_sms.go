package cost

import (
	"orrery/sim/hw"
	"orrery/sim/net"
)

// Thread blocks (one SM each) that NCCL's kernels take, from public logs of
// NCCL_DEBUG=INFO ("24 coll channels, 16 nvls channels, 32 p2p channels" on 8 x
// H100, "16 coll channels" on several nodes). Published; NCCL_MAX_CTAS and the
// tuner may take fewer for small messages.
const (
	ringChannels = 24 // rings of an NVSwitch machine
	nvlsChannels = 16 // NVLink SHARP
	p2pChannels  = 32 // all-to-all inside a domain
	perNIC       = 2  // channels a NIC
	fewest       = 4  // of a communicator with one NIC a node (assumed)
)

// DefaultSMs is the number of SMs that the kernel of a collective occupies while
// it runs, for a model of contention with compute: c.SMs where that is given and
// less than what the library takes.
func (c Collective) DefaultSMs(g *hw.GPU) int64 {
	if n := c.channels(g); c.SMs == 0 || c.SMs > n {
		return n
	}
	return c.SMs
}

// channels is what NCCL takes by default. Groups whose NICs are the bottleneck
// take two channels a NIC of the domain.
func (c Collective) channels(g *hw.GPU) int64 {
	switch {
	case c.Group.Ranks <= 1:
		return 0
	case c.Group.Domains() > 1:
		return min(max(fewest, perNIC*c.Group.PerDomain), ringChannels)
	case c.Kind == AllToAll:
		return p2pChannels
	case c.Kind == AllReduce && c.Group.Ranks >= 4 && !c.Integer && g != nil && generations[g.Arch] >= net.Hopper:
		return nvlsChannels
	}
	return ringChannels
}

// DefaultSMs is the number of SMs that an exchange occupies while it runs: DeepEP
// takes Buffer.num_sms = 20, HybridEP 16 over nodes of 8 and
// 32 inside a rack of NVL72 (published: README_Hybrid-EP.md); others are assumed
// to take as many as DeepEP.
func (e ExpertExchange) DefaultSMs() int64 {
	switch {
	case e.Group.Ranks <= 1:
		return 0
	case e.SMs > 0:
		return e.SMs
	case e.Backend == "hybridep" && e.Group.PerDomain > 8:
		return 32
	case e.Backend == "hybridep":
		return 16
	}
	return 20
}
