package pipeline

// Sends is how many outputs each device sends to another one over an order of s: a
// forward's to the stage after, a backward's to the stage before. An output is a
// whole microbatch's, or a slice's.
func Sends(s Schedule, shape Shape, order [][]Slot) []int {
	sends, stages := make([]int, len(order)), Stages(s, shape)
	for d, slots := range order {
		for _, slot := range slots {
			to := slot
			switch slot.Phase {
			case F:
				to.Stage++
			case B, I:
				to.Stage--
			default:
				continue
			}
			if to.Stage >= 0 && int(to.Stage) < stages && s.Device(shape, to) != d {
				sends[d]++
			}
		}
	}
	return sends
}
