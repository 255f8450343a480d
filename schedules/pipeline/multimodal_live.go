package pipeline

import (
	"slices"

	"orrery/sim/unit"
)

// Live is what a device holds of a module over time.
type Live struct {
	At []unit.Time
	// Passes is how many forwards of one stage are held from At on, to the end of their
	// backward: of the LLM, activations of a chunk.
	Passes []int
	// Units is how many microbatches the device's stages of an encoder or generator
	// are held of at most: Passes over its stages there, rounded up.
	Units int
	Peak  int // of Passes
}

// LiveOf is what each device holds of each module over a timeline of s.
func LiveOf(s Multimodal, shape Shape, t *Timing) [][numModules]Live {
	out := make([][numModules]Live, len(t.Order))
	on := stagesOn(s, shape)
	for d, slots := range t.Order {
		var held [numModules]int
		stages := on[d]
		for i, slot := range slots {
			if slot.Phase == I {
				continue // W frees
			}
			module := ModuleOf(s, shape, int(slot.Stage))
			l, at := &out[d][module], t.Start[d][i]
			if slot.Phase == F {
				held[module]++
			} else {
				held[module]--
				at = t.End[d][i]
			}
			l.At, l.Passes = append(l.At, at), append(l.Passes, held[module])
			l.Peak = max(l.Peak, held[module])
			l.Units = (l.Peak + stages[module] - 1) / max(stages[module], 1)
		}
	}
	return out
}

// LiveUnitsOf is the most microbatches' activations of a module that a device holds over
// an order of s; 0 where s has no modules.
func LiveUnitsOf(s Schedule, shape Shape, order [][]Slot, m Module) int {
	made, ok := s.(Multimodal)
	if !ok {
		return 0
	}
	most, on := 0, stagesOn(made, shape)
	for d, slots := range order {
		held, peak := 0, 0
		for _, slot := range slots {
			switch {
			case ModuleOf(s, shape, int(slot.Stage)) != m || slot.Phase == I:
			case slot.Phase == F:
				held++
			default:
				held--
			}
			peak = max(peak, held)
		}
		n := max(on[d][m], 1)
		most = max(most, (peak+n-1)/n)
	}
	return most
}

// stagesOn is how many stages of each module each device holds.
func stagesOn(s Multimodal, shape Shape) [][numModules]int {
	n := make([][numModules]int, shape.Devices)
	for stage := range Stages(s, shape) {
		module, seen := ModuleOf(s, shape, stage), map[int]bool{}
		for mb := range min(shape.Microbatches, shape.Devices) { // more are on the same devices again
			if d := s.Device(shape, Slot{Stage: int32(stage), Microbatch: int32(mb)}); !seen[d] {
				seen[d] = true
				n[d][module]++
			}
		}
	}
	return n
}

// LiveUnits is the most microbatches' activations of a module that a device holds.
func LiveUnits(live [][numModules]Live, m Module) int {
	most := 0
	for _, l := range live {
		most = max(most, l[m].Units)
	}
	return most
}

// LivePeaks is the most activations of a module's stages that each device holds.
func LivePeaks(live [][numModules]Live, m Module) []int {
	out := make([]int, len(live))
	for d, l := range live {
		out[d] = l[m].Peak
	}
	return slices.Clip(out)
}
