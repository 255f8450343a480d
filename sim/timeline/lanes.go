package timeline

import (
	"math"

	"orrery/sim/program"
	"orrery/sim/unit"
)

// Idle is a stretch of time in which a lane runs nothing.
type Idle struct {
	From, Until unit.Time
	// Next is the op that ends it, whose Blocker is what the lane waited for;
	// None where the lane has no more ops.
	Next program.OpID
}

// Idle lists when a lane runs nothing from zero to the makespan, in order. An
// op of no length ends one stretch and begins the next.
func (t *Timeline) Idle(lane program.LaneID) []Idle {
	var out []Idle
	free := unit.Time(0)
	for i, l := range t.Program.Lane {
		if l != lane {
			continue
		}
		if s := t.Start[i]; s > free {
			out = append(out, Idle{free, s, program.OpID(i)})
		}
		free = t.End[i]
	}
	if m := t.Makespan(); m > free {
		out = append(out, Idle{free, m, program.None})
	}
	return out
}

// Exposure is the time in which a rank communicates and does not compute.
type Exposure struct {
	Total unit.Time
	// ByKind is the part in which an op of the kind runs; where several do at
	// once the parts add up to more than Total.
	ByKind [program.NumKinds]unit.Time
}

// Exposed is each rank's exposed time on lanes that are not compute lanes: the
// time in which one of these runs an op and no compute lane of the same rank
// does.
func (t *Timeline) Exposed(compute func(program.Lane) bool) []Exposure {
	p := t.Program
	at, ops := t.laneOps()
	ranks := make([][]cursor, t.ranks())
	for l, lane := range p.Lanes {
		c := cursor{ops: ops[at[l]:at[l+1]], compute: compute(lane)}
		ranks[lane.Rank] = append(ranks[lane.Rank], c)
	}
	out := make([]Exposure, len(ranks))
	for r, lanes := range ranks {
		out[r] = t.exposed(lanes)
	}
	return out
}

// cursor walks along the starts and ends of a lane's ops.
type cursor struct {
	ops     []program.OpID // not ended yet
	running bool           // the first of them has started
	compute bool
}

// next is the time of the next start or end, or the end of time.
func (c *cursor) next(t *Timeline) unit.Time {
	switch {
	case len(c.ops) == 0:
		return math.MaxInt64
	case c.running:
		return t.End[c.ops[0]]
	}
	return t.Start[c.ops[0]]
}

// exposed sweeps over the starts and ends of one rank's lanes together.
func (t *Timeline) exposed(lanes []cursor) Exposure {
	var e Exposure
	now := unit.Time(0)
	for {
		to := unit.Time(math.MaxInt64)
		kinds, computes := uint32(0), false // what runs from now on
		for i := range lanes {
			c := &lanes[i]
			to = min(to, c.next(t))
			if c.running {
				computes = computes || c.compute
				kinds |= 1 << t.Program.Works[t.Program.Work[c.ops[0]]].Kind
			}
		}
		if to == math.MaxInt64 {
			return e
		}
		if kinds != 0 && !computes {
			e.Total += to - now
			for k := range program.NumKinds {
				if kinds>>k&1 != 0 {
					e.ByKind[k] += to - now
				}
			}
		}
		for i := range lanes {
			for c := &lanes[i]; c.next(t) == to; c.running = !c.running {
				if c.running {
					c.ops = c.ops[1:]
				}
			}
		}
		now = to
	}
}

// laneOps sorts the ops by lane: ops[at[l]:at[l+1]] are lane l's, in order.
func (t *Timeline) laneOps() (at []int32, ops []program.OpID) {
	p := t.Program
	at = make([]int32, len(p.Lanes)+2) // at[l+1] is where lane l fills
	for _, l := range p.Lane {
		at[l+2]++
	}
	for i := 2; i < len(at); i++ {
		at[i] += at[i-1]
	}
	ops = make([]program.OpID, p.Len())
	for i, l := range p.Lane {
		ops[at[l+1]] = program.OpID(i)
		at[l+1]++
	}
	return at, ops
}
