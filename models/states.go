package models

// States says what one parameter costs in weights, gradients and Adam's master
// weight and moments: Kept bytes on every rank and Sharded bytes divided among
// the ranks of the parameter's data-parallel group.
type States struct{ Kept, Sharded float64 }

// Mixed-precision Adam keeps 12 bytes of fp32 states (master weight, two
// moments) beside 2 of weights and 2 of gradients (ZeRO, arXiv:1910.02054,
// section 3.1). Megatron accumulates gradients in fp32 and so has 18 in all
// (Megatron-Core, docs of the distributed optimizer).
var (
	StatesDDP       = States{Kept: 16}             // bf16 weights and gradients, nothing sharded
	StatesZeRO1     = States{Kept: 4, Sharded: 12} // optimizer sharded
	StatesZeRO2     = States{Kept: 2, Sharded: 14} // and gradients
	StatesZeRO3     = States{Sharded: 16}          // and weights: FSDP, without the layers gathered at a time
	StatesMegatron  = States{Kept: 18}             // bf16 weights, fp32 gradients
	StatesDistOpt   = States{Kept: 6, Sharded: 12} // Megatron's distributed optimizer, bf16
	StatesDistOpt16 = States{Kept: 4, Sharded: 16} // Megatron's distributed optimizer, fp16 with fp16 gradients
	StatesDistOpt32 = States{Kept: 8, Sharded: 8}  // Megatron's distributed optimizer, fp32
)

// Bytes is what params parameters cost each rank of a data-parallel group of
// so many ranks. Experts have a group of their own: price them apart.
func (s States) Bytes(params, ranks int64) float64 {
	return float64(params) * (s.Kept + s.Sharded/float64(ranks))
}
