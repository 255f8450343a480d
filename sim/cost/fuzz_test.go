package cost_test

import (
	"errors"
	"math"
	"os"
	"testing"

	"orrery/sim/cost"
	"orrery/sim/unit"
)

// FuzzReadProfile: a file is refused with an error, or is a profile that gives
// every kernel a positive time or an error.
func FuzzReadProfile(f *testing.F) {
	for _, text := range []string{
		`{"name":"x","version":1,"gpu":"h100","provenance":[]}`,
		`{"name":"x","version":1,"gpu":"h100","derived_from":"y"}`,
		`{"name":"x","version":1,"gpu":"h100","memory_bound":{"ops":{"copy":{}}}}`,
		`{"name":"x","version":1,"gpu":"h100","gemm":{"bf16":{}},"attention":{"fits":[{}]},"moe":{"bf16":{}},"grouped_gemm":{"bf16":{}}}`,
		`{"name":"x","version":1,"gpu":"h100","gemm":{"bf16":null},"collective":{"curves":[{"kind":"all_reduce","ranks":8}]},"ep_alltoall":{"paths":[{}]}}`,
	} {
		f.Add([]byte(text))
	}
	whole, err := os.ReadFile("../../calibrate/profiles/b200.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	group := cost.Group{Ranks: 8, PerDomain: 8}
	kernels := []cost.Kernel{
		cost.GEMM{M: 4096, N: 4096, K: 4096, DType: unit.BF16},
		cost.GroupedGEMM{Groups: 8, Tokens: 8192, N: 4096, K: 4096, DType: unit.BF16},
		cost.Attention{Batch: 1, SeqQ: 4096, SeqKV: 4096, Heads: 32, KVHeads: 8, HeadDim: 128, Causal: true, DType: unit.BF16},
		cost.MoE{Tokens: 4096, Hidden: 4096, Inter: 14336, TopK: 2, Experts: 8, TP: 1, EP: 8, Distribution: "balanced", DType: unit.BF16},
		cost.Memory{Op: "copy", Read: 1 << 20, Write: 1 << 20},
		cost.Collective{Kind: cost.AllReduce, Bytes: 1 << 24, Group: group},
		cost.P2P{Bytes: 1 << 24},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := cost.ReadProfile(data, func(string) (*cost.Profile, error) { return nil, errors.New("no base") })
		if err != nil {
			return
		}
		for _, k := range kernels {
			if e, err := p.Price(k); err == nil && (e.Time < 0 || math.IsNaN(e.RelErr)) {
				t.Fatalf("%v costs %v ± %v", k, e.Time, e.RelErr)
			}
		}
	})
}
