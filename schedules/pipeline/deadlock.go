package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"orrery/sim/unit"
)

// deadlock names the circle of passes in which device d, which got stuck, waits
// for itself: every device of it waits for a pass that another is to run later.
func (r *run) deadlock(d int) error {
	type wait struct{ pass, runs Slot } // device's next pass, and what that needs first
	var devices []int
	var waits []wait
	for at := d; ; {
		if i := slices.Index(devices, at); i >= 0 {
			devices, waits = devices[i:], waits[i:]
			break
		}
		next := r.t.Order[at][len(r.t.End[at])]
		missing := r.missing(next)
		devices, waits = append(devices, at), append(waits, wait{next, missing})
		at = r.s.Device(r.shape, missing)
	}
	var circle []string
	for i, w := range waits {
		on := devices[(i+1)%len(devices)]
		circle = append(circle, fmt.Sprintf("%v on device %d waits for %v, which device %d runs later", w.pass, devices[i], w.runs, on))
	}
	stuck := r.t.Order[d][len(r.t.End[d])]
	return fmt.Errorf("deadlock: device %d never gets to run %v: %s", d, stuck, strings.Join(circle, "; "))
}

// missing is the first input of a pass that has not been produced, as its
// order has it.
func (r *run) missing(slot Slot) Slot {
	var first Slot
	found := false
	r.inputs(slot, func(ends []unit.Time, from Slot) {
		if found || ends[from.index(r.shape)] != unset {
			return
		}
		found, first = true, from
	})
	if first.Phase == F {
		return first
	}
	// W waits for its I; a backward may be whole or split on the other stage.
	d := r.s.Device(r.shape, first)
	for _, phase := range []Phase{B, I} {
		first.Phase = phase
		if slices.Contains(r.t.Order[d], first) {
			break
		}
	}
	return first
}
