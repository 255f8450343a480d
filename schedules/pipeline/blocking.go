package pipeline

import (
	"fmt"

	"orrery/sim/unit"
)

// SimulateBlocking times 1F1B with the blocking point-to-point communication of
// Megatron-LM's non-interleaved schedule (schedules.py,
// forward_backward_pipelining_without_interleaving): between passes a device
// posts a batch of transfers and waits for all of it. A transfer starts when
// both its ends are posted and takes Comm. In the steady state the output of a
// pass and the input of the next travel in one batch (send_forward_recv_backward,
// send_backward_recv_forward).
func SimulateBlocking(shape Shape, c Costs) (*Timing, error) {
	order, err := oneFOneB{}.Order(shape)
	if err != nil {
		return nil, err
	}
	if err := c.check(shape, order); err != nil {
		return nil, err
	}
	r := blockingRun{t: newTiming(order), c: c, post: map[transfer]unit.Time{}, done: map[transfer]unit.Time{}}
	for d := range order {
		r.devices = append(r.devices, blockingDevice{script: blockingScript(order[d], d, shape)})
	}
	for progress := true; progress; {
		progress = false
		for d := range r.devices {
			for r.step(d) {
				progress = true
			}
		}
	}
	for d := range r.devices {
		if dev := &r.devices[d]; dev.at < len(dev.script) {
			return nil, fmt.Errorf("deadlock: device %d waits at step %d of %d", d, dev.at, len(dev.script))
		}
	}
	r.t.finish(&c)
	return r.t, nil
}

// transfer is one message: microbatch mb's output of stage from.
type transfer struct {
	phase Phase // F: an activation to the next stage; B: a gradient to the one before
	from  int
	mb    int32
}

// to is the stage that receives it.
func (x transfer) to() int {
	if x.phase == F {
		return x.from + 1
	}
	return x.from - 1
}

// blockingStep is a pass, or a batch of transfers where batch is not empty.
type blockingStep struct {
	slot  Slot
	batch []transfer
}

// blockingScript is device d's 1F1B order with its batches. In the steady state
// the passes alternate and the transfers between two of them are one batch: one
// goes to the neighbour that the other comes from.
func blockingScript(order []Slot, d int, shape Shape) []blockingStep {
	p := shape.Devices
	warmup := min(p-1-d, shape.Microbatches)
	sends := func(s Slot) []transfer {
		if x := (transfer{s.Phase, d, s.Microbatch}); x.to() >= 0 && x.to() < p {
			return []transfer{x}
		}
		return nil
	}
	receives := func(s Slot) []transfer {
		x := transfer{s.Phase, d - 1, s.Microbatch}
		if s.Phase == B {
			x.from = d + 1
		}
		if x.from >= 0 && x.from < p {
			return []transfer{x}
		}
		return nil
	}
	var script []blockingStep
	post := func(batch []transfer) {
		if len(batch) > 0 {
			script = append(script, blockingStep{batch: batch})
		}
	}
	post(receives(order[0]))
	for i, s := range order {
		script = append(script, blockingStep{slot: s})
		if i+1 == len(order) {
			post(sends(s))
			break
		}
		next := order[i+1]
		if i >= warmup && s.Phase != next.Phase {
			post(append(sends(s), receives(next)...))
		} else {
			post(sends(s))
			post(receives(next))
		}
	}
	return script
}

type blockingDevice struct {
	script []blockingStep
	at     int
	posted bool // the batch at `at`
	free   unit.Time
}

type blockingRun struct {
	t       *Timing
	c       Costs
	devices []blockingDevice
	// post is when the first end of a transfer was posted, done when it ends,
	// known once both are.
	post, done map[transfer]unit.Time
}

// step advances device d by a pass, by posting a batch or by ending one.
func (r *blockingRun) step(d int) bool {
	dev := &r.devices[d]
	if dev.at == len(dev.script) {
		return false
	}
	step := dev.script[dev.at]
	if len(step.batch) == 0 {
		start := dev.free
		dev.free += r.c.at(step.slot)
		r.t.Start[d] = append(r.t.Start[d], start)
		r.t.End[d] = append(r.t.End[d], dev.free)
		dev.at++
		return true
	}
	if !dev.posted {
		dev.posted = true
		for _, x := range step.batch {
			if other, ok := r.post[x]; ok {
				r.done[x] = max(other, dev.free) + r.c.Comm
			} else {
				r.post[x] = dev.free
			}
		}
		return true
	}
	end := dev.free
	for _, x := range step.batch {
		done, ok := r.done[x]
		if !ok {
			return false
		}
		end = max(end, done)
	}
	dev.free, dev.posted = end, false
	dev.at++
	return true
}
