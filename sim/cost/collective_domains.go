package cost

import (
	"fmt"
	"math"

	"orrery/sim/hw"
	"orrery/sim/net"
)

// nicEfficiency is the share of a NIC's rate that long messages of collectives
// reach. Published: 46-48 GB/s of a 400 Gb/s NIC (NVIDIA, nccl-tests issue 290);
// SimAI's nic_ratio.csv tends to 0.96.
const nicEfficiency = 0.94

// racksRelErr is the error over three and more racks of NVL72: the one public
// sweep of 20 racks (coreweave nccl-tests) is 381 GB/s of bus bandwidth at 8 GiB
// where two racks give 793 and NCCL's model 635.
const racksRelErr = 0.7

// generations maps architectures to the rows of NCCL's tuning tables.
var generations = map[string]net.Generation{
	"sm80": net.Ampere, "sm90": net.Hopper, "sm100": net.Blackwell, "sm103": net.Blackwell,
}

// acrossDomains prices a collective over several NVLink domains. NCCL runs one
// ring or tree a channel through all ranks; the slower of NVLink and of the
// domain's NICs bounds it, and each hop costs the latency of its link. NCCL's
// tuner chooses algorithm and protocol. Its latencies of the Simple ring agree
// with SimAI's measurement of 2-128 nodes (nic_ratio.csv: 30-45 us a node of 8
// GPUs; 3.4 us x 7 + 14 us here).
func (m *CollectiveModel) acrossDomains(c Collective, g *hw.GPU) (price, error) {
	switch {
	case c.Custom != "":
		return price{}, fmt.Errorf("kernel %s works inside one domain", c.Custom)
	case g == nil:
		return price{}, fmt.Errorf("no GPU given")
	case c.Kind == AllToAll:
		return m.allToAllAcross(c, g)
	}
	system, err := m.system(c, g)
	if err != nil {
		return price{}, err
	}
	choices, err := system.Choices(net.Collective(c.Kind))
	if err != nil {
		return price{}, err
	}
	bytes := float64(c.Bytes)
	best, latency, algo := math.Inf(1), 0.0, ""
	for _, ch := range choices {
		if ch.Algo == net.NVLSTree {
			if ch.AlgGBps, err = m.capByNVLS(ch.AlgGBps, c, g); err != nil {
				return price{}, err
			}
		}
		// NCCL's corrections for size are left out: a smaller message would
		// sometimes take longer than a larger one.
		if us := ch.LatencyUs + bytes/(ch.AlgGBps*1e3); us < best {
			best, latency, algo = us, ch.LatencyUs, fmt.Sprintf("%s, %s", ch.Algo, ch.Proto)
		}
	}
	if math.IsInf(best, 1) {
		return price{}, fmt.Errorf("NCCL has no algorithm for it")
	}
	floor, err := m.ownDomain(c, g)
	if err != nil {
		return price{}, err
	}
	best = max(best, floor)
	relErr := 0.2 + 0.2*min(1, latency/best)
	if c.Group.PerDomain > 8 && c.Group.Domains() > 2 {
		relErr = racksRelErr
	}
	return price{
		us: best, relErr: relErr, source: Derived,
		note: fmt.Sprintf("over %d domains by NCCL's model (%s) at %g GB/s a NIC x %g and the NVLink bandwidth measured in a domain", c.Group.Domains(), algo, c.NICGBps, nicEfficiency),
	}, nil
}

// system describes the communicator to NCCL's tuner, with measured bandwidths.
func (m *CollectiveModel) system(c Collective, g *hw.GPU) (net.NCCLSystem, error) {
	generation, ok := generations[g.Arch]
	if !ok {
		return net.NCCLSystem{}, fmt.Errorf("NCCL's model of architecture %q is not known", g.Arch)
	}
	n, per, domains := c.Group.Ranks, c.Group.PerDomain, c.Group.Domains()
	if n%per != 0 || n > math.MaxInt32 {
		return net.NCCLSystem{}, fmt.Errorf("%d ranks with %d in a domain: want equally many in each", n, per)
	}
	bus := nicEfficiency * float64(per) * c.NICGBps
	if per > 1 { // else nothing crosses NVLink
		ring, err := m.ringBus(c.Kind, g)
		if err != nil {
			return net.NCCLSystem{}, err
		}
		bus = min(bus, ring*m.channelShare(c, g))
	}
	channels := int(min(max(4, 2*per), 24))
	graph := net.Graph{Channels: channels, IntraGBps: bus / float64(channels), InterGBps: bus / float64(channels)}
	s := net.NCCLSystem{
		Title: g.Name, Generation: generation, Ranks: int(n), Nodes: int(domains), Ring: graph, Tree: graph,
	}
	if m.nvlsAcross(c, generation) {
		const channels = 8
		s.NVLSTree = net.Graph{
			Channels:  channels,
			IntraGBps: g.NVLinkGBps, // no bound: capByNVLS has the measured one
			InterGBps: nicEfficiency * float64(per) * c.NICGBps / channels,
		}
	}
	return s, nil
}

// channelShare is what fewer SMs than the default leave of the NVLink bandwidth.
func (m *CollectiveModel) channelShare(c Collective, g *hw.GPU) float64 {
	if full := c.channels(g); c.SMs > 0 && c.SMs < full {
		return float64(c.SMs) / float64(full)
	}
	return 1
}

// nvlsAcross tells whether NVLink SHARP takes part: switches of Hopper and
// later, floats, and at least half a node of 8 in the group (assumed).
func (m *CollectiveModel) nvlsAcross(c Collective, gen net.Generation) bool {
	return c.Kind == AllReduce && !c.Integer && c.Group.PerDomain >= 4 && (gen == net.Hopper || gen == net.Blackwell)
}

// ringBus is the bus bandwidth of a ring over NVLink; that of an all-reduce is
// the slower of its halves.
func (m *CollectiveModel) ringBus(kind CollectiveKind, g *hw.GPU) (float64, error) {
	switch kind {
	case AllReduce:
		gather, err := m.ringBusGBps(AllGather, g)
		if err != nil {
			return 0, err
		}
		scatter, err := m.ringBusGBps(ReduceScatter, g)
		return min(gather, scatter), err
	case Broadcast:
		kind = AllGather
	}
	return m.ringBusGBps(kind, g)
}

// capByNVLS bounds the algorithm bandwidth of NVLSTree by what NVLink SHARP
// reaches in one domain, at 0.9 of it (H100 2 x 8 GPUs 441, B200 2 x 8 690, GB200
// 2 x 72 815 GB/s of bus bandwidth; coreweave nccl-tests).
func (m *CollectiveModel) capByNVLS(algGBps float64, c Collective, g *hw.GPU) (float64, error) {
	curves := m.curvesOf(c)
	if len(curves) == 0 {
		return 0, fmt.Errorf("no %s was measured", c.Kind)
	}
	nvls := curves[len(curves)-1].Curve.GBps() / m.nvlinkScale(g) * m.channelShare(c, g)
	return min(algGBps, 0.9*nvls), nil
}

// ownDomain is a bound from below: what the ranks of one domain need by
// themselves, the whole of it for an all-reduce, else the latency.
func (m *CollectiveModel) ownDomain(c Collective, g *hw.GPU) (float64, error) {
	if c.Group.PerDomain == 1 {
		return 0, nil
	}
	own := Collective{Kind: c.Kind, Bytes: 1, Integer: c.Integer,
		Group: Group{Ranks: c.Group.PerDomain, PerDomain: c.Group.PerDomain}}
	if c.Kind == AllReduce {
		own.Bytes = c.Bytes
	}
	p, err := m.inDomain(own, g)
	return p.us, err
}

// Latency of NCCL's all-to-all between nodes: fitted to SimAI's ata_ratio.csv
// (16 and 32 MiB on 4, 8 and 16 nodes of 8 GPUs, 400 Gb/s a GPU).
const (
	allToAllNetUs  = 90   // microseconds
	allToAllPeerUs = 0.75 // microseconds a rank in another domain
)

// allToAllAcross prices NCCL's all-to-all: a pair of messages with every other
// rank. Those of other domains share the rank's NIC, those of its own NVLink.
func (m *CollectiveModel) allToAllAcross(c Collective, g *hw.GPU) (price, error) {
	n, per := float64(c.Group.Ranks), float64(c.Group.PerDomain)
	bytes, peers := float64(c.Bytes), n-per
	transfer := bytes * peers / n / (nicEfficiency * c.NICGBps * 1e3)
	latency := allToAllNetUs + allToAllPeerUs*peers
	if per > 1 {
		own := Collective{Kind: AllToAll, Bytes: max(1, int64(math.Ceil(bytes*per/n))), SMs: c.SMs,
			Group: Group{Ranks: c.Group.PerDomain, PerDomain: c.Group.PerDomain}}
		p, err := m.inDomain(own, g)
		if err != nil {
			return price{}, err
		}
		transfer = max(transfer, p.us)
	}
	us := latency + transfer
	return price{
		us: us, relErr: 0.2 + 0.2*latency/us, source: Derived,
		note: fmt.Sprintf("over %d domains: pairwise, the slower of NVLink and NIC at %g GB/s x %g, latency fitted to SimAI's ata_ratio.csv", c.Group.Domains(), c.NICGBps, nicEfficiency),
	}, nil
}
