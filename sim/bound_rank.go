package sim

import (
	"orrery/schedules/pipeline"
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
	lane, err := t.lane(r)
	return max(ready, lane), err
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
	bs, err := t.cut(stage, true, pipeline.F)
	if err != nil {
		return 0, err
	}
	return max(endOf(bs, start)-start-t.pass[pipeline.F][stage], bs[0].gather-start, 0), nil
}

// bucketTime is a part of a pass with what its collectives take.
type bucketTime struct{ part, gather, reduce unit.Time }

type bucketsOf struct {
	stage   int
	gathers bool
	phase   pipeline.Phase
}

// cut are the parts of a stage's pass with the collectives of parameters, or else of
// gradients.
func (t *timeBound) cut(stage int, gathers bool, phase pipeline.Phase) ([]bucketTime, error) {
	k := bucketsOf{stage, gathers, phase}
	if known, ok := t.buckets[k]; ok {
		return known, nil
	}
	times, st := t.world.partTimes(t.plan), t.plan.Stages[stage]
	var out []bucketTime
	for _, b := range t.parts.Buckets(stage, gathers, !gathers, phase != pipeline.F) {
		part, err := t.stretch(times, st, b.First, b.Layers, b.Embedding, b.Head, phase)
		if err != nil {
			return nil, err
		}
		of := bucketTime{part: t.least(part, false)}
		if of.gather, err = t.world.prices.sequence(b.Gather); err != nil {
			return nil, err
		}
		if of.reduce, err = t.world.prices.sequence(b.Reduce); err != nil {
			return nil, err
		}
		out = append(out, of)
	}
	t.buckets[k] = out
	return out, nil
}

// endOf is when a pass that starts at a time and its collectives have ended, without
// what the host needs. Collectives of parameters could start at zero, those of
// gradients behind their part.
func endOf(buckets []bucketTime, start unit.Time) unit.Time {
	at, comm := start, unit.Time(0)
	for _, b := range buckets {
		if b.gather > 0 {
			comm += b.gather
			at = max(at, comm)
		}
		at += b.part
		if b.reduce > 0 {
			comm = max(comm, at) + b.reduce
		}
	}
	return max(at, comm)
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
	bs, err := t.cut(int(slot.Stage), false, slot.Phase)
	if err != nil {
		return 0, 0, err
	}
	least = bs[len(bs)-1].reduce
	return max(endOf(bs, 0)-t.pass[slot.Phase][slot.Stage], least), least, nil
}

// lane is how long a rank's collectives take one after the other where every pass
// has some (FSDP without a pipeline).
func (t *timeBound) lane(r int) (sum unit.Time, err error) {
	_, gathers := t.parts.Gathers()
	_, reduces := t.parts.Reduces()
	for i, stage := range t.facts.held[r] {
		for at, n := range t.facts.ranks[r].passes[i] {
			phase := pipeline.Phase(at)
			for _, of := range []struct{ carries, gathers bool }{
				{gathers && phase != pipeline.I, true}, {reduces && (phase == pipeline.B || phase == pipeline.W), false}} {
				if n == 0 || !of.carries {
					continue
				}
				bs, err := t.cut(stage, of.gathers, phase)
				if err != nil {
					return 0, err
				}
				for _, b := range bs {
					sum += unit.Time(n) * (b.gather + b.reduce)
				}
			}
		}
	}
	return sum, nil
}
