package pipeline

import (
	"fmt"
	"slices"
	"strings"
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
		next, missing := r.stuck(at)
		devices, waits = append(devices, at), append(waits, wait{next, missing})
		at = r.s.Device(r.shape, missing)
	}
	var circle []string
	for i, w := range waits {
		on := devices[(i+1)%len(devices)]
		circle = append(circle, fmt.Sprintf("%s on device %d waits for %s, which device %d runs later", r.name(w.pass), devices[i], r.name(w.runs), on))
	}
	stuck, _ := r.stuck(d)
	return fmt.Errorf("deadlock: device %d never gets to run %s: %s", d, r.name(stuck), strings.Join(circle, "; "))
}

func (r *run) name(s Slot) string { return Name(r.s, r.shape, s) }

// stuck is the pass that device d waits with, of a pair the one that has to, and
// the first of its inputs that has not been produced.
func (r *run) stuck(d int) (pass, input Slot) {
	for _, slot := range r.next(d) {
		if input, found := r.missing(slot); found {
			return slot, input
		}
	}
	return pass, input // not reached: Simulate ran whatever has its inputs
}

// missing is the first input of a pass that has not been produced, as its
// order has it.
func (r *run) missing(slot Slot) (first Slot, found bool) {
	other, own := r.inputs(slot)
	for _, key := range append(own[:], other) {
		if key < 0 || r.ended[key] != unset {
			continue
		}
		first, found = slotAt(r.shape, key/2), true
		if key%2 == 1 {
			first.Phase = slot.Phase
		}
		break
	}
	if first.Phase == F || !found {
		return first, found
	}
	// W waits for its I; a backward may be whole or split on the other stage.
	d := r.s.Device(r.shape, first)
	for _, phase := range []Phase{B, I} {
		first.Phase = phase
		if slices.ContainsFunc(r.t.Order[d], func(s Slot) bool { s.Paired = false; return s == first }) {
			break
		}
	}
	return first, true
}
