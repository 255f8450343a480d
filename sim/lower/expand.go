package lower

import "orrery/sim/program"

// Expanded is a step with every rank of the cluster in its program: each
// pipeline rank's lanes once for each of Copies symmetric ranks (tp x cp x dp),
// its data-parallel collectives once for each group that runs them, and what
// the whole world waits for once. Memory events are those of the first copy.
type Expanded struct {
	Program *program.Program
	Lanes   []RankLanes    // rank = copy x PP + pipeline rank
	Folded  []program.OpID // op of the folded program, by op
	Copies  int
}

// Expand unfolds a step. Copy c has tensor-parallel index c mod TP; copies of
// one index are the members of one data-parallel group. Those of one
// expert-parallel group follow each other.
func (s *Step) Expand() *Expanded {
	par := s.Plan.Scenario.Parallel
	each := int(par.ETP * par.EP)
	return s.unfold(s.copies(), int(par.TP), func(c int) int { return min(c/each, s.Groups()-1) })
}

// ByGroup has one copy for each expert-parallel group, where their loads differ:
// data-parallel collectives wait for all of them.
func (s *Step) ByGroup() *Expanded {
	return s.unfold(s.Groups(), 1, func(c int) int { return c })
}

func (s *Step) unfold(copies, tp int, groupOf func(c int) int) *Expanded {
	pp := len(s.Lanes)
	e := &Expanded{Copies: copies}
	n := s.Program.Len()
	inst := make([]int, len(s.Program.Lanes)) // instances of each folded lane
	for _, l := range s.Lanes {
		inst[l.Compute], inst[l.SendF], inst[l.SendB], inst[l.DP] = copies, copies, copies, tp
		for _, some := range []program.LaneID{l.BackF, l.BackB, l.Out, l.In} { // lane 0 is a rank's Compute
			if some > 0 {
				inst[some] = copies
			}
		}
	}
	for _, all := range s.Pipeline {
		inst[all] = copies
	}
	inst[s.World] = 1
	ops, deps := 0, 0
	for id := range n {
		k := inst[s.Program.Lane[id]]
		ops += k
		deps += copies * len(s.Program.Deps(program.OpID(id)))
	}
	q := &program.Program{
		Lane: make([]program.LaneID, 0, ops), Work: make([]program.WorkID, 0, ops),
		DepAt: make([]int32, 1, ops+1), Dep: make([]program.OpID, 0, deps), Works: s.Program.Works,
	}
	laneBase := make([]program.LaneID, len(s.Program.Lanes))
	for l, lane := range s.Program.Lanes {
		laneBase[l] = program.LaneID(len(q.Lanes))
		for c := range inst[l] {
			q.AddLane(int32(c*pp)+lane.Rank, lane.Name)
		}
	}
	e.Lanes = make([]RankLanes, copies*pp)
	for c := range copies {
		at := program.LaneID(c)
		for r, l := range s.Lanes {
			e.Lanes[c*pp+r] = RankLanes{Compute: laneBase[l.Compute] + at, SendF: laneBase[l.SendF] + at, SendB: laneBase[l.SendB] + at, DP: laneBase[l.DP] + at%program.LaneID(tp)}
			if l.In > 0 {
				e.Lanes[c*pp+r].Out, e.Lanes[c*pp+r].In = laneBase[l.Out]+at, laneBase[l.In]+at
			}
			if l.BackF > 0 {
				e.Lanes[c*pp+r].BackF, e.Lanes[c*pp+r].BackB = laneBase[l.BackF]+at, laneBase[l.BackB]+at
			}
		}
	}
	base := make([]program.OpID, n)
	e.Folded = make([]program.OpID, 0, ops)
	var buf []program.OpID
	for id := range program.OpID(n) {
		lane := s.Program.Lane[id]
		base[id] = program.OpID(q.Len())
		for c := range inst[lane] {
			buf = buf[:0]
			for _, d := range s.Program.Deps(id) {
				buf = appendInstances(buf, base[d], inst[s.Program.Lane[d]], inst[lane], c, tp)
			}
			q.Add(laneBase[lane]+program.LaneID(c), s.WorkOf(groupOf(c), s.Program.Work[id]), buf...)
			e.Folded = append(e.Folded, id)
		}
	}
	for _, m := range s.Program.Mem { // of the first copy, whose ranks are the folded ones
		m.Op = base[m.Op]
		q.Mem = append(q.Mem, m)
	}
	e.Program = q
	return e
}

// copies is how many symmetric ranks each lane stands for.
func (s *Step) copies() int {
	par := s.Plan.Scenario.Parallel
	return int(par.TP*par.CP*par.DP) * int(par.PP) / len(s.Lanes)
}

// appendInstances lists the instances of a dependency (from of them) that
// instance c of an op (to of them) waits for.
func appendInstances(out []program.OpID, base program.OpID, from, to, c, tp int) []program.OpID {
	switch {
	case from == to:
		return append(out, base+program.OpID(c))
	case from == 1:
		return append(out, base)
	case to == 1: // the world waits for all
		for i := range from {
			out = append(out, base+program.OpID(i))
		}
	case from > to: // a group's collective waits for its members
		for i := c; i < from; i += tp {
			out = append(out, base+program.OpID(i))
		}
	default: // a member waits for its group's collective
		return append(out, base+program.OpID(c%tp))
	}
	return out
}
