package sim

import (
	"orrery/schedules/pipeline"
	"orrery/sim/lower"
	"orrery/sim/unit"
)

// rank is when a rank has its gradients, or another that waits for its last passes:
// it cannot start before a microbatch has come to it, it has to run all of its
// passes, and what it produced last has a way to go.
func (t *timeBound) rank(r int) (unit.Time, error) {
	f := &t.facts.ranks[r]
	fill, err := t.way(f.first)
	if err != nil {
		return 0, err
	}
	work := unit.Time(0)
	for i, stage := range t.facts.held[r] {
		for phase, n := range f.passes[i] {
			if n > 0 {
				work += unit.Time(n) * t.pass[phase][stage]
			}
		}
	}
	waits, err := t.transfers(r)
	if err != nil {
		return 0, err
	}
	lag, err := t.gathers(r, fill)
	if err != nil {
		return 0, err
	}
	end := fill + lag + work + waits
	tail, last, err := t.reduces(r)
	if err != nil || t.facts.guess {
		return end + last, err
	}
	ready := end + tail
	on, err := t.drain(end, f.last)
	if err != nil {
		return 0, err
	}
	ready = max(ready, on)
	if f.last.Phase == pipeline.W { // weight gradients that others do not wait for
		for i, stage := range t.facts.held[r] {
			left := f.passes[i][pipeline.W] - f.weightsBefore[i]
			end -= unit.Time(left) * t.pass[pipeline.W][stage]
		}
		if on, err = t.drain(end-waits, f.lastInput); err != nil {
			return 0, err
		}
		ready = max(ready, on)
	}
	return max(ready, t.lane(r)), nil
}

// drain is when the microbatch of a backward pass that ends at a time has come to
// the first stage and its rank has the gradients.
func (t *timeBound) drain(end unit.Time, from pipeline.Slot) (unit.Time, error) {
	if from.Stage == 0 || from.Phase == pipeline.F || from.Phase == pipeline.W {
		return end, nil
	}
	way, err := t.way(from)
	if err != nil {
		return 0, err
	}
	to := t.device(0, from)
	_, last, err := t.reduces(to)
	end += way
	if t.facts.split && from.Phase == pipeline.I {
		if w := t.facts.ranks[to]; w.splitsAll() {
			end += t.pass[pipeline.W][0]
		}
	}
	return end + last, err
}

// splitsAll reports whether all backward passes of a rank are in halves.
func (r *rankFacts) splitsAll() bool {
	for _, n := range r.passes {
		if n[pipeline.B] > 0 {
			return false
		}
	}
	return true
}

// transfers is how long a rank's passes wait for messages that are not overlapped,
// from its first pass to its last.
func (t *timeBound) transfers(r int) (unit.Time, error) {
	if t.pure || t.facts.guess || len(t.facts.ranks) == 1 {
		return 0, nil
	}
	if t.plan.Schedule.Name() == "1f1b" {
		return t.batches(r)
	}
	if t.plan.Scenario.Framework.OverlapP2P || pipeline.Replicas(t.plan.Schedule) > 1 {
		return 0, nil
	}
	sum, longest := unit.Time(0), unit.Time(0)
	for i, stage := range t.facts.held[r] {
		n := t.facts.ranks[r].passes[i]
		for _, way := range []struct {
			to     int
			passes int64
		}{{stage + 1, n[pipeline.F]}, {stage - 1, n[pipeline.B] + n[pipeline.I]}} {
			if way.to < 0 || way.to >= len(t.plan.Stages) {
				continue
			}
			d, err := t.send(r, t.device(way.to, pipeline.Slot{}))
			if err != nil {
				return 0, err
			}
			sum += unit.Time(way.passes) * d
			longest = max(longest, d)
		}
	}
	return max(sum-longest, 0), nil // nothing waits for the last one
}

// batches are the blocking sends and receives of 1F1B: as many as microbatches with
// the next rank, and with the rank before as many but the first receive and the last
// send, each at least as long as one message.
func (t *timeBound) batches(r int) (unit.Time, error) {
	mbs := unit.Time(t.plan.Microbatches)
	sum := unit.Time(0)
	if r > 0 {
		d, err := t.send(r-1, r)
		if err != nil {
			return 0, err
		}
		sum += (mbs - 1) * d
	}
	if r+1 < len(t.facts.ranks) {
		d, err := t.send(r, r+1)
		if err != nil {
			return 0, err
		}
		sum += mbs * d
	}
	return sum, nil
}

// gathers is how much later a rank's first pass ends since its parameters have to be
// gathered first, where it starts at a time.
func (t *timeBound) gathers(r int, start unit.Time) (unit.Time, error) {
	first, every := t.parts.Gathers()
	if t.pure || !first && !every {
		return 0, nil
	}
	stage := int(t.facts.ranks[r].first.Stage)
	end, err := t.buckets(stage, true, pipeline.F, start)
	if err != nil {
		return 0, err
	}
	before, err := t.world.prices.sequence(t.parts.Buckets(stage, true, false, false)[0].Gather)
	return max(end-start-t.pass[pipeline.F][stage], before-start, 0), err
}

// buckets runs a pass of a stage that starts at a time beside its collectives, all of
// which could start at zero (of parameters) or behind their part (of gradients), and
// returns when both have ended, without what the host needs.
func (t *timeBound) buckets(stage int, gathers bool, phase pipeline.Phase, start unit.Time) (end unit.Time, err error) {
	times := t.world.partTimes(t.plan)
	st := t.plan.Stages[stage]
	at, comm := start, unit.Time(0)
	for _, b := range t.parts.Buckets(stage, gathers, !gathers, phase != pipeline.F) {
		part, err := t.stretch(times, st, b.First, b.Layers, b.Embedding, b.Head, phase)
		if err != nil {
			return 0, err
		}
		gather, err := t.world.prices.sequence(b.Gather)
		if err != nil {
			return 0, err
		}
		reduce, err := t.world.prices.sequence(b.Reduce)
		if err != nil {
			return 0, err
		}
		comm += gather
		if gather > 0 {
			at = max(at, comm)
		}
		at += t.least(part, false)
		if reduce > 0 {
			comm = max(comm, at) + reduce
		}
	}
	return max(at, comm), nil
}

// reduces is how long after its last pass a rank has its gradients, and how long
// after any backward pass at the least.
func (t *timeBound) reduces(r int) (tail, least unit.Time, err error) {
	if after := t.parts.After(r); after != nil {
		d, err := t.world.prices.sequence(after)
		return d, d, err
	}
	last, every := t.parts.Reduces()
	slot := t.facts.ranks[r].last
	if !last && !every || t.pure || t.facts.guess || slot.Phase != pipeline.B && slot.Phase != pipeline.W {
		return 0, 0, nil
	}
	bs := t.parts.Buckets(int(slot.Stage), false, true, true)
	if least, err = t.world.prices.sequence(bs[len(bs)-1].Reduce); err != nil {
		return 0, 0, err
	}
	end, err := t.buckets(int(slot.Stage), false, slot.Phase, 0)
	return max(end-t.pass[slot.Phase][slot.Stage], least), least, err
}

// lane is how long a rank's collectives take one after the other where every pass
// has some (FSDP without a pipeline).
func (t *timeBound) lane(r int) unit.Time {
	_, gathers := t.parts.Gathers()
	_, reduces := t.parts.Reduces()
	if !gathers && !reduces {
		return 0
	}
	sum := unit.Time(0)
	for i, stage := range t.facts.held[r] {
		for phase, n := range t.facts.ranks[r].passes[i] {
			backward := pipeline.Phase(phase) != pipeline.F
			if n == 0 || pipeline.Phase(phase) == pipeline.I {
				continue
			}
			for _, b := range t.parts.Buckets(stage, gathers, reduces && backward, backward) {
				sum += unit.Time(n) * (t.known(b.Gather) + t.known(b.Reduce))
			}
		}
	}
	return sum
}

// known is sequence of ops that have been priced before, nothing where they have not.
func (t *timeBound) known(ops []lower.Op) unit.Time {
	d, err := t.world.prices.sequence(ops)
	if err != nil {
		return 0
	}
	return d
}
