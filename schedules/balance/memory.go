package balance

import "orrery/sim/unit"

// SlotMemory is what redundant slots cost on a rank.
type SlotMemory struct{ Weights, Gradients unit.Bytes }

// SlotMemory is the memory of the redundant slots of a rank for a model of so
// many MoE layers: bf16 weights and fp32 gradients in training, no optimizer
// state (UltraEP, section 4.1). UltraEP's slots are shared by all layers;
// placements that last (EPLB, FlexMoE) hold them for each.
func (s Setup) SlotMemory(layers int, shared, training bool) SlotMemory {
	n := int64(s.Slots) * s.Prices.Params()
	if !shared {
		n *= int64(layers)
	}
	m := SlotMemory{Weights: unit.Bytes(2 * n)}
	if training {
		m.Gradients = unit.Bytes(4 * n)
	}
	return m
}
