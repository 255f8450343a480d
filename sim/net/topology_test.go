package net

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// drawSpec is a valid Spec for the topology of that name.
func drawSpec(t *rapid.T, name string) Spec {
	s := Spec{
		GPUsPerNode:          rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "GPUs a node"),
		NVLinkGBps:           rapid.Float64Range(100, 900).Draw(t, "NVLink"),
		NICGBps:              rapid.Float64Range(10, 100).Draw(t, "NIC"),
		UnitsPerPod:          rapid.IntRange(0, 3).Draw(t, "units a pod"),
		Oversubscription:     rapid.Float64Range(1, 8).Draw(t, "oversubscription"),
		CoreOversubscription: rapid.Float64Range(1, 8).Draw(t, "core oversubscription"),
		NVLinkLatency:        unit.Microsecond, NICLatency: 2 * unit.Microsecond, SwitchLatency: 300 * unit.Nanosecond,
	}
	domainNodes := 1
	switch name {
	case "single_node":
		s.Nodes = rapid.IntRange(1, 18).Draw(t, "nodes")
		s.NVLinkDomain = s.Nodes * s.GPUsPerNode
		return s
	case "nvl_rack":
		domainNodes = rapid.SampledFrom([]int{2, 9, 18}).Draw(t, "nodes a domain")
		s.NVLinkDomain = domainNodes * s.GPUsPerNode
	}
	s.PXN = name != "fat_tree" && rapid.Bool().Draw(t, "PXN")
	s.Nodes = domainNodes * rapid.IntRange(1, 10).Draw(t, "domains")
	s.NodesPerUnit = domainNodes * rapid.IntRange(0, 4).Draw(t, "domains a unit")
	return s
}

func kinds(t Topology, path []LinkID) string {
	var out []string
	for _, l := range path {
		name := t.Links()[l].Name
		out = append(out, strings.TrimRight(name[:strings.Index(name, "/")], "0123456789")+name[strings.Index(name, "/"):])
	}
	return strings.Join(out, " ")
}

func TestTopologyNamesDoNotClash(t *testing.T) {
	require.NoError(t, errors.Join(builderClashes...))
	require.Equal(t, []string{"fat_tree", "nvl_rack", "rail_optimized", "single_node"}, Topologies())
}

// What every topology keeps, whoever registers it.
func TestTopologyConformance(t *testing.T) {
	for _, name := range Topologies() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := drawSpec(t, name)
				top, err := New(name, s)
				require.NoError(t, err)
				require.Equal(t, name, top.Name())
				require.Equal(t, s.Nodes*s.GPUsPerNode, top.Ranks())
				seen := map[string]bool{}
				for _, l := range top.Links() {
					require.False(t, seen[l.Name], "two links %s", l.Name)
					seen[l.Name] = true
					require.Positive(t, l.GBps)
				}
				domain := max(s.NVLinkDomain, s.GPUsPerNode)
				rank := rapid.IntRange(0, top.Ranks()-1)
				for range 20 {
					a, b := rank.Draw(t, "a"), rank.Draw(t, "b")
					path := top.Route(a, b)
					require.Equal(t, path, top.Route(a, b))
					require.Len(t, top.Route(b, a), len(path), "hops back")
					if a == b {
						require.Empty(t, path)
						continue
					}
					require.NotEmpty(t, path, "%d to %d", a, b)
					for _, l := range path {
						require.Less(t, int(l), len(top.Links()))
					}
					require.Len(t, slices.Compact(slices.Sorted(slices.Values(path))), len(path), "a route takes a link once")
					k := kinds(top, path)
					if a/domain == b/domain {
						require.Equal(t, "nvlink/up nvlink/down", k)
						require.Equal(t, 2*unit.Microsecond, PathLatency(top, path))
					} else {
						require.Contains(t, k, "nic/up")
						require.True(t, strings.HasSuffix(k, "nic/down"))
					}
					links := top.Links()
					last := links[path[len(path)-1]].Name
					require.True(t, last == fmt.Sprintf("nic%d/down", b) || last == fmt.Sprintf("nvlink%d/down", b), last)
					first := links[path[0]].Name
					require.True(t, first == fmt.Sprintf("nic%d/up", a) || first == fmt.Sprintf("nvlink%d/up", a), first)
				}
			})
		})
	}
}

func TestRailOptimizedRoutes(t *testing.T) {
	s := Spec{Nodes: 8, GPUsPerNode: 8, NVLinkGBps: 450, NICGBps: 50, NodesPerUnit: 4, Oversubscription: 2}
	top, err := New("rail_optimized", s)
	require.NoError(t, err)
	for _, c := range []struct {
		src, dst int
		want     string
	}{
		{0, 5, "nvlink/up nvlink/down"},
		{3, 8 + 3, "nic/up nic/down"},                     // same rail, same unit: one leaf
		{3, 8 + 4, "nic/up leaf/up leaf/down nic/down"},   // other rail
		{3, 4*8 + 3, "nic/up leaf/up leaf/down nic/down"}, // other unit
	} {
		require.Equal(t, c.want, kinds(top, top.Route(c.src, c.dst)), "%d to %d", c.src, c.dst)
	}
	leafUp := top.Links()[top.Route(3, 8+4)[1]]
	require.Equal(t, 4*50.0/2, leafUp.GBps, "four NICs a leaf, half as much above")

	s.PXN = true
	top, err = New("rail_optimized", s)
	require.NoError(t, err)
	path := top.Route(3, 8+4)
	require.Equal(t, "nvlink/up nvlink/down nic/up nic/down", kinds(top, path))
	require.Equal(t, "nic4/up", top.Links()[path[2]].Name, "leaves by the NIC of the destination's rail")
}

func TestFatTreeRoutes(t *testing.T) {
	top, err := New("fat_tree", Spec{
		Nodes: 16, GPUsPerNode: 8, NVLinkGBps: 450, NICGBps: 50, NodesPerUnit: 2, UnitsPerPod: 4, CoreOversubscription: 7,
	})
	require.NoError(t, err)
	require.Equal(t, "nic/up nic/down", kinds(top, top.Route(0, 15)), "same leaf, any NIC")
	require.Equal(t, "nic/up leaf/up leaf/down nic/down", kinds(top, top.Route(0, 16)))
	path := top.Route(0, 64)
	require.Equal(t, "nic/up leaf/up pod/up pod/down leaf/down nic/down", kinds(top, path))
	require.InEpsilon(t, 64*50.0/7, top.Links()[path[2]].GBps, 1e-12, "64 NICs a pod, a seventh above")
}

func TestNVLRackRoutes(t *testing.T) {
	top, err := New("nvl_rack", Spec{
		Nodes: 36, GPUsPerNode: 4, NVLinkDomain: 72, NVLinkGBps: 900, NICGBps: 50, PXN: true,
	})
	require.NoError(t, err)
	require.Equal(t, "nvlink/up nvlink/down", kinds(top, top.Route(0, 71)))
	require.Equal(t, "nic/up nic/down", kinds(top, top.Route(1, 72+5)))
	path := top.Route(5, 72+2)
	require.Equal(t, "nvlink/up nvlink/down nic/up nic/down", kinds(top, path))
	require.Equal(t, "nic6/up", top.Links()[path[2]].Name, "the GPU of the same tray")
}

// A bisection of flows between two halves of a network that does not block runs
// at the NICs' rate; oversubscribed, at that fraction.
func TestTopologyBisection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		over := rapid.Float64Range(1, 8).Draw(t, "oversubscription")
		top, err := New("rail_optimized", Spec{Nodes: 8, GPUsPerNode: 4, NVLinkGBps: 450, NICGBps: 50, NodesPerUnit: 4, Oversubscription: over})
		require.NoError(t, err)
		var flows []Flow
		for r := range 16 {
			flows = append(flows, Flow{Path: top.Route(r, r+16), Bytes: 1})
		}
		for _, r := range rates(t, Capacities(top), flows) {
			require.InEpsilon(t, 50/over, r, 1e-9)
		}
	})
}

func TestTopologyErrors(t *testing.T) {
	ok := Spec{Nodes: 4, GPUsPerNode: 8, NVLinkGBps: 450, NICGBps: 50}
	_, err := New("torus", ok)
	require.ErrorContains(t, err, "known are fat_tree, nvl_rack, rail_optimized, single_node")
	for want, change := range map[string]func(*Spec){
		"at least one of each": func(s *Spec) { s.Nodes = 0 },
		"at most":              func(s *Spec) { s.Nodes = math.MaxInt },
		"NVLink of 0":          func(s *Spec) { s.NVLinkGBps = 0 },
		"nothing joins them":   func(s *Spec) { s.NICGBps = 0 },
		"NIC of NaN":           func(s *Spec) { s.NICGBps = math.NaN() },
		"oversubscription":     func(s *Spec) { s.Oversubscription = -1 },
		"latency":              func(s *Spec) { s.NICLatency = -1 },
		"units a pod":          func(s *Spec) { s.UnitsPerPod = -1 },
		"use nvl_rack":         func(s *Spec) { s.NVLinkDomain = 16 },
		"whole nodes":          func(s *Spec) { s.NVLinkDomain = 12 },
	} {
		s := ok
		change(&s)
		_, err := New("rail_optimized", s)
		require.ErrorContains(t, err, want)
	}
	_, err = New("single_node", ok)
	require.ErrorContains(t, err, "want one domain")
	_, err = New("nvl_rack", ok)
	require.ErrorContains(t, err, "use rail_optimized")
	_, err = New("nvl_rack", Spec{Nodes: 5, GPUsPerNode: 4, NVLinkDomain: 8, NVLinkGBps: 1, NICGBps: 1})
	require.ErrorContains(t, err, "do not fill")
	_, err = New("nvl_rack", Spec{Nodes: 6, GPUsPerNode: 4, NVLinkDomain: 8, NVLinkGBps: 1, NICGBps: 1, NodesPerUnit: 3})
	require.ErrorContains(t, err, "split NVLink domains")
	s := ok
	s.PXN = true
	_, err = New("fat_tree", s)
	require.ErrorContains(t, err, "PXN")
	top, err := New("fat_tree", ok)
	require.NoError(t, err)
	require.Nil(t, top.Route(-1, 3))
	require.Nil(t, top.Route(0, top.Ranks()))
}
