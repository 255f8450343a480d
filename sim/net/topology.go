package net

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"orrery/sim/unit"
)

// Link is one direction of a cable, a port, or a bundle of cables that is
// shared evenly.
type Link struct {
	Name    string
	GBps    float64
	Latency unit.Time
}

// Topology is the links of a machine and the one route between any two ranks.
// Rank r is GPU r mod GPUsPerNode of node r / GPUsPerNode.
type Topology interface {
	Name() string
	Ranks() int
	// Links lists the links by LinkID. Do not write to it.
	Links() []Link
	// Route is the links from src to dst in order: empty if they are the same
	// rank or one is not of the machine. Equal calls give equal routes.
	Route(src, dst int) []LinkID
}

// Spec sizes a topology. Bandwidths are per GPU and direction.
type Spec struct {
	Nodes       int
	GPUsPerNode int
	// NVLinkDomain is the GPUs that NVLink joins; 0 is a node.
	NVLinkDomain int
	NVLinkGBps   float64
	NICGBps      float64 // one NIC a GPU
	// NodesPerUnit are the nodes whose NICs meet in the same leaf switches (a
	// scalable unit, a rack); 0 is all.
	NodesPerUnit int
	// UnitsPerPod are the units whose leaves meet in the same spines without
	// going through the core; 0 is all, a network without a core.
	UnitsPerPod int
	// Oversubscription is the bandwidth below a leaf over that above it, and
	// CoreOversubscription the same of a pod's spines; 0 counts as 1, which
	// does not block.
	Oversubscription     float64
	CoreOversubscription float64
	// PXN sends data that is for another rail over NVLink first, to the GPU of
	// the source's node whose NIC is on that rail (NCCL 2.12).
	PXN bool
	// Latency of one link: a GPU's NVLink port, a NIC's cable, a switch's cable.
	NVLinkLatency unit.Time
	NICLatency    unit.Time
	SwitchLatency unit.Time
}

// builder makes a topology of a checked Spec.
type builder func(Spec) (Topology, error)

var (
	builders       = map[string]builder{}
	builderClashes []error // reported by a test
)

func registerTopology(name string, b builder) {
	if _, taken := builders[name]; taken {
		builderClashes = append(builderClashes, fmt.Errorf("two topologies are called %q", name))
		return
	}
	builders[name] = b
}

// Topologies lists the names that New knows, sorted.
func Topologies() []string { return slices.Sorted(maps.Keys(builders)) }

// New makes the topology of that name. The error tells every field of the Spec
// that is out of range.
func New(name string, s Spec) (Topology, error) {
	build, ok := builders[name]
	if !ok {
		return nil, fmt.Errorf("no topology is called %q; known are %s", name, strings.Join(Topologies(), ", "))
	}
	if s.NVLinkDomain == 0 {
		s.NVLinkDomain = s.GPUsPerNode
	}
	if s.NodesPerUnit == 0 || s.NodesPerUnit > s.Nodes {
		s.NodesPerUnit = s.Nodes
	}
	if s.Oversubscription == 0 {
		s.Oversubscription = 1
	}
	if s.CoreOversubscription == 0 {
		s.CoreOversubscription = 1
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("topology %s: %w", name, err)
	}
	t, err := build(s)
	if err != nil {
		return nil, fmt.Errorf("topology %s: %w", name, err)
	}
	return t, nil
}

// maxLinks keeps a mistyped size from exhausting memory.
const maxLinks = 1 << 24

func (s Spec) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Nodes < 1 || s.GPUsPerNode < 1 {
		bad("%d nodes of %d GPUs: want at least one of each", s.Nodes, s.GPUsPerNode)
	} else if s.Nodes > maxLinks/8/s.GPUsPerNode {
		bad("%d nodes of %d GPUs: want at most %d GPUs", s.Nodes, s.GPUsPerNode, maxLinks/8)
	} else if s.NVLinkDomain < s.GPUsPerNode || s.NVLinkDomain%s.GPUsPerNode != 0 {
		bad("an NVLink domain of %d GPUs: want whole nodes of %d", s.NVLinkDomain, s.GPUsPerNode)
	}
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	if !positive(s.NVLinkGBps) {
		bad("NVLink of %g GB/s: want above zero", s.NVLinkGBps)
	}
	if !(s.NICGBps >= 0) || math.IsInf(s.NICGBps, 0) {
		bad("NIC of %g GB/s: want zero (none) or above", s.NICGBps)
	}
	if s.NodesPerUnit < 0 || s.UnitsPerPod < 0 {
		bad("%d nodes a unit and %d units a pod: want neither below zero", s.NodesPerUnit, s.UnitsPerPod)
	}
	if !positive(s.Oversubscription) || !positive(s.CoreOversubscription) {
		bad("oversubscription %g, of the core %g: want above zero", s.Oversubscription, s.CoreOversubscription)
	}
	if s.NVLinkLatency < 0 || s.NICLatency < 0 || s.SwitchLatency < 0 {
		bad("latency below zero")
	}
	return errors.Join(errs...)
}

// Capacities are the links' bandwidths in GB/s, as NewSharing takes them.
func Capacities(t Topology) []float64 {
	out := make([]float64, len(t.Links()))
	for i, l := range t.Links() {
		out[i] = l.GBps
	}
	return out
}

// PathLatency is the sum of a route's latencies.
func PathLatency(t Topology, path []LinkID) unit.Time {
	var sum unit.Time
	links := t.Links()
	for _, l := range path {
		sum += links[l].Latency
	}
	return sum
}
