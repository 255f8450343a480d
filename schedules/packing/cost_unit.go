package packing

import (
	"math"
	"slices"

	"orrery/sim/unit"
)

// load is what one lane of a unit has to do.
type load struct {
	tokens  float64
	pairs   float64
	foreign float64 // tokens whose keys and values come from other lanes, or as many bytes of queries
	pieces  []Piece // of the slices, where they are asked for
}

// add is a lane's share of the slice [x0, x1) cut for width lanes, PerSample.
func (l *load) add(c *Cost, x0, x1 float64, width int) {
	q, w := x1-x0, float64(width)
	l.tokens += q / w
	if width == 1 {
		l.pairs += c.pairs(x0, x1)
		return
	}
	l.pairs += c.pairs(x0, x1) / w * c.tiled(q/(2*w))
	moved := x1
	if c.QueryKV > 0 {
		moved = min(x1, c.QueryKV*q)
	}
	l.foreign += moved * (w - 1) / w
}

// tiled is by how much rounding up to tiles makes a piece of q queries dearer.
func (c *Cost) tiled(q float64) float64 {
	t := float64(c.Tile)
	if t <= 1 || q <= 0 {
		return 1
	}
	return math.Ceil(q/t) * t / q
}

// times is a lane's forward and backward time in seconds, the unit's own not
// included.
func (l *load) times(c *Cost, first, width int) (forward, backward float64) {
	linear, attention, exchange := c.TokenS*l.tokens, c.PairS*l.pairs, c.exchange(first, width)*l.foreign
	return linear + max(attention, exchange), c.BackToken*linear + max(c.BackPair*attention, 2*exchange)
}

// unitTime is how long a unit takes.
type unitTime struct {
	forward, backward         unit.Time // on a stage
	lastForward, lastBackward unit.Time // on the last stage
	hop                       unit.Time // between stages
}

// time prices a unit. The backward of a unit that recomputes includes its forward.
func (c *Cost) time(u *Unit) unitTime {
	f, b := c.lanes(u)
	w := float64(u.Width)
	tokens := float64(u.Tokens()+u.padding()) / w
	f, b = f+c.TokenS*float64(u.Pad)/w, b+c.BackToken*c.TokenS*float64(u.Pad)/w
	f, b = f+c.UnitS, b+c.UnitBackS
	lastF, lastB := f+c.LastTokenS*tokens, b+c.BackToken*c.LastTokenS*tokens
	if u.Recompute {
		b, lastB = b+f, lastB+lastF
	}
	return unitTime{forward: roundUp(f), backward: roundUp(b), lastForward: roundUp(lastF), lastBackward: roundUp(lastB),
		hop: roundUp(c.HopS + c.HopTokenS*tokens)}
}

// roundUp is the first whole picosecond from s seconds: a plan is then never
// shorter than a bound on its sums. Times out of range stay at the end of it, which
// Evaluate refuses.
func roundUp(s float64) unit.Time {
	ps := math.Ceil(s * float64(unit.Second))
	if !(ps < math.MaxInt64/2) {
		return math.MaxInt64 / 2
	}
	return unit.Time(ps)
}

// lanes is the forward and backward time of the slowest lane of a unit.
func (c *Cost) lanes(u *Unit) (forward, backward float64) {
	first, w := int(u.First), int(u.Width)
	if w > 1 && u.Sharding != PerSample {
		var loads []load
		if u.Sharding == PerUnit {
			loads = c.shardUnit(u, false)
		} else {
			loads = c.shardBlocks(u, false)
		}
		for i := range loads {
			f, b := loads[i].times(c, first, w)
			forward, backward = max(forward, f), max(backward, b)
		}
		return forward, backward
	}
	l := load{}
	for _, s := range u.Slices {
		l.add(c, float64(s.X0), float64(s.X1+s.Pad), w)
	}
	return l.times(c, first, w)
}

// shardUnit cuts the unit as a whole into 2w pieces of equal tokens and gives lane
// i the pieces i and 2w-1-i (Megatron-LM's zig-zag, arXiv:2503.17924 section 2).
func (c *Cost) shardUnit(u *Unit, pieces bool) []load {
	w := int(u.Width)
	loads := make([]load, w)
	total := float64(u.Tokens() + u.padding())
	piece := total / float64(2*w)
	at := 0.0 // where the slice begins in the unit
	for _, s := range u.Slices {
		x0, x1 := float64(s.X0), float64(s.X1+s.Pad)
		for k := int(at / piece); k < 2*w; k++ {
			from, to := max(at, float64(k)*piece), min(at+x1-x0, float64(k+1)*piece)
			if k == 2*w-1 {
				to = at + x1 - x0 // rounding must not lose the end
			}
			if from >= at+x1-x0 {
				break
			}
			if to <= from {
				continue
			}
			l := &loads[min(k, 2*w-1-k)]
			y0, y1 := x0+from-at, x0+to-at
			l.pairs += c.pairs(y0, y1) * c.tiled(to-from)
			l.foreign += y0 // keys and values before the piece are elsewhere
			if pieces {
				l.pieces = append(l.pieces, Piece{y0, y1})
			}
		}
		at += x1 - x0
	}
	for i := range loads {
		loads[i].tokens = (total - float64(u.Pad)) / float64(w)
	}
	return loads
}

// dcpBlock is the size of the blocks that shardBlocks deals out, in tokens.
const dcpBlock = 1024

// shardBlocks deals out whole slices, dearest first, to the lane with the least
// work; those above a lane's fair share go in blocks.
func (c *Cost) shardBlocks(u *Unit, keep bool) []load {
	w := int(u.Width)
	type piece struct {
		y0, y1 float64
		work   float64
		slice  int // that it is cut from; -1 where it is whole
		at     int // breaks ties
	}
	total := 0.0
	for _, s := range u.Slices {
		f, _ := c.work(int(s.X0), int(s.X1+s.Pad))
		total += f
	}
	pieces := make([]piece, 0, len(u.Slices)+w)
	for i, s := range u.Slices {
		x0, x1 := int(s.X0), int(s.X1+s.Pad)
		if f, _ := c.work(x0, x1); f <= total/float64(w) {
			pieces = append(pieces, piece{float64(x0), float64(x1), f, -1, len(pieces)})
			continue
		}
		for y := x0; y < x1; y += dcpBlock {
			to := min(y+dcpBlock, x1)
			f, _ := c.work(y, to)
			pieces = append(pieces, piece{float64(y), float64(to), f, i, len(pieces)})
		}
	}
	slices.SortFunc(pieces, func(a, b piece) int {
		switch {
		case a.work > b.work:
			return -1
		case a.work < b.work:
			return 1
		}
		return a.at - b.at
	})
	loads, work := make([]load, w), newLeast(w)
	// A lane needs the keys and values of a cut slice up to the end of its last
	// block, but for those of its own blocks.
	type share struct{ last, own float64 }
	shares := make([]map[int]share, w)
	for _, p := range pieces {
		i := work.add(p.work)
		loads[i].tokens += p.y1 - p.y0
		loads[i].pairs += c.pairs(p.y0, p.y1) * c.tiled(p.y1-p.y0)
		if keep {
			loads[i].pieces = append(loads[i].pieces, Piece{p.y0, p.y1})
		}
		if p.slice < 0 {
			loads[i].foreign += p.y0
			continue
		}
		if shares[i] == nil {
			shares[i] = map[int]share{}
		}
		s := shares[i][p.slice]
		shares[i][p.slice] = share{max(s.last, p.y1), s.own + p.y1 - p.y0}
	}
	for i := range shares {
		for slice := range u.Slices { // in order: sums of floats must not follow a map
			if s, ok := shares[i][slice]; ok {
				loads[i].foreign += s.last - s.own
			}
		}
	}
	return loads
}
