package net

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// refSystem maps the reference tables' system names to machines.
func refSystem(t testing.TB, name string) NCCLSystem {
	for prefix, m := range map[string]struct {
		machine string
		nodes   int
	}{
		"DGX-H100 ": {"dgx-h100", 1}, "DGX-B200 ": {"dgx-b200", 1},
		"2xDGX-H100 ": {"dgx-h100", 2}, "4xDGX-H100 ": {"dgx-h100", 4}, "32xDGX-H100 ": {"dgx-h100", 32},
	} {
		if strings.HasPrefix(name, prefix) {
			s, err := NewNCCLSystem(m.machine, m.nodes)
			require.NoError(t, err)
			return s
		}
	}
	t.Fatalf("reference system %q has no machine", name)
	return NCCLSystem{}
}

func TestNCCLConstantsEqualReference(t *testing.T) {
	rows := readCSV(t, "schedules/nccl_tuning_constants.csv")
	type key struct{ system, collective string }
	count := map[key]int{}
	for _, r := range rows {
		k := key{r["system"], r["collective"]}
		choices, err := refSystem(t, k.system).Choices(collectives[k.collective])
		require.NoError(t, err)
		found := false
		for _, ch := range choices {
			if ch.Algo.String() == r["algo"] && ch.Proto.String() == r["proto"] {
				found = true
				require.InDelta(t, number(t, r["latency_us"]), ch.LatencyUs, 1e-4, "%v", r)
				require.InDelta(t, number(t, r["algbw_GBps"]), ch.AlgGBps, 1e-4, "%v", r)
			}
		}
		require.True(t, found, "not among the choices: %v", r)
		count[k]++
		require.LessOrEqual(t, count[k], len(choices))
	}
	for k, n := range count { // nothing is enabled that the reference has not
		choices, err := refSystem(t, k.system).Choices(collectives[k.collective])
		require.NoError(t, err)
		require.Len(t, choices, n, "%v", k)
	}
}

func TestNCCLTimesEqualReference(t *testing.T) {
	rows := readCSV(t, "schedules/nccl_times.csv")
	require.Len(t, rows, 375)
	for _, r := range rows {
		s := refSystem(t, r["system"])
		require.Equal(t, int(number(t, r["ranks"])), s.Ranks)
		require.Equal(t, int(number(t, r["nodes"])), s.Nodes)
		ch, us, err := s.Predict(collectives[r["collective"]], int64(number(t, r["bytes"])))
		require.NoError(t, err)
		require.Equal(t, r["algo"], ch.Algo.String(), "%v", r)
		require.Equal(t, r["proto"], ch.Proto.String(), "%v", r)
		require.InEpsilon(t, number(t, r["time_us"]), us, 5e-6, "%v", r) // four decimals, and NCCL's floats
	}
}

// Of one choice, more bytes never take less time, but for the tree at the steps
// of its correction table and the ring at its plateau; the best choice is never
// slower than any.
func TestNCCLPredictIsTheMinimum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		machine := rapid.SampledFrom([]string{"dgx-h100", "dgx-b200"}).Draw(t, "machine")
		nodes := 1
		if machine == "dgx-h100" {
			nodes = rapid.IntRange(1, 64).Draw(t, "nodes")
		}
		s, err := NewNCCLSystem(machine, nodes)
		require.NoError(t, err)
		c := rapid.SampledFrom([]Collective{AllReduce, AllGather, ReduceScatter, Broadcast}).Draw(t, "collective")
		bytes := rapid.Int64Range(0, 1<<34).Draw(t, "bytes")
		_, best, err := s.Predict(c, bytes)
		require.NoError(t, err)
		choices, err := s.Choices(c)
		require.NoError(t, err)
		for _, ch := range choices {
			us := s.Micros(c, ch, bytes)
			require.LessOrEqual(t, best, us)
			if ch.Algo != Tree {
				require.LessOrEqual(t, us, s.Micros(c, ch, bytes+1<<20))
			}
		}
	})
}

func TestNCCLFlags(t *testing.T) {
	s, err := NewNCCLSystem("dgx-h100", 4)
	require.NoError(t, err)
	has := func(s NCCLSystem, c Collective, a Algo, p Proto) bool {
		choices, err := s.Choices(c)
		require.NoError(t, err)
		for _, ch := range choices {
			if ch.Algo == a && ch.Proto == p {
				return true
			}
		}
		return false
	}
	require.False(t, has(s, AllReduce, NVLS, Simple), "NVLS spans nodes only with CollNet")
	s.CollectiveOffloadNIC = true
	require.True(t, has(s, AllReduce, NVLS, Simple))
	require.True(t, has(s, AllGather, Ring, LL128))
	s.NoLL128 = true
	require.False(t, has(s, AllGather, Ring, LL128))
	require.False(t, has(s, AllGather, PAT, Simple))
	s.Ranks = s.Nodes
	require.True(t, has(s, AllGather, PAT, Simple), "PAT is for one GPU a node")

	amd := s
	amd.AMDHost = true
	_, intel, err := s.Predict(AllReduce, 1<<12)
	require.NoError(t, err)
	_, slower, err := amd.Predict(AllReduce, 1<<12)
	require.NoError(t, err)
	require.GreaterOrEqual(t, slower, intel)
}

func TestNCCLErrors(t *testing.T) {
	_, err := NewNCCLSystem("abacus", 1)
	require.ErrorContains(t, err, "known are dgx-h100, dgx-b200")
	_, err = NewNCCLSystem("dgx-b200", 2)
	require.ErrorContains(t, err, "fill in an NCCLSystem")
	_, err = NewNCCLSystem("dgx-h100", 0)
	require.Error(t, err)
	s, err := NewNCCLSystem("dgx-h100", 1)
	require.NoError(t, err)
	_, _, err = s.Predict(AllToAll, 1)
	require.ErrorContains(t, err, "no model of all_to_all")
	_, _, err = s.Predict(AllReduce, -1)
	require.Error(t, err)
	s.Ranks = 7
	s.Nodes = 2
	_, err = s.Choices(AllReduce)
	require.ErrorContains(t, err, "equally many")
	_, err = NCCLSystem{Generation: 9, Ranks: 8, Nodes: 1}.Choices(AllReduce)
	require.Error(t, err)
	_, err = NCCLSystem{Generation: Hopper, Ranks: 8, Nodes: 1}.Choices(AllReduce)
	require.ErrorContains(t, err, "no channels")
}
