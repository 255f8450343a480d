package models

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestStatesVectors(t *testing.T) {
	columns := map[string]States{"ddp_16B": StatesDDP, "zero1_4+12/d": StatesZeRO1, "zero2_2+14/d": StatesZeRO2,
		"zero3_16/d": StatesZeRO3, "megatron_18B": StatesMegatron, "megatron_distopt_6+12/d": StatesDistOpt}
	for _, r := range sharedRows(t, "schedules/model_states.csv") {
		for column, s := range columns {
			require.InEpsilon(t, r.num(t, column), s.Bytes(r.whole(t, "params"), r.whole(t, "dp")), 1e-12, "%s at dp %s: %s", r["model"], r["dp"], column)
		}
	}
}

// TestStatesPaper has ZeRO's table 1 (arXiv:1910.02054): 7.5 B parameters on 64
// GPUs, in GB.
func TestStatesPaper(t *testing.T) {
	for want, s := range map[float64]States{120: StatesDDP, 31.4: StatesZeRO1, 16.6: StatesZeRO2, 1.88: StatesZeRO3} {
		require.InEpsilon(t, want, s.Bytes(7_500_000_000, 64)/1e9, 0.004)
	}
}

func TestStatesInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		params := rapid.Int64Range(1, 1e13).Draw(t, "params")
		d := rapid.Int64Range(1, 1e6).Draw(t, "ranks")
		plain := StatesDDP.Bytes(params, d)
		require.InEpsilon(t, plain, float64(d)*StatesZeRO3.Bytes(params, d), 1e-12, "ZeRO-3 over all ranks is one copy")
		for _, s := range []States{StatesZeRO1, StatesZeRO2, StatesZeRO3} {
			require.InEpsilon(t, plain, s.Bytes(params, 1), 1e-12, "alone, nothing is sharded")
			require.LessOrEqual(t, s.Bytes(params, d), plain)
		}
		require.InEpsilon(t, StatesMegatron.Bytes(params, d), StatesDistOpt.Bytes(params, 1), 1e-12)
		require.LessOrEqual(t, StatesZeRO3.Bytes(params, d), StatesZeRO2.Bytes(params, d))
		require.LessOrEqual(t, StatesZeRO2.Bytes(params, d), StatesZeRO1.Bytes(params, d))
	})
}
