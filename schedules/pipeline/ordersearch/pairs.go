package ordersearch

import (
	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// PairsWorth is by how much overlapped pairs must be shorter than one pass after the
// other, as a share to a thousandth, for a named schedule with pairs to take no
// longer than a goal; false where it has no pairs or none are short enough.
func PairsWorth(p Problem, n Named, goal unit.Time) (share float64, ok bool, err error) {
	if n.Pairs == nil {
		return 0, false, nil
	}
	pair := map[pipeline.Slot]unit.Time{} // by backward: what the two take one after the other
	for _, slots := range n.Pairs {
		for i, slot := range slots {
			if slot.Paired {
				pair[slot] = p.Costs.At(slot) + p.Costs.At(slots[i-1])
			}
		}
	}
	const parts = 1000
	meets := func(share int) (bool, error) {
		c := pipeline.Costs{Comm: p.Costs.Comm, Vary: func(s pipeline.Slot) unit.Time {
			return max(0, p.Costs.At(s)-pair[s]*unit.Time(share)/parts) // pair is 0 of others
		}}
		t, err := pipeline.Simulate(&Order{p, n.Pairs}, p.Shape, c)
		if err != nil {
			return false, err
		}
		return t.Makespan <= goal, nil
	}
	lo, hi := 0, parts // too little, and enough if ok
	if ok, err = meets(hi); err != nil || !ok {
		return 0, false, err
	}
	for hi-lo > 1 {
		enough, err := meets((lo + hi) / 2)
		if err != nil {
			return 0, false, err
		}
		if enough {
			hi = (lo + hi) / 2
		} else {
			lo = (lo + hi) / 2
		}
	}
	return float64(hi) / parts, true, nil
}
