package engine

import (
	"orrery/sim/program"
	"orrery/sim/unit"
)

// event is the end of an op.
type event struct {
	at unit.Time
	op program.OpID
}

// before orders events by time, then op.
func (a event) before(b event) bool { return a.at < b.at || a.at == b.at && a.op < b.op }

// eventHeap is a binary heap of values; container/heap would box each.
type eventHeap []event

func (q *eventHeap) push(e event) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	*q = h
}

// pop takes the first event out of a heap that has one.
func (q *eventHeap) pop() event {
	h := *q
	first := h[0]
	n := len(h) - 1
	e := h[n]
	h = h[:n]
	*q = h
	if n == 0 {
		return first
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && h[c+1].before(h[c]) {
			c++
		}
		if !h[c].before(e) {
			break
		}
		h[i] = h[c]
		i = c
	}
	h[i] = e
	return first
}
