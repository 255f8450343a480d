package lower

import (
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/program"
)

// Blocking point-to-point communication, as Megatron's non-interleaved 1F1B
// does it (schedules.py, send_forward_recv_backward): a batch of sends and
// receives is posted when a rank reaches it, each transfer starts when both
// ends have posted, and the rank goes on when its whole batch has ended.

func (l *lowering) blocking() bool {
	return l.p.Schedule.Name() == "1f1b" && len(l.ranks) > 1
}

// item is a slot, or a batch of transfers.
type item struct {
	slot  pipeline.Slot
	batch []link // empty for a slot
}

// link is one transfer between neighbours: the output of (phase, microbatch)
// of rank from.
type link struct {
	phase pipeline.Phase
	from  int
	mb    int32
}

func (k link) to() int {
	if k.phase == pipeline.F {
		return k.from + 1
	}
	return k.from - 1
}

// script is rank r's slots with the batches between them. A slot's input is
// received in the batch before it, together with the send of the slot before
// when the two face the same neighbour's matching batch (steady state).
func (l *lowering) script(r int) []item {
	order, p := l.order[r], len(l.ranks)
	var out []item
	recv := func(s pipeline.Slot) (link, bool) {
		if s.Phase == pipeline.F {
			return link{s.Phase, r - 1, s.Microbatch}, r > 0
		}
		return link{s.Phase, r + 1, s.Microbatch}, r < p-1
	}
	send := func(s pipeline.Slot) (link, bool) {
		k := link{s.Phase, r, s.Microbatch}
		return k, k.to() >= 0 && k.to() < p
	}
	warmup := 0
	for warmup < len(order) && order[warmup].Phase == pipeline.F {
		warmup++
	}
	warmup-- // the last leading forward opens the steady state
	last := len(order) - 1
	for last >= 0 && order[last].Phase != pipeline.F {
		last-- // the cooldown follows the backward after the last forward
	}
	for i, s := range order {
		if i == 0 {
			if k, ok := recv(s); ok {
				out = append(out, item{batch: []link{k}})
			}
		}
		out = append(out, item{slot: s})
		var batches [][]link
		snd, sends := send(s)
		if i+1 == len(order) {
			if sends {
				batches = append(batches, []link{snd})
			}
		} else {
			rcv, recvs := recv(order[i+1])
			steady := i >= warmup && i <= last
			switch {
			case sends && recvs && steady && snd.to() == rcv.from:
				batches = append(batches, []link{snd, rcv})
			default:
				if sends {
					batches = append(batches, []link{snd})
				}
				if recvs {
					batches = append(batches, []link{rcv})
				}
			}
		}
		for _, b := range batches {
			out = append(out, item{batch: b})
		}
	}
	return out
}

// blockingPasses emits all ranks' scripts; a batch is left when both ends of
// each of its transfers have been reached.
func (l *lowering) blockingPasses() error {
	scripts := make([][]item, len(l.ranks))
	at := make([]int, len(l.ranks))
	posted := make([]bool, len(l.ranks)) // the batch at the head has been posted
	done := map[link]program.OpID{}
	reached := map[link][]program.OpID{} // what the end that came first waits for
	for r := range scripts {
		scripts[r] = l.script(r)
	}
	for moved := true; moved; {
		moved = false
		for r := range scripts {
			for at[r] < len(scripts[r]) {
				it := scripts[r][at[r]]
				if it.batch == nil {
					l.ranks[r].next++
					l.pass(r, it.slot)
					l.ranks[r].frontier = append(l.ranks[r].frontier[:0], l.ranks[r].lastOp)
					at[r]++
					moved = true
					continue
				}
				if !posted[r] {
					posted[r], moved = true, true
					for _, k := range it.batch {
						l.post(k, r, reached, done)
					}
				}
				if !l.batchDone(it.batch, done) {
					break
				}
				f := l.ranks[r].frontier[:0]
				for _, k := range it.batch {
					f = append(f, done[k])
				}
				l.ranks[r].frontier = f
				posted[r], moved = false, true
				at[r]++
			}
		}
	}
	for r := range scripts {
		if at[r] < len(scripts[r]) {
			return l.deadlock()
		}
	}
	return nil
}

// post reaches one end of a transfer; the second end makes its op.
func (l *lowering) post(k link, r int, reached map[link][]program.OpID, done map[link]program.OpID) {
	first, ok := reached[k]
	if !ok {
		reached[k] = append([]program.OpID{}, l.ranks[r].frontier...)
		return
	}
	delete(reached, k)
	lane := l.step.Lanes[k.from].SendF
	if k.phase != pipeline.F {
		lane = l.step.Lanes[k.from].SendB
	}
	deps := slices.Concat(first, l.ranks[r].frontier)
	done[k] = l.add(lane, l.sendWork(k.from, k.to()), Tag{k.phase, int32(k.from), k.mb, 0}, deps...)
}

func (l *lowering) batchDone(b []link, done map[link]program.OpID) bool {
	for _, k := range b {
		if _, ok := done[k]; !ok {
			return false
		}
	}
	return true
}
