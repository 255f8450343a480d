package pipeline

import (
	"fmt"
	"slices"
)

// ContextExchange tells, for every pass of SlimPipe's order, how many earlier
// slices of keys and values a device hands to its peer to attend to (negative)
// or attends to for its peer (positive), so that the causal work of a tick is
// the same everywhere (arXiv:2504.14519; SC'25 artifact, AttnBalancer). most
// bounds the slices of one exchange; 0 does not. The result has the layout of
// Order.
//
// In a tick the devices are at consecutive positions of one common order. Those
// positions are sorted by the keys that their slices see, the k-th fewest is
// paired with the k-th most, and each pair halves its difference. Nothing is
// exchanged while the pipeline fills or drains.
func ContextExchange(s Shape, most int) ([][]int32, error) {
	t := slimPipe{}
	order, err := t.Order(s)
	if err != nil {
		return nil, err
	}
	if most < 0 {
		return nil, fmt.Errorf("an exchange of at most %d slices, want 0 (no bound) or more", most)
	}
	p := s.Devices
	var lens []int // earlier slices of the same microbatch and chunk, by position
	for b := range s.Microbatches {
		for _, slot := range t.microbatch(s, 0, b) {
			lens = append(lens, int(slot.Slice))
		}
	}
	backward := make([]int, 0, len(lens))
	per := s.slices() * s.Virtual
	for b := range s.Microbatches {
		for i := per - 1; i >= 0; i-- {
			backward = append(backward, lens[b*per+i])
		}
	}
	out := make([][]int32, p)
	for d := range out {
		out[d] = make([]int32, len(order[d]))
		f, b := 0, 0
		for i, slot := range order[d] {
			if slot.Phase == F { // device 0 is ahead
				out[d][i] = handed(lens, f+d, p, d, most)
				f++
			} else { // device p-1 is ahead
				out[d][i] = handed(backward, b+p-1-d, p, p-1-d, most)
				b++
			}
		}
	}
	return out, nil
}

// handed is what the k-th device behind the leader takes over, where the leader
// is at a position of the common order and each device one position behind the
// one before it.
func handed(lens []int, leader, p, k, most int) int32 {
	if leader >= len(lens) || leader-(p-1) < 0 {
		return 0
	}
	tick := make([]int, p)
	for i := range tick {
		tick[i] = lens[leader-i]
	}
	mine := tick[k]
	slices.Sort(tick)
	at, _ := slices.BinarySearch(tick, mine)
	peer := tick[p-1-at]
	vol := (peer + mine) / 2
	if vol < mine && (peer+mine)%2 != 0 { // towards zero
		vol++
	}
	vol -= mine
	if most > 0 {
		vol = max(min(vol, most), -most)
	}
	return int32(vol)
}
