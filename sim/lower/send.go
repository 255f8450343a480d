package lower

import (
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/program"
)

// transfer appends the send of a slot's input, if it comes from another rank,
// and returns what the slot waits for. Sends run on the sender's lanes behind
// compute; where P2P is not overlapped the sender's next pass waits too.
func (l *lowering) transfer(s pipeline.Slot, to int) program.OpID {
	from, at := s, l.bEnd
	if s.Phase == pipeline.F {
		from.Stage, at = s.Stage-1, l.fEnd
	} else {
		from.Stage++
	}
	if int(from.Stage) == len(l.p.Stages) { // the last stage's backward follows its own forward
		return program.None
	}
	src := l.p.Schedule.Device(l.p.Shape, from)
	in := at[l.at(int(from.Stage), s)]
	if src == to {
		return in
	}
	t := l.add(l.sendLane(s.Phase, src, to), l.sendWork(src, to), Tag{s.Phase, from.Stage, s.Microbatch, s.Slice}, in)
	if !l.fw.OverlapP2P {
		l.ranks[src].frontier = append(l.ranks[src].frontier, t)
	}
	return t
}

// sendWork is one activation (or its gradient) between neighbouring stages.
func (l *lowering) sendWork(src, dst int) program.WorkID {
	lo := min(src, dst)
	if d := src - dst; d > 1 || d < -1 { // around the ring of an interleaved schedule
		lo = len(l.ranks) - 1
	}
	k := cost.P2P{Bytes: 2 * l.sp * l.h}
	if l.p.Groups.CrossStage[lo] {
		k.NICGBps = l.nic
	}
	return l.work(workKey{kind: "send", bytes: k.Bytes, nic: k.NICGBps > 0}, func() (program.Work, Work) {
		return program.Work{Name: "send", Kind: program.Send}, Work{Kernel: k}
	})
}

// sendLane is the lane of a send. Sends to one neighbour are queued as it will ask
// for them; those to another have a lane of their own, or a message that one rank
// asks for late would hold up one that the other already waits for.
func (l *lowering) sendLane(phase pipeline.Phase, src, dst int) program.LaneID {
	lanes := l.step.Lanes[src]
	switch along := l.along(phase, src, dst); {
	case phase == pipeline.F && along:
		return lanes.SendF
	case phase == pipeline.F:
		return lanes.BackF
	case along:
		return lanes.SendB
	}
	return lanes.BackB
}

// along reports whether a send goes to the rank where a loop of stages would send it:
// forwards to the next one, around the end to the first, gradients the other way.
func (l *lowering) along(phase pipeline.Phase, src, dst int) bool {
	if phase == pipeline.F {
		return dst == (src+1)%len(l.ranks)
	}
	return src == (dst+1)%len(l.ranks)
}

// turns reports whether forwards go to both neighbours, as where stages turn back at
// the last rank or microbatches go both ways.
func (l *lowering) turns() bool {
	for _, mb := range l.firstOf {
		for stage := range int32(len(l.p.Stages) - 1) {
			src := l.p.Schedule.Device(l.p.Shape, pipeline.Slot{Stage: stage, Microbatch: mb})
			dst := l.p.Schedule.Device(l.p.Shape, pipeline.Slot{Stage: stage + 1, Microbatch: mb})
			if src != dst && !l.along(pipeline.F, src, dst) {
				return true
			}
		}
	}
	return false
}
