package lower

import "orrery/sim/cost"

// slicedCore appends core attention of a slice whose keys and values stay where
// they are, as SlimPipe's artifact has it (kv_cache/attention.py).
//
// Context parallelism: queries are gathered over the CP group, each rank attends
// with the keys and values it holds, and partial outputs with their log-sum-exp
// go back to the owners; backward, the gradients of queries. A rank holds two
// chunks of every slice, one from either end, and so has its share of the causal
// pairs: all of those with earlier slices and half of those within the slice.
//
// Context exchange: the oldest slices of keys and values go to the peer with the
// queries while the rank attends to the others; the peer's partial output, or
// the gradients, come back and are merged.
func (s *shapes) slicedCore(b *builder, name string, layer int64, backward bool) {
	g, x := s.p.Groups.CP, s.p.SliceSeq()
	q, lse := 2*s.tokens*s.q, 4*s.tokens*s.heads
	handed := max(s.vol, -s.vol) * 2 * s.tokens * s.kvChannels()
	arrived := -1
	if s.vol != 0 {
		bytes := handed + q
		if backward { // queries, outputs and their gradients
			bytes = handed + 3*q + lse
		}
		arrived = b.side("context to peer", CPComm, s.peer(bytes))
	}
	if s.cp > 1 {
		gather := q
		if backward { // output gradients and log-sum-exp travel with the queries
			gather += q + lse
		}
		b.comm("all-gather q", CPComm, s.coll(cost.AllGather, gather*s.cp, g))
	}
	own, taken := s.slice-max(-s.vol, 0), max(s.vol, -s.vol)
	earlier := func(what string, slices int64, after ...int) {
		if slices > 0 {
			b.computeAfter(name+what, Attention, s.kernel(layer, x*s.cp, slices*x, false, backward), after...)
		}
	}
	if s.cp > 1 {
		b.compute(name+" of its slice", Attention, s.kernel(layer, x*s.cp/2, x, false, backward))
	} else {
		b.compute(name+" of its slice", Attention, s.kernel(layer, x, x, true, backward))
	}
	back := q + lse
	if backward {
		back = q + handed
	}
	switch {
	case s.vol > 0:
		earlier(" for the peer", s.vol, arrived)
		b.side("partial result to peer", CPComm, s.peer(back))
		earlier(" of earlier slices", own)
	case s.vol < 0: // the peer attends to what it took over first, in about the time that as many of its own take here
		earlier(" of earlier slices", min(own, taken))
		result := b.side("partial result from peer", CPComm, s.peer(back))
		earlier(" of more earlier slices", own-taken)
		b.computeAfter("merge partial results", Attention, mem("residual_add", 2*back, back), result)
	default:
		earlier(" of earlier slices", own)
	}
	if s.cp == 1 {
		return
	}
	if backward {
		b.comm("reduce-scatter dq", CPComm, s.coll(cost.ReduceScatter, q*s.cp, g))
		return
	}
	b.comm("all-to-all out", CPComm, s.coll(cost.AllToAll, (q+lse)*s.cp, g))
}

// peer is a message to another pipeline rank.
func (s *shapes) peer(bytes int64) cost.Kernel {
	k := cost.P2P{Bytes: bytes}
	for _, far := range s.p.Groups.CrossStage {
		if far {
			k.NICGBps = s.nic
		}
	}
	return k
}
