package packing

// least keeps the loads of bins and finds the smallest, the lowest index among
// equals: a binary heap.
type least struct {
	load []float64 // by bin
	heap []int32
}

func newLeast(bins int) *least {
	l := &least{load: make([]float64, bins), heap: make([]int32, bins)}
	for i := range l.heap {
		l.heap[i] = int32(i)
	}
	return l
}

// peek is the bin with the least load.
func (l *least) peek() int { return int(l.heap[0]) }

// add puts a load in the bin that has least and returns the bin.
func (l *least) add(load float64) int {
	bin := l.heap[0]
	l.load[bin] += load
	l.down(0)
	return int(bin)
}

func (l *least) less(a, b int32) bool {
	return l.load[a] < l.load[b] || l.load[a] == l.load[b] && a < b
}

func (l *least) down(i int) {
	for {
		kid := 2*i + 1
		if kid >= len(l.heap) {
			return
		}
		if kid+1 < len(l.heap) && l.less(l.heap[kid+1], l.heap[kid]) {
			kid++
		}
		if !l.less(l.heap[kid], l.heap[i]) {
			return
		}
		l.heap[i], l.heap[kid] = l.heap[kid], l.heap[i]
		i = kid
	}
}

// fill restores the heap after loads were set from outside.
func (l *least) fill() {
	for i := len(l.heap)/2 - 1; i >= 0; i-- {
		l.down(i)
	}
}
