package balance

import (
	"cmp"
	"math"
	"slices"
)

// Relay is when UltraEP's weight distribution sends an expert through relays:
// the home sends to a few replicas, which pass the weights on, tile by tile.
type Relay struct {
	// MinReplicas is the least replicas of an expert that is relayed. The code has
	// 4 since 2026-07-01; the paper's figures were made with 6. 0 relays nothing.
	MinReplicas int
	MaxRelays   int // of one expert, 8
	MinGain     int // copies that the home must save at least, 2
}

// DefaultRelay is UltraEP v1.0.0.
func DefaultRelay() Relay { return Relay{MinReplicas: 4, MaxRelays: 8, MinGain: 2} }

// relays is how many relays an expert with n replicas gets; 0 sends directly.
func (o Relay) relays(n int) int {
	k := min(max(1, int(math.Sqrt(float64(n)))), o.MaxRelays, n-1)
	if o.MinReplicas < 1 || n < o.MinReplicas || k < 1 || n-max(k, (n-k+k-1)/k) < o.MinGain {
		return 0
	}
	return k
}

// FanOut is how the weights of a plan's replicas travel.
type FanOut struct {
	// Sent counts the expert weights that each rank sends, as home or as relay.
	Sent []int
	// Relayed counts the experts that go through relays.
	Relayed int
	// Hops are the transfers in order: expert, from, to.
	Hops []Hop
}

// Hop is one expert's weights from one rank to another.
type Hop struct {
	Expert, From, To int32
	// Second: the sender is a relay, which starts on a chunk when it has it.
	Second bool
}

// MaxSent is the most expert weights that any rank sends.
func (f *FanOut) MaxSent() int { return slices.Max(f.Sent) }

// FanOut plans the distribution of the weights of all replicas, as every rank
// does for itself: experts by home and number, relays chosen where the least is
// sent already. It is what UltraEP sends for every plan; for a placement that
// lasts, [Plan.Moved] counts what is sent.
func (p *Plan) FanOut(o Relay) *FanOut {
	f := &FanOut{Sent: make([]int, len(p.Loads))}
	experts := make([]int32, len(p.First)-1)
	for e := range experts {
		experts[e] = int32(e)
	}
	slices.SortStableFunc(experts, func(a, b int32) int {
		return cmp.Compare(p.Copies[p.First[a]].Rank, p.Copies[p.First[b]].Rank)
	})
	for _, e := range experts {
		home := p.Copies[p.First[e]].Rank
		var replicas []int32
		for _, c := range p.Copies[p.First[e]+1 : p.First[e+1]] {
			if c.Rank != home { // a second copy on one rank needs no transfer
				replicas = append(replicas, c.Rank)
			}
		}
		if k := o.relays(len(replicas)); k > 0 {
			f.relay(e, home, replicas, k)
		} else {
			for _, r := range replicas {
				f.send(Hop{Expert: e, From: home, To: r})
			}
		}
	}
	return f
}

func (f *FanOut) send(h Hop) {
	f.Hops = append(f.Hops, h)
	f.Sent[h.From]++
}

// relay sends an expert through k of its replicas.
func (f *FanOut) relay(e, home int32, replicas []int32, k int) {
	f.Relayed++
	order := slices.Clone(replicas)
	slices.SortStableFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(f.Sent[a], f.Sent[b]), cmp.Compare(a, b))
	})
	relays := order[:k]
	for _, r := range relays {
		f.send(Hop{Expert: e, From: home, To: r})
	}
	children := make([]int, k)
	leaf := 0
	for _, r := range replicas {
		if slices.Contains(relays, r) {
			continue
		}
		best := leaf
		if leaf >= k { // each relay has one; the rest go where the least is sent
			best = 0
			for i := range relays {
				if cmp.Or(cmp.Compare(f.Sent[relays[i]], f.Sent[relays[best]]), cmp.Compare(children[i], children[best]), cmp.Compare(relays[i], relays[best])) < 0 {
					best = i
				}
			}
		}
		f.send(Hop{Expert: e, From: relays[best], To: r, Second: true})
		children[best]++
		leaf++
	}
}
