package lower

import (
	"cmp"
	"math"
	"slices"

	"orrery/schedules/packing"
	"orrery/sim/cost"
)

// packedUnit is core attention of a unit of packed samples on its slowest lane.
type packedUnit struct {
	keys    []cost.Document // whose keys come to the queries
	queries []cost.Document // whose queries go to the keys
	width   int64           // lanes that share the unit
	group   cost.Group      // of those lanes
	foreign float64         // tokens whose keys and values come from other lanes
	sent    float64         // tokens of queries that are gathered, over all lanes
}

// flashTile is the rows and keys of a tile of FlashAttention, which pieces fill up to.
const flashTile = 128

// newPackedUnit groups the pieces of a unit by the tiles that they fill.
func newPackedUnit(u *packing.Unit, share packing.Share, group cost.Group) *packedUnit {
	p := &packedUnit{width: int64(u.Width), group: group, foreign: share.Foreign}
	for _, s := range share.Pieces {
		q := tiles(s.Y1 - s.Y0)
		p.keys = append(p.keys, cost.Document{Q: q, KV: max(tiles(s.Y1), q), N: 1})
	}
	for _, s := range share.Queries {
		q := float64(s.X1 + s.Pad - s.X0)
		p.sent += q
		// A lane holds an even share of the keys: of those before the slice, and of
		// half of its own on average.
		p.queries = append(p.queries, cost.Document{Q: tiles(q), KV: tiles((float64(s.X0) + q/2) / float64(u.Width)), N: 1, Full: true})
	}
	p.keys, p.queries = merge(p.keys), merge(p.queries)
	return p
}

// tiles rounds up to whole tiles.
func tiles(tokens float64) int64 {
	return max(int64(math.Ceil(tokens/flashTile)), 1) * flashTile
}

// merge counts equal documents, in ascending order.
func merge(docs []cost.Document) []cost.Document {
	slices.SortFunc(docs, func(a, b cost.Document) int { return cmp.Or(cmp.Compare(a.Q, b.Q), cmp.Compare(a.KV, b.KV)) })
	out := docs[:0]
	for _, d := range docs {
		if n := len(out); n > 0 && out[n-1].Q == d.Q && out[n-1].KV == d.KV {
			out[n-1].N += d.N
			continue
		}
		out = append(out, d)
	}
	return out
}

// packedCore appends core attention of a unit: one kernel of variable lengths, with the
// exchange of context parallelism where lanes share it. Keys and values go round a
// ring, attended to as they arrive, or are gathered first; queries of slices with long
// prefixes are gathered and partial results return, as in slicedCore.
func (s *shapes) packedCore(b *builder, name string, layer int64, backward bool) {
	u := s.packed
	one := s.kernel(layer, 1, 1, true, backward)
	kernel := func(docs *[]cost.Document, parts int64) cost.Kernel {
		return cost.VarlenAttention{One: one, Docs: docs, Parts: parts}
	}
	if len(u.keys) > 0 {
		bytes := 2 * float64(s.kvChannels()) * u.foreign
		switch {
		case u.width == 1 || u.foreign == 0:
			b.compute(name, Attention, kernel(&u.keys, 1))
		case s.s.Parallel.CPKind == "allgather":
			all := int64(bytes * float64(u.width) / float64(u.width-1))
			b.comm("all-gather kv", CPComm, s.coll(cost.AllGather, all, u.group))
			b.compute(name, Attention, kernel(&u.keys, 1))
			if backward {
				b.comm("reduce-scatter dkv", CPComm, s.coll(cost.ReduceScatter, all, u.group))
			}
		default:
			s.packedRing(b, name, int64(math.Ceil(bytes/float64(u.width-1))), kernel(&u.keys, u.width), backward)
		}
	}
	if len(u.queries) == 0 {
		return
	}
	q, lse := int64(2*u.sent)*s.q, int64(4*u.sent)*s.heads // of all lanes
	gather, back := q, s.coll(cost.AllToAll, q+lse, u.group)
	if backward { // output gradients and log-sum-exp travel with the queries
		gather, back = 2*q+lse, s.coll(cost.ReduceScatter, q, u.group)
	}
	b.comm("all-gather q", CPComm, s.coll(cost.AllGather, gather, u.group))
	b.compute(name+" of others' queries", Attention, kernel(&u.queries, 1))
	b.comm("return of partial results", CPComm, back)
}

// packedRing appends as many parts of a kernel as the ring has lanes, and the sends of
// keys and values between them; gradients of keys travel with them and once more.
func (s *shapes) packedRing(b *builder, name string, bytes int64, part cost.Kernel, backward bool) {
	if backward {
		bytes *= 2
	}
	send := b.side
	if !s.fw.OverlapCP {
		send = b.comm
	}
	p2p := cost.P2P{Bytes: bytes, NICGBps: s.p.NIC(s.packed.group, cost.AllGather)}
	arrive := -1
	if !backward {
		arrive = send("send kv", CPComm, p2p)
	}
	b.compute(name, Attention, part)
	for i := int64(1); i < s.packed.width; i++ {
		here := arrive
		if i+1 < s.packed.width || backward {
			arrive = send("send kv", CPComm, p2p)
		}
		b.computeAfter(name, Attention, part, here)
	}
	if backward {
		b.last = arrive
	}
}
