package packing

// Piece is the queries [Y0, Y1) of a sample on one lane; they attend to [0, Y1),
// causally. Ends are fractions of tokens where a slice is cut evenly.
type Piece struct{ Y0, Y1 float64 }

// Share is what the slowest lane of a unit has to do: what a lowering to kernels
// and messages needs of it.
type Share struct {
	Tokens float64 // of all but core attention, padding included
	Pieces []Piece // of core attention, in the order of the slices
	// Foreign is the tokens whose keys and values come from other lanes.
	Foreign float64
	// Queries are the slices whose queries travel instead, being fewer bytes than
	// the keys and values ([Cost].QueryKV); Pieces and Foreign are without them.
	Queries []Slice
}

// Share divides a unit among its lanes, as [Evaluate] does, and returns the share of
// the lane that takes longest forward.
func (c *Cost) Share(u *Unit) Share {
	w := float64(u.Width)
	if u.Width > 1 && u.Sharding != PerSample {
		return c.slowest(u)
	}
	out := Share{Tokens: float64(u.Tokens()+u.padding()) / w}
	for _, s := range u.Slices {
		x0, x1 := float64(s.X0), float64(s.X1+s.Pad)
		if u.Width == 1 {
			out.Pieces = append(out.Pieces, Piece{x0, x1})
			continue
		}
		if c.QueryKV > 0 && c.QueryKV*(x1-x0) < x1 {
			out.Queries = append(out.Queries, s)
			continue
		}
		p := (x1 - x0) / (2 * w)
		out.Pieces = append(out.Pieces, Piece{x0, x0 + p}, Piece{x1 - p, x1})
		out.Foreign += x1 * (w - 1) / w
	}
	return out
}

// slowest is Share where lanes differ.
func (c *Cost) slowest(u *Unit) Share {
	loads := c.shardBlocks
	if u.Sharding == PerUnit {
		loads = c.shardUnit
	}
	best, most := Share{}, -1.0
	for _, l := range loads(u, true) {
		if f, _ := l.times(c, int(u.First), int(u.Width)); f > most {
			most, best = f, Share{Tokens: l.tokens + float64(u.Pad)/float64(u.Width), Pieces: l.pieces, Foreign: l.foreign}
		}
	}
	return best
}
