package net

import (
	"cmp"
	"slices"

	"orrery/sim/unit"
)

// endHeap is a binary heap of flows by (end, order of start) in which a flow's
// end can move.
type endHeap struct {
	heap []FlowID
	// by flow
	at    []unit.Time
	order []uint64
	pos   []int32

	started uint64
}

func (q *endHeap) less(i, j int) bool {
	a, b := q.heap[i], q.heap[j]
	if q.at[a] != q.at[b] {
		return q.at[a] < q.at[b]
	}
	return q.order[a] < q.order[b]
}

func (q *endHeap) swap(i, j int) {
	q.heap[i], q.heap[j] = q.heap[j], q.heap[i]
	q.pos[q.heap[i]], q.pos[q.heap[j]] = int32(i), int32(j)
}

func (q *endHeap) push(id FlowID, at unit.Time) {
	for int(id) >= len(q.at) {
		q.at = append(q.at, 0)
		q.order = append(q.order, 0)
		q.pos = append(q.pos, 0)
	}
	q.at[id], q.order[id], q.pos[id] = at, q.started, int32(len(q.heap))
	q.started++
	q.heap = append(q.heap, id)
	q.up(len(q.heap) - 1)
}

func (q *endHeap) pop() {
	last := len(q.heap) - 1
	q.swap(0, last)
	q.heap = q.heap[:last]
	q.down(0)
}

func (q *endHeap) move(id FlowID, at unit.Time) {
	q.at[id] = at
	i := int(q.pos[id])
	q.up(i)
	q.down(int(q.pos[id]))
}

func (q *endHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !q.less(i, parent) {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q *endHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(q.heap) {
			return
		}
		if child+1 < len(q.heap) && q.less(child+1, child) {
			child++
		}
		if !q.less(child, i) {
			return
		}
		q.swap(i, child)
		i = child
	}
}

// levelItem is a link (who >= 0) or a flow with a demand (^who), by the level at
// which it freezes.
type levelItem struct {
	level float64
	who   int32
}

// levelHeap is a binary heap of values; container/heap would box each.
type levelHeap struct{ items []levelItem }

func (q *levelHeap) less(i, j int) bool {
	a, b := q.items[i], q.items[j]
	return a.level < b.level || a.level == b.level && a.who < b.who
}

func (q *levelHeap) init() {
	for i := len(q.items)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}

func (q *levelHeap) pop() {
	last := len(q.items) - 1
	q.items[0] = q.items[last]
	q.items = q.items[:last]
	q.down(0)
}

func (q *levelHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(q.items) {
			return
		}
		if child+1 < len(q.items) && q.less(child+1, child) {
			child++
		}
		if !q.less(child, i) {
			return
		}
		q.items[i], q.items[child] = q.items[child], q.items[i]
		i = child
	}
}

// startOrder is the order of flows by start, stable.
func startOrder(flows []TimedFlow) []int {
	order := make([]int, len(flows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(flows[a].Start, flows[b].Start) })
	return order
}
