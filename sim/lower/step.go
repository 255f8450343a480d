package lower

import (
	"fmt"
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/plan"
	"orrery/sim/program"
)

// Step is one training step of one pipeline, lowered.
type Step struct {
	Plan    *plan.Plan
	Program *program.Program
	Works   []Work // by WorkID
	Tags    []Tag  // by OpID
	Lanes   []RankLanes
	World   program.LaneID // of ops that all ranks take part in
	// Pipeline are the lanes of messages between all ranks of a pipeline.
	Pipeline []program.LaneID
	// Others are, by WorkID, the same work in the expert-parallel groups after the
	// first, whose loads differ; nil where they do not.
	Others map[program.WorkID][]program.WorkID
}

// Groups is the number of expert-parallel groups that have loads of their own.
func (s *Step) Groups() int {
	if s.Plan.Routing == nil {
		return 1
	}
	return s.Plan.Routing.Groups
}

// WorkOf is an op's work in an expert-parallel group.
func (s *Step) WorkOf(group int, w program.WorkID) program.WorkID {
	if others := s.Others[w]; group > 0 && others != nil {
		return others[group-1]
	}
	return w
}

// Work is what an op of a WorkID does: blocks one after the other on the
// compute lane, or one kernel, or nothing (a barrier).
type Work struct {
	Blocks []Use
	Kernel cost.Kernel // nil where there are blocks
	Class  Class       // of Kernel
	// Beside are the collectives that run behind the blocks, on the data-parallel lane.
	Beside []Use
	// Pair is not nil where the blocks are one pass of a pair.
	Pair *Pair
}

// Use is a block that runs so many times in a row.
type Use struct {
	Block *Block
	Times int64
}

// Tag tells what an op belongs to.
type Tag struct {
	Phase      pipeline.Phase
	Stage      int32
	Microbatch int32 // -1 for ops outside the microbatches
	Slice      int32
}

// RankLanes are the lanes of one rank.
type RankLanes struct {
	Compute, SendF, SendB, DP program.LaneID
	BackF, BackB              program.LaneID // sends to the other neighbour than SendF and SendB; valid where there are any
	Out, In                   program.LaneID // copies to the host's memory and back; valid where there are any
}

// lowering is the state of building a Step.
type lowering struct {
	*shapes
	step   *Step
	prog   *program.Program
	p      *plan.Plan
	stages []stageBlocks
	held   []stageBytes        // by stage
	blocks map[layerKey]*Block // one layer's share of a pass
	alike  map[layerKey]int64  // the first layer of those that are lowered alike
	works  map[workKey]program.WorkID
	ranks  []rankState
	// What waits for the pass of (stage, microbatch, slice) waits for, by phase: its
	// end, or the arrival of its output at another rank; None until it is there.
	fEnd, bEnd []program.OpID
	mbs, n     int                      // microbatches, slices of each
	order      [][]pipeline.Slot        // by rank
	vocab      sharedLayer              // nil where the first and last stage hold it
	exchange   [][]int32                // by rank and pass over layers, where there is one
	first      map[[2]int]pipeline.Slot // by rank and stage, once it has been asked for
	everyone   []int                    // all ranks
	handed     int32                    // of the slot that is being lowered
	group      int                      // expert-parallel group that is being lowered
	pairs      []*Pair
	cut        map[pipeline.Slot]int // pieces of a weight gradient so far; nil where it is whole
	pieces     map[pieceKey][]piece
	net        map[netKey][]Use // of models that list their layers
	moves      [][]bool         // by rank and slot: activations go to the host or come back; nil where none do
	out        map[pipeline.Slot]program.OpID

	towerBlocks map[towerKey]*Block
}

// workKey identifies a piece of work: a segment of a pass, a transfer, a bucket.
type workKey struct {
	kind   string
	stage  int
	slice  int // of a segment whose attention depends on it
	handed int32
	first  int64 // first layer of the segment within the stage
	layers int64
	bytes  int64
	nic    bool
	with   int // stage of the other pass of a pair
	load   plan.Load
	// Of models that list their layers, whose shapes differ by microbatch.
	microbatch int32
	pass       int
	// Of a pass whose experts have loads of their own: expert-parallel group,
	// microbatch from 1, and that of the other pass of a pair.
	group, mb, withMB int
}

type rankState struct {
	frontier []program.OpID // what the next op of the compute lane waits for
	next     int            // next slot of the order
	layers   int            // passes over layers so far
	grads    []program.OpID // last gradient collective of each chunk
	lastOp   program.OpID
	// beforeLast is the last op of the pass before the last.
	beforeLast program.OpID
}

// NewStep lowers a plan. Where samples are packed, the plan must have its units.
func NewStep(p *plan.Plan) (*Step, error) {
	if p.Varlen != nil {
		return newPackedStep(p)
	}
	l := &lowering{shapes: newShapes(p), p: p, order: p.Order, works: map[workKey]program.WorkID{}, blocks: map[layerKey]*Block{}, alike: map[layerKey]int64{}, first: map[[2]int]pipeline.Slot{}, mbs: int(p.Microbatches), n: int(p.Slices())}
	ops := 2*len(p.Stages)*l.mbs*l.n*2 + 1024
	l.prog = &program.Program{
		Lane: make([]program.LaneID, 0, ops), Work: make([]program.WorkID, 0, ops),
		Dep: make([]program.OpID, 0, 2*ops), DepAt: make([]int32, 1, ops+1),
	}
	l.step = &Step{Plan: p, Program: l.prog, Others: map[program.WorkID][]program.WorkID{}}
	if err := l.netLayers(); err != nil {
		return nil, err
	}
	for i := range p.Stages {
		l.stages = append(l.stages, l.stageBlocks(i))
	}
	l.held = stageBytesOf(p)
	l.fEnd = filled(len(p.Stages)*l.mbs*l.n, program.None)
	l.bEnd = filled(len(p.Stages)*l.mbs*l.n, program.None)
	l.ranks = make([]rankState, p.Scenario.Parallel.PP)
	for r := range l.ranks {
		l.step.Lanes = append(l.step.Lanes, RankLanes{
			Compute: l.prog.AddLane(int32(r), "compute"),
			SendF:   l.prog.AddLane(int32(r), "send forward"),
			SendB:   l.prog.AddLane(int32(r), "send backward"),
			DP:      l.prog.AddLane(int32(r), "data parallel"),
		})
		l.ranks[r].grads = filled(len(p.Held[r]), program.None)
		l.ranks[r].lastOp, l.ranks[r].beforeLast = program.None, program.None
		l.everyone = append(l.everyone, r)
	}
	if p.Scenario.Schedule.ContextExchange {
		var err error
		if l.exchange, err = pipeline.ContextExchange(p.Shape, 0); err != nil {
			return nil, err
		}
	}
	l.step.World = l.prog.AddLane(0, "world")
	switch {
	case p.VocabPasses():
		l.vocab = l.newBarriers()
	case p.VocabParallel():
		v := l.newVocabulary()
		l.vocab = v
		if p.Schedule.Name() == (pipeline.Interlaced1F1B{}).Name() {
			l.order = v.interlaced(p.Order)
		} else {
			l.order = v.interleave(p.Order)
		}
	}
	if split, ok := p.Schedule.(pipeline.MEPipeSplit); ok && split.Cut != nil {
		l.cut, l.pieces = map[pipeline.Slot]int{}, map[pieceKey][]piece{}
	}
	if l.turns() {
		for r := range l.ranks {
			l.step.Lanes[r].BackF = l.prog.AddLane(int32(r), "send forward back")
			l.step.Lanes[r].BackB = l.prog.AddLane(int32(r), "send backward back")
		}
	}
	if p.Scenario.Schedule.Offload > 0 {
		l.moves = l.leaving()
		for r := range l.ranks {
			l.step.Lanes[r].Out = l.prog.AddLane(int32(r), "copy out")
			l.step.Lanes[r].In = l.prog.AddLane(int32(r), "copy in")
		}
	}
	if err := l.passes(); err != nil {
		return nil, err
	}
	l.finish()
	return l.step, nil
}

func filled(n int, v program.OpID) []program.OpID {
	s := make([]program.OpID, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// add appends an op with its tag.
func (l *lowering) add(lane program.LaneID, w program.WorkID, t Tag, deps ...program.OpID) program.OpID {
	id := l.prog.Add(lane, w, deps...)
	l.step.Tags = append(l.step.Tags, t)
	return id
}

// work returns the WorkID of a key, making it on first use.
func (l *lowering) work(k workKey, make func() (program.Work, Work)) program.WorkID {
	if id, ok := l.works[k]; ok {
		return id
	}
	pw, w := make()
	id := l.prog.AddWork(pw)
	l.step.Works = append(l.step.Works, w)
	l.works[k] = id
	return id
}

// ofGroups makes a pass's work for every expert-parallel group and returns the
// first group's, which the program's ops carry.
func (l *lowering) ofGroups(make func() program.WorkID) program.WorkID {
	first := make()
	if l.step.Groups() == 1 || l.step.Others[first] != nil {
		return first
	}
	var others []program.WorkID
	for l.group = 1; l.group < l.step.Groups(); l.group++ {
		others = append(others, make())
	}
	l.group = 0
	l.step.Others[first] = others
	return first
}

// loadKey tells passes apart whose experts have loads of their own.
func (l *lowering) loadKey(k workKey, s pipeline.Slot) workKey {
	if l.p.Routing != nil {
		k.group, k.mb = l.group, int(s.Microbatch)+1
	}
	return k
}

// passes emits the slots of all ranks in an order that respects dependencies:
// each rank goes on until its next slot waits for a pass that is not there yet.
func (l *lowering) passes() error {
	if l.blocking() {
		return l.blockingPasses()
	}
	waiting := make([]bool, len(l.ranks))
	queue := make([]int, 0, len(l.ranks))
	for r := range l.ranks {
		queue = append(queue, r)
	}
	left := 0
	for _, o := range l.order {
		left += len(o)
	}
	for len(queue) > 0 {
		r := queue[0]
		queue = queue[1:]
		waiting[r] = false
		st := &l.ranks[r]
		for st.next < len(l.order[r]) {
			slots := l.together(r)
			if l.togetherSharded(slots[0]) {
				if !l.met(slots[0]) {
					break
				}
				left -= l.unit()
				for c := range l.ranks {
					if !waiting[c] && c != r {
						waiting[c] = true
						queue = append(queue, c)
					}
				}
				continue
			}
			arrived, ready := l.arrivals(slots)
			if !ready {
				break
			}
			st.next += len(slots)
			left -= len(slots)
			switch {
			case len(slots) == 2:
				if err := l.pair(r, slots[0], slots[1], arrived...); err != nil {
					return err
				}
			case l.cuts(slots[0]):
				l.piece(r, slots[0])
			case l.shares(slots[0]):
				l.vocab.pass(l, r, slots[0], arrived)
			case l.tower(slots[0]) != nil:
				l.towerPasses([]int{r}, slots, [][]program.OpID{arrived})
			default:
				l.pass(r, slots[0], arrived...)
			}
			for _, s := range slots {
				for _, c := range l.consumers(s) {
					if !waiting[c] {
						waiting[c] = true
						queue = append(queue, c)
					}
				}
			}
		}
	}
	if left > 0 {
		return l.deadlock()
	}
	return nil
}

// arrivals lists what slots wait for; not ready where a pass that they need is
// not there yet.
func (l *lowering) arrivals(slots []pipeline.Slot) (arrived []program.OpID, ready bool) {
	for _, s := range slots {
		if l.vocab != nil {
			if of, ok := l.vocab.input(l, s); ok {
				return of, of != nil
			}
		}
		in, need := l.input(s)
		if need && in == program.None {
			return nil, false
		}
		arrived = append(arrived, in)
	}
	return arrived, true
}

func (l *lowering) deadlock() error {
	if _, ok := l.p.Schedule.(pipeline.Multimodal); ok { // whose model of a run names the circle
		if _, err := pipeline.Simulate(l.p.Schedule, l.p.Shape, pipeline.Costs{F: 1, I: 1}); err != nil {
			return fmt.Errorf("schedule %s: %w", l.p.Schedule.Name(), err)
		}
	}
	for r, st := range l.ranks {
		if st.next < len(l.order[r]) {
			s := l.order[r][st.next]
			return fmt.Errorf("schedule %s deadlocks: rank %d waits at %v of stage %d, microbatch %d, slice %d",
				l.p.Schedule.Name(), r, s.Phase, s.Stage, s.Microbatch, s.Slice)
		}
	}
	return nil
}

// at is where fEnd and bEnd hold the pass of a slot, if it were of a stage.
func (l *lowering) at(stage int, s pipeline.Slot) int {
	return (stage*l.mbs+int(s.Microbatch))*l.n + int(s.Slice)
}

// input is the pass whose output a slot needs from another stage. The loss needs
// the whole microbatch: the last stage's backward waits for its last slice, as
// well as every order has it, and a weight gradient only for its own rank.
func (l *lowering) input(s pipeline.Slot) (op program.OpID, need bool) {
	stage := int(s.Stage)
	switch {
	case s.Phase == pipeline.W, s.Phase == pipeline.F && stage == 0:
		return program.None, false
	case s.Phase == pipeline.F:
		return l.fEnd[l.at(stage-1, s)], true
	case stage == len(l.p.Stages)-1:
		return l.fEnd[l.at(stage, s)], true
	}
	return l.bEnd[l.at(stage+1, s)], true
}

// consumers are the ranks that wait for a slot's output.
func (l *lowering) consumers(s pipeline.Slot) []int {
	to := s
	switch s.Phase {
	case pipeline.F:
		to.Stage++
	case pipeline.W:
		return nil
	default:
		to.Stage--
	}
	at := int(to.Stage)
	switch {
	case l.vocab != nil && (at >= len(l.p.Stages) || l.vocab.holds(s)):
		return l.everyone
	case at < 0 || at >= len(l.p.Stages):
		return nil
	}
	return []int{l.p.Schedule.Device(l.p.Shape, to)}
}

// pass appends the ops of one slot on rank r. Parameters of the next segment
// are gathered behind the current one (FSDP's prefetch of one unit; Megatron
// dispatches the next bucket when one is waited for).
func (l *lowering) pass(r int, s pipeline.Slot, arrived ...program.OpID) {
	tag := Tag{s.Phase, s.Stage, s.Microbatch, s.Slice}
	segs := l.segments(s)
	if l.exchange != nil {
		l.handed = l.exchange[r][l.ranks[r].layers]
	}
	l.ranks[r].layers++
	st, lanes := &l.ranks[r], l.step.Lanes[r]
	gather := func(i int, after program.OpID) program.OpID {
		if i >= len(segs) || segs[i].gather == nil {
			return program.None
		}
		if l.s.Parallel.ZeRO < 3 { // all parameters are ready when the step starts
			after = program.None
		}
		return l.add(lanes.DP, l.bucketWork(segs[i].gather), tag, after)
	}
	deps := slices.Concat(st.frontier, arrived)
	st.frontier = st.frontier[:0]
	moves := l.offloads(r, st.next-1)
	if moves && s.Phase != pipeline.F {
		deps = append(deps, l.fetch(r, s))
	}
	st.beforeLast = st.lastOp
	ready := gather(0, st.lastOp)
	for i, seg := range segs {
		next := gather(i+1, st.lastOp)
		op := l.add(lanes.Compute, l.segmentWork(s, seg), tag, append(deps, ready)...)
		deps, ready = deps[:0], next
		if i == 0 {
			l.memoryBefore(op, r, s)
		}
		if seg.reduce != nil {
			l.completed(r, s, l.add(lanes.DP, l.bucketWork(seg.reduce), tag, op))
		}
		st.lastOp = op
	}
	l.done(r, s, st.lastOp)
	l.memoryAfter(st.lastOp, r, s)
	if moves && s.Phase == pipeline.F {
		l.sendOut(r, s, st.lastOp)
	}
}

// completed notes the collective that takes up the last gradients of a slot's stage.
func (l *lowering) completed(r int, s pipeline.Slot, op program.OpID) {
	l.ranks[r].grads[slices.Index(l.p.Held[r], int(s.Stage))] = op
}
