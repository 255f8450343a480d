package lower

import (
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/program"
)

// done notes where a pass of rank r has ended, for those that need its output.
func (l *lowering) done(r int, s pipeline.Slot, last program.OpID) {
	switch at := l.at(int(s.Stage), s); s.Phase {
	case pipeline.F:
		l.fEnd[at] = l.leave(r, s, last)
	case pipeline.B, pipeline.I:
		l.bEnd[at] = l.leave(r, s, last)
	}
}

// leave appends the send of what a pass of rank r has produced, if another rank
// needs it, and returns what that rank waits for. Sends run on the sender's lanes
// behind compute, in the order in which the passes end; where P2P is not
// overlapped the sender's next pass waits too.
func (l *lowering) leave(r int, s pipeline.Slot, done program.OpID) program.OpID {
	to := l.consumers(s)
	if l.blocking() || len(to) != 1 || to[0] == r {
		return done
	}
	work, needed := l.towerSend(r, to[0], s)
	if !needed {
		return done
	}
	if work < 0 {
		work = l.sendWork(r, to[0])
	}
	t := l.add(l.sendLane(s.Phase, r, to[0]), work, Tag{s.Phase, s.Stage, s.Microbatch, s.Slice}, done)
	if !l.fw.OverlapP2P {
		l.ranks[r].frontier = append(l.ranks[r].frontier, t)
	}
	return t
}

// sendWork is one activation (or its gradient) between neighbouring stages.
func (l *lowering) sendWork(src, dst int) program.WorkID {
	k := l.sendKernel(src, dst)
	return l.work(workKey{kind: "send", bytes: k.Bytes, nic: k.NICGBps > 0}, func() (program.Work, Work) {
		return program.Work{Name: "send", Kind: program.Send}, Work{Kernel: k}
	})
}

func (l *lowering) sendKernel(src, dst int) cost.P2P {
	lo := min(src, dst)
	if d := src - dst; d > 1 || d < -1 { // around the ring of an interleaved schedule
		lo = len(l.ranks) - 1
	}
	k := cost.P2P{Bytes: 2 * l.sp * l.h}
	if l.p.Groups.CrossStage[lo] {
		k.NICGBps = l.nic
	}
	return k
}

// towerSend is what a pass sends to or from a tower's stage; negative between stages
// of the LLM. A frozen encoder needs no gradients.
func (l *lowering) towerSend(src, dst int, s pipeline.Slot) (work program.WorkID, needed bool) {
	if len(l.p.Towers()) == 0 {
		return -1, true
	}
	before := int(s.Stage) // of the two stages
	if s.Phase != pipeline.F {
		before--
	}
	from, to := l.p.Stages[before].Module, l.p.Stages[before+1].Module
	if from == pipeline.LLM && to == pipeline.LLM {
		return -1, true
	}
	if t := l.p.Tower(from); from == pipeline.Encoder && s.Phase != pipeline.F && (t.Trained == "none" || to == pipeline.Encoder && t.Trained != "all") {
		return 0, false
	}
	k := cost.P2P{Bytes: l.towerEdge(before, s)}
	if l.p.Crosses(src, dst) {
		k.NICGBps = l.nic
	}
	return l.work(workKey{kind: "send", bytes: k.Bytes, nic: k.NICGBps > 0}, func() (program.Work, Work) {
		return program.Work{Name: "send", Kind: program.Send}, Work{Kernel: k}
	}), true
}

// sendLane is the lane of a send: each neighbour has its own.
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
// the last rank, microbatches go both ways or encoders and generators are everywhere.
func (l *lowering) turns() bool {
	if len(l.p.Towers()) > 0 { // whose microbatches are on every rank
		return true
	}
	mbs := int32(1) // which all go the same way
	if pipeline.Replicas(l.p.Schedule) > 1 {
		mbs = int32(l.mbs)
	}
	for mb := range mbs {
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
