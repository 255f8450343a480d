package pipeline

// Reordering of V-shaped building blocks (sail-sg's reference of
// arXiv:2405.15362): passes of a repeating block are moved to earlier free slots
// as long as no device holds more than before, then everything starts as early as
// it can. It knows no costs: each pass takes a slot.

// blockPeriod is the period of a building block: two forwards, two backwards and
// two weight gradients.
const blockPeriod = 6

// Types of passes of a device, in the order that a microbatch sees them: forward
// down and up, backward down and up, weight gradients. One row holds all weight
// gradients while blocks are reordered, two at the end.
const (
	typeWeights = 4
	typeRows    = 6
)

// blocks are the slots of all passes: by device, type and microbatch.
type blocks struct {
	p, m int
	slot [][typeRows][]int
}

// stableOrder repeats a block for every microbatch, reorders, and reads the order
// off the slots.
func stableOrder(s Shape, pattern func(device int) [4]int) [][]Slot {
	b := &blocks{p: s.Devices, m: s.Microbatches, slot: make([][typeRows][]int, s.Devices)}
	for d := range b.slot {
		for t, first := range pattern(d) {
			for j := range b.m {
				b.slot[d][t] = append(b.slot[d][t], first+blockPeriod*j)
			}
		}
	}
	b.reorder(true)
	b.dropWeights()
	b.reorder(false)
	b.dropWeights()
	b.putWeights(true)
	order := make([][]Slot, b.p)
	b.merge(func(d, t, j int) {
		phase, up := [typeRows]Phase{F, F, I, I, W, W}[t], t == 1 || t == 2 || t == typeWeights
		stage := d
		if up {
			stage = 2*b.p - 1 - d
		}
		order[d] = append(order[d], Slot{Phase: phase, Stage: int32(stage), Microbatch: int32(j)})
	})
	return order
}

func (b *blocks) dropWeights() {
	for d := range b.slot {
		b.slot[d][typeWeights], b.slot[d][typeWeights+1] = nil, nil
	}
}

// merge visits passes by slot, device, type and microbatch; slots may be changed
// meanwhile, as long as rows stay in order.
func (b *blocks) merge(visit func(d, t, j int)) {
	at := make([][typeRows]int, b.p)
	for {
		best, bd, bt := 0, -1, -1
		for d := range b.slot {
			for t, row := range b.slot[d] {
				if j := at[d][t]; j < len(row) && (bd < 0 || row[j] < best) {
					best, bd, bt = row[j], d, t
				}
			}
		}
		if bd < 0 {
			return
		}
		j := at[bd][bt]
		at[bd][bt]++
		visit(bd, bt, j)
	}
}

// timeline is what stands in each slot of a device: the type, or -1.
func (b *blocks) timeline(d int) []int {
	last := 0
	for _, row := range b.slot[d] {
		for _, s := range row {
			last = max(last, s)
		}
	}
	line := make([]int, last+1)
	for i := range line {
		line[i] = -1
	}
	for t, row := range b.slot[d] {
		for _, s := range row {
			line[s] = t
		}
	}
	return line
}

// putWeights places weight gradients into idle slots behind their backwards: in
// one row, or in one for each chunk.
func (b *blocks) putWeights(split bool) {
	for d := range b.slot {
		var pending [2]int
		line := b.timeline(d)
		take := func(s int) bool {
			for q := range pending {
				if pending[q] > 0 {
					pending[q]--
					b.slot[d][typeWeights+q] = append(b.slot[d][typeWeights+q], s)
					return true
				}
			}
			return false
		}
		for s, t := range line {
			switch {
			case t >= 2 && split:
				pending[t-2]++
			case t >= 2:
				pending[0]++
			case t < 0:
				take(s)
			}
		}
		for s := len(line); take(s); s++ {
			continue
		}
	}
}

// held is the most activations that a device with that timeline holds; without
// weight gradients on it each idle slot pays for a backward.
func held(line []int, weights bool) int {
	now, most, unpaid := 0, 0, 0
	for _, t := range line {
		switch {
		case t == 0 || t == 1:
			now++
			most = max(most, now)
		case t == typeWeights:
			now--
		case weights:
		case t >= 2:
			unpaid++
		case unpaid > 0:
			unpaid--
			now--
		}
	}
	return most
}

// needs is the last slot of what a pass waits for.
func (b *blocks) needs(d, t, j int) int {
	latest := -1
	other := d - 1
	if t == 1 || t == 3 {
		other = d + 1
	}
	if t < typeWeights && other >= 0 && other < b.p {
		latest = max(latest, b.slot[other][t][j])
	}
	if t >= 1 && t < typeWeights {
		latest = max(latest, b.slot[d][t-1][j])
	}
	if t == typeWeights {
		latest = max(latest, nth(b.slot[d][2], b.slot[d][3], j))
	}
	if j > 0 {
		latest = max(latest, b.slot[d][t][j-1])
	}
	return latest
}

// nth is the n-th smallest, from 0, of two sorted rows.
func nth(a, b []int, n int) int {
	i, j := 0, 0
	for {
		var x int
		if j == len(b) || i < len(a) && a[i] < b[j] {
			x, i = a[i], i+1
		} else {
			x, j = b[j], j+1
		}
		if i+j > n {
			return x
		}
	}
}

// reorder moves passes of the start and of the end to earlier free slots, then
// squeezes.
func (b *blocks) reorder(withWeights bool) {
	if withWeights {
		b.putWeights(false)
	}
	limit := 0
	lines := make([][]int, b.p)
	for d := range b.slot {
		lines[d] = b.timeline(d)
		limit = max(limit, held(lines[d], withWeights))
	}
	phase := 0
	b.merge(func(d, t, j int) {
		if t == 3 && d == 0 && phase == 0 {
			phase = 1
		}
		if phase == 1 {
			if t == 0 && j == b.m-1 {
				phase = 2
			}
			return
		}
		if phase == 0 && !withWeights {
			return
		}
		line, was := lines[d], b.slot[d][t][j]
		for s := b.needs(d, t, j) + 1; s < was; s++ {
			if line[s] >= 0 {
				continue
			}
			line[s], line[was] = t, -1
			if held(line, withWeights) <= limit {
				b.slot[d][t][j] = s
				return
			}
			line[s], line[was] = -1, t
		}
	})
	if !withWeights {
		b.putWeights(false)
	}
	b.squeeze()
}

// squeeze starts every pass as early as its device and what it waits for allow.
func (b *blocks) squeeze() {
	free := make([]int, b.p)
	done := &blocks{p: b.p, m: b.m, slot: make([][typeRows][]int, b.p)}
	paid := make([]int, b.p)
	b.merge(func(d, t, j int) {
		start := free[d]
		if t == typeWeights { // of the backwards so far
			start = max(start, nth(done.slot[d][2], done.slot[d][3], paid[d])+1)
			paid[d]++
		} else {
			start = max(start, done.needs(d, t, j)+1)
		}
		done.slot[d][t] = append(done.slot[d][t], start)
		free[d] = start + 1
	})
	b.slot = done.slot
}
