package plan

import (
	"math"

	"orrery/schedules/balance"
)

// volumes works out how long the busiest rank of an expert-parallel group sends or
// receives, over what it would take were the load balanced. All ranks of an
// all-to-all wait for that one.
//
// What is counted are the messages of the dispatcher: one a token and expert
// (all-to-all), or one a token and rank that has an expert for it (DeepEP, HybridEP;
// between NVLink domains one a token and domain, which lands at the rank of the
// sender's number and is forwarded over NVLink there). A token's experts are taken
// as independent with the shares that its source's counts have, so that a token
// reaches a rank with probability 1 - prod(1 - share) over the rank's copies.
// Routers that keep tokens to a few domains (framework.moe_domains) change a
// balanced exchange and a busy one alike here: counts do not tell which experts are
// chosen together.
type volumes struct {
	router     balance.Router
	ranks, per int // ranks, and those of an NVLink domain
	topK       float64
	merged     bool      // one message for all experts of a rank or domain
	even       bool      // an all-gather moves the same whatever the load
	nic, link  float64   // GB/s of a rank
	toRank     []float64 // [source x ranks + target]: messages, or for merged the chance of none
	toDomain   []float64 // [source x domains + domain], of merged messages
	tokens     []float64 // of a source
	out, in    []float64 // of a rank over NVLink
	nicOut     []float64
	nicIn      []float64
}

func newVolumes(p *Plan, ranks int) volumes {
	g, fw := p.Groups.EP, p.Scenario.Framework
	v := volumes{ranks: ranks, per: int(g.PerDomain), topK: float64(p.Model.MoE.TopK), merged: fw.MoEDispatcher == "deepep" || fw.MoEDispatcher == "hybridep",
		even: fw.MoEDispatcher == "allgather", nic: p.nicOf(), link: p.Scenario.Cluster.NVLinkGBps}
	v.make()
	return v
}

// make makes room.
func (v *volumes) make() {
	v.toRank, v.toDomain = make([]float64, v.ranks*v.ranks), make([]float64, v.ranks*v.domains())
	for _, s := range []*[]float64{&v.out, &v.in, &v.nicOut, &v.nicIn, &v.tokens} {
		*s = make([]float64, v.ranks)
	}
}

// nicOf is a rank's NIC in an all-to-all of the expert-parallel group.
func (p *Plan) nicOf() float64 {
	if g := p.Groups.EP; g.Domains() > 1 {
		return p.NIC(g, "all_to_all")
	}
	return 0
}

func (v *volumes) domains() int { return (v.ranks + v.per - 1) / v.per }

// of is the busiest rank's time over the balanced one, and the share of pairs of
// token and expert that leave their rank.
func (v *volumes) of(load *balance.Load, p *balance.Plan) (volume, remote float64) {
	if p.Freedom == balance.ForcedRouter {
		return 1, float64(v.ranks-1) / float64(v.ranks)
	}
	sent, own := v.count(load, p)
	if sent > 0 {
		remote = (sent - own) / sent
	}
	if v.even {
		return 1, remote
	}
	busy := v.busiest()
	v.balanced(load)
	return busy / v.busiest(), remote
}

// count fills the messages, and adds up pairs and those that stay on their rank.
func (v *volumes) count(load *balance.Load, p *balance.Plan) (pairs, own float64) {
	n, d := v.ranks, v.domains()
	start := 0.0
	if v.merged {
		start = 1
	}
	fill(v.toRank, start)
	fill(v.toDomain, start)
	clear(v.tokens)
	tokens, wide := v.tokens, d > 1
	for s := range n {
		for _, k := range load.Tokens[s*load.Experts : (s+1)*load.Experts] {
			tokens[s] += float64(k) / v.topK
		}
	}
	for e := range load.Experts {
		copies := p.Copies[p.First[e]:p.First[e+1]]
		split := v.router.Split(load, p, e)
		for s := range n {
			for j, c := range copies {
				x := split[s*len(copies)+j]
				if x == 0 {
					continue
				}
				pairs += x
				if int(c.Rank) == s {
					own += x
				}
				if !v.merged {
					v.toRank[s*n+int(c.Rank)] += x
					continue
				}
				miss := max(1-x/tokens[s], 0)
				v.toRank[s*n+int(c.Rank)] *= miss
				if wide {
					v.toDomain[s*d+int(c.Rank)/v.per] *= miss
				}
			}
		}
	}
	if v.merged { // a message to each that is not missed
		for i, miss := range v.toRank {
			v.toRank[i] = tokens[i/n] * (1 - miss)
		}
		for i, miss := range v.toDomain {
			v.toDomain[i] = tokens[i/d] * (1 - miss)
		}
	}
	return pairs, own
}

// balanced fills the messages of a load that goes evenly to all experts at home.
func (v *volumes) balanced(load *balance.Load) {
	tokens := float64(load.Total()) / v.topK / float64(v.ranks)
	share := min(v.topK/float64(load.Experts), 1)
	messages := func(units int) float64 {
		held := float64(load.Experts) / float64(units)
		if v.merged {
			return tokens * (1 - math.Pow(1-share, held))
		}
		return tokens * share * held
	}
	fill(v.toRank, messages(v.ranks))
	fill(v.toDomain, messages(v.domains()))
}

// busiest is the longest time that a rank sends or receives, over NVLink or its
// NIC, in messages over GB/s.
func (v *volumes) busiest() float64 {
	n, d := v.ranks, v.domains()
	for _, s := range [][]float64{v.out, v.in, v.nicOut, v.nicIn} {
		clear(s)
	}
	for s := range n {
		for t := range n {
			x := v.toRank[s*n+t]
			switch via := t/v.per*v.per + s%v.per; { // the rank of the source's number in the target's domain
			case s == t:
			case s/v.per == t/v.per:
				v.out[s] += x
				v.in[t] += x
			case !v.merged:
				v.nicOut[s] += x
				v.nicIn[t] += x
			case via != t:
				v.out[via] += x
				v.in[t] += x
			}
		}
		for dom := range d {
			if v.merged && dom != s/v.per {
				x := v.toDomain[s*d+dom]
				v.nicOut[s] += x
				v.nicIn[dom*v.per+s%v.per] += x
			}
		}
	}
	most := 0.0
	for r := range n {
		most = max(most, max(v.out[r], v.in[r])/v.link)
		if v.nic > 0 {
			most = max(most, max(v.nicOut[r], v.nicIn[r])/v.nic)
		}
	}
	return most
}

func fill(s []float64, x float64) {
	for i := range s {
		s[i] = x
	}
}
