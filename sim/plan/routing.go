package plan

import (
	"fmt"
	"math"
	"runtime"
	"sync"

	"orrery/scenarios"
	"orrery/schedules/balance"
	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

// Routing is what a balancer makes of the scenario's loads: what the ranks of every
// expert-parallel group have to do, layer by layer and microbatch by microbatch.
// Groups hold the same experts and see other data; within one every all-to-all
// waits for the slowest rank.
type Routing struct {
	Balancer     string // as the scenario writes it
	Setup        balance.Setup
	Groups       int
	Layers       []int64 // those with experts
	Microbatches int
	Pairs        float64 // of token and expert that a rank gets of an even load

	index  []int32 // of a model's layer in Layers, -1 without experts
	shares []Share // [group][layer][microbatch]
}

// Share is one layer of one microbatch in one expert-parallel group.
type Share struct {
	// Rows and Tiles are the most of any rank: pairs of token and expert, and tiles
	// of the grouped GEMMs. Both from one rank but for rare ties (see lower.Step).
	Rows, Tiles int64
	Experts     int64 // that the rank with most of them computes, copies included
	// Volume is the time that the busiest rank's messages take over that of a
	// balanced exchange.
	Volume   float64
	ByRank   []float32 // rows of each rank
	Streamed bool      // weights of replicas are sent for this very plan
	Replicas int       // that were planned
	Sent     int       // experts' weights that the busiest rank sends
	Relayed  int       // experts that go through relays
	Reduced  int       // replicas whose gradients the busiest home adds up
	Shadows  int       // experts that every rank holds for this plan (FasterMoE)
	Decide   unit.Time // of the planner, on the critical path
	Again    unit.Time // of the planner when the pass is recomputed
	Moved    int       // experts' weights sent by all ranks together

	Before, After    float64 // imbalance of ranks: largest load over the mean
	OverBound        float64 // largest load over its certified lower bound
	Dropped, Padded  int64   // pairs
	Remote           float64 // share of pairs that leave their rank
	Asked, Delivered int64   // pairs before and after capacity
}

// Share is a layer's of a microbatch in a group; nil for a layer without experts.
func (r *Routing) Share(group int, layer int64, microbatch int) *Share {
	if layer < 0 || layer >= int64(len(r.index)) || r.index[layer] < 0 {
		return nil
	}
	return &r.shares[r.at(group, int(r.index[layer]), microbatch)]
}

func (r *Routing) at(group, layer, microbatch int) int {
	return (group*len(r.Layers)+layer)*r.Microbatches + microbatch
}

// Streams reports whether the balancer sends weights microbatch by microbatch, so
// that all layers share the slots of a rank.
func (r *Routing) Streams() bool {
	for i := range r.shares {
		if r.shares[i].Streamed {
			return true
		}
	}
	return false
}

// All calls f for every share, in order.
func (r *Routing) All(f func(group int, layer int64, microbatch int, s *Share)) {
	for g := range r.Groups {
		for i, layer := range r.Layers {
			for mb := range r.Microbatches {
				f(g, layer, mb, &r.shares[r.at(g, i, mb)])
			}
		}
	}
}

// achieved is the assumed share of the peak that the grouped GEMMs reach in the
// cost models of FasterMoE and FlexMoE; UltraEP's testbed reached 1,310 of 2,500
// TFLOP/s (arXiv:2606.04101, figure 13).
const achieved = 0.52

// setup is what balancers know.
func (p *Plan) setup() (balance.Setup, error) {
	s, moe := p.Scenario, p.Model.MoE
	gpu, err := hw.LookupGPU(s.Cluster.GPU)
	if err != nil {
		return balance.Setup{}, err
	}
	hidden := p.Model.Hidden
	if moe.Latent > 0 {
		hidden = moe.Latent
	}
	return balance.Setup{
		Ranks: int(s.Parallel.EP), Experts: int(moe.Experts), Slots: int(s.Routing.Slots), Domain: int(p.Groups.EP.PerDomain),
		Prices: balance.Prices{Hidden: int(hidden), FFN: int(moe.FFN / s.Parallel.ETP), DType: unit.BF16,
			TFLOPS: achieved * gpu.PeakTFLOPS[unit.BF16], GBps: s.Cluster.NVLinkGBps},
	}, nil
}

// Route draws the scenario's loads once and lets every balancer plan them; nil
// where the load is even. Groups and layers are independent, so that threads
// change nothing.
func (p *Plan) Route(balancers []string) ([]*Routing, error) {
	if p.Model.MoE == nil || !p.Scenario.Routing.Uneven() {
		return nil, nil
	}
	setup, err := p.setup()
	if err != nil {
		return nil, err
	}
	var layers []int64
	index := make([]int32, p.Model.Layers)
	for l := range index {
		index[l] = -1
		if p.Model.IsMoE(int64(l)) {
			index[l] = int32(len(layers))
			layers = append(layers, int64(l))
		}
	}
	out := make([]*Routing, len(balancers))
	for i, text := range balancers {
		_, params, err := balance.ParseBalancer(text)
		if err != nil {
			return nil, err
		}
		r := &Routing{Balancer: text, Setup: setup, Groups: int(max(p.Groups.ExpertShard.Ranks, 1)), Layers: layers, Microbatches: int(p.Microbatches),
			Pairs: float64(p.routedTokens() * p.Model.MoE.TopK), index: index}
		r.Setup.Params = params
		r.shares = make([]Share, r.Groups*len(layers)*r.Microbatches)
		out[i] = r
	}
	return out, p.fill(out)
}

// Suits reports whether a routing of another plan of the same model is one of this
// plan too.
func (p *Plan) Suits(r *Routing) bool {
	return int64(r.Setup.Ranks) == p.Scenario.Parallel.EP && int64(r.Groups) == max(p.Groups.ExpertShard.Ranks, 1) && int64(r.Microbatches) == p.Microbatches &&
		int64(r.Pairs) == p.routedTokens()*p.Model.MoE.TopK && int64(r.Setup.Domain) == p.Groups.EP.PerDomain
}

// routedTokens is how many tokens each rank of an expert-parallel group sends to
// experts in a pass, with those that expert tensor parallelism gathers.
func (p *Plan) routedTokens() int64 { return p.SPTokens() * p.Scenario.Parallel.ETP }

// fill plans all layers of all groups, on as many threads as Go may use.
func (p *Plan) fill(out []*Routing) error {
	if len(out) == 0 {
		return nil
	}
	r := out[0]
	jobs := r.Groups * len(r.Layers)
	errs := make([]error, jobs)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), jobs) {
		wg.Go(func() {
			w := newRouteWorker(p, out)
			for job := range next {
				errs[job] = w.layer(job/len(r.Layers), job%len(r.Layers))
			}
		})
	}
	for job := range jobs {
		next <- job
	}
	close(next)
	wg.Wait()
	for job, err := range errs { // the first in order, whoever found it
		if err != nil {
			return fmt.Errorf("layer %d: %w", r.Layers[job%len(r.Layers)], err)
		}
	}
	return nil
}

// routeWorker plans layers one after the other.
type routeWorker struct {
	p       *Plan
	out     []*Routing
	plan    balance.Plan
	volumes volumes
	experts []int64   // counts of a rank
	tiles   []float64 // by rank
}

func newRouteWorker(p *Plan, out []*Routing) *routeWorker {
	n := out[0].Setup.Ranks
	return &routeWorker{p: p, out: out, volumes: newVolumes(p, n), experts: make([]int64, n), tiles: make([]float64, n)}
}

// layer plans all microbatches of a layer of a group. Balancers that look back have
// seen the steps before: the last of their microbatches is planned too, so that
// what a placement moved then is not moved now.
func (w *routeWorker) layer(group, layer int) error {
	r := w.out[0]
	ro := w.p.Scenario.Routing
	loads, err := w.p.expertLoads(group, int(r.Layers[layer]))
	if err != nil {
		return err
	}
	planners, of := make([]balance.Planner, len(w.out)), make([]balance.Balancer, len(w.out))
	learns := false
	for i, o := range w.out {
		b, _, err := balance.ParseBalancer(o.Balancer)
		if err != nil {
			return err
		}
		if planners[i], err = b.Start(o.Setup); err != nil {
			return fmt.Errorf("balancer %s: %w", b.Name(), err)
		}
		of[i] = b
		_, looksBack := planners[i].(balance.Learner)
		learns = learns || looksBack
	}
	past := int(ro.History) * r.Microbatches
	for mb := range past {
		if !learns {
			loads.skip()
			continue
		}
		load := loads.past()
		for _, planner := range planners {
			learner, looksBack := planner.(balance.Learner)
			if !looksBack {
				continue
			}
			if mb == past-1 {
				if err := planner.Plan(load, &w.plan); err != nil {
					return err
				}
			}
			if err := learner.Observe(load); err != nil {
				return err
			}
		}
	}
	bounds := boundsOf{}
	for mb := range r.Microbatches {
		asked, err := loads.next(mb)
		if err != nil {
			return err
		}
		load, dropped, padded := asked, int64(0), int64(0)
		if ro.CapacityFactor > 0 {
			c := balance.Capacity{Factor: ro.CapacityFactor, Pad: ro.Pad}
			if load, dropped, padded, err = c.Apply(asked); err != nil {
				return err
			}
		}
		clear(bounds)
		pairs, delivered := asked.Total(), load.Total()
		for i, planner := range planners {
			s := &w.out[i].shares[r.at(group, layer, mb)]
			s.Dropped, s.Padded, s.Asked, s.Delivered = dropped, padded, pairs, delivered
			if err := w.share(load, of[i], planner, &w.out[i].Setup, bounds, s); err != nil {
				return err
			}
			if learner, ok := planner.(balance.Learner); ok {
				if err := learner.Observe(load); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// boundsOf are the bounds of one load, by who is held to them.
type boundsOf map[boundKey]float64

type boundKey struct {
	freedom balance.Freedom
	domain  int
}

// share plans one load and reads off what its ranks have to do.
func (w *routeWorker) share(load *balance.Load, b balance.Balancer, planner balance.Planner, setup *balance.Setup, bounds boundsOf, s *Share) error {
	p := &w.plan
	if err := planner.Plan(load, p); err != nil {
		return err
	}
	clear(w.experts)
	clear(w.tiles)
	for _, c := range p.Copies {
		if c.Quota > 0 {
			w.experts[c.Rank]++
			w.tiles[c.Rank] += math.Ceil(c.Quota / cost.ExpertTile)
		}
	}
	s.ByRank = make([]float32, setup.Ranks)
	most := 0.0
	for r, rows := range p.Loads {
		s.ByRank[r] = float32(rows)
		most = max(most, rows)
		s.Tiles = max(s.Tiles, int64(w.tiles[r]))
		s.Experts = max(s.Experts, w.experts[r])
	}
	s.Rows = max(int64(math.Ceil(most)), 1)
	s.Experts = max(s.Experts, 1)
	s.Tiles = max(s.Tiles, (s.Rows+cost.ExpertTile-1)/cost.ExpertTile)
	s.Before, s.After = balance.Imbalance(load.HomeLoads(*setup)), balance.Imbalance(p.Loads)
	s.Decide, s.Again = balance.DecideTime(b, p), balance.DecideAgainTime(b, p)
	s.Streamed, s.Replicas, s.Moved, s.Reduced = p.Streamed, len(p.Replicas), p.Moved, p.MaxReduced()
	if p.Streamed && len(p.Replicas) > 0 {
		relay := balance.DefaultRelay()
		relay.MinReplicas = int(w.p.Scenario.Routing.MinReplicas)
		f := p.FanOut(relay)
		s.Sent, s.Relayed = f.MaxSent(), f.Relayed
	} else { // a placement's, assumed to come evenly from all ranks
		s.Sent = (p.Moved + setup.Ranks - 1) / setup.Ranks
		if p.Routing == balance.Own {
			s.Shadows = s.Sent
		}
	}
	key := boundKey{p.Freedom, p.Domain}
	bound, known := bounds[key]
	if !known {
		b, err := balance.LowerBound(load, *setup, p.Freedom, p.Domain)
		if err != nil {
			return err
		}
		bound = b.Tokens
		bounds[key] = bound
	}
	s.OverBound = 1
	if bound > 0 {
		s.OverBound = most / bound
	}
	s.Volume, s.Remote = w.volumes.of(load, p)
	if s.Asked > 0 { // of an exchange of all that was asked for
		s.Volume *= float64(s.Delivered) / float64(s.Asked)
	}
	return nil
}

// loadSource gives the loads of one layer of one group, in order.
type loadSource struct {
	stream *balance.Stream
	draw   *balance.Generator // of a kind that does not drift
	file   []balance.Entry    // of this layer, by microbatch
	pairs  int64              // of a microbatch, that a file is held to
}

// expertLoads are the loads of a layer in a group.
func (p *Plan) expertLoads(group, layer int) (*loadSource, error) {
	ro, n, moe := p.Scenario.Routing, int(p.Scenario.Parallel.EP), p.Model.MoE
	src := &loadSource{pairs: int64(n) * p.routedTokens() * moe.TopK}
	if ro.File != "" {
		src.file = entriesOf(ro.Loads, layer)
		return src, nil
	}
	g, err := balance.ParseGenerator(ro.Load)
	if err != nil {
		return nil, err
	}
	g.Ranks, g.Experts, g.TopK, g.Tokens, g.Seed = n, int(moe.Experts), int(moe.TopK), int(p.routedTokens()), uint64(ro.Seed)
	if g.Kind == "rank_skew" {
		g.Seed += uint64(layer)<<32 + uint64(group)<<48
		src.draw = g
		return src, nil
	}
	src.stream, err = balance.Drift{Law: g, Sigma: ro.Sigma, Rho: ro.Rho, Group: group}.Start(layer)
	return src, err
}

// entriesOf are a file's loads of a layer; layers that it lacks repeat those that
// it has, in their order.
func entriesOf(all []balance.Entry, layer int) []balance.Entry {
	var layers []int
	at := map[int][]balance.Entry{}
	for _, e := range all {
		if at[e.Layer] == nil {
			layers = append(layers, e.Layer)
		}
		at[e.Layer] = append(at[e.Layer], e)
	}
	if own := at[layer]; own != nil {
		return own
	}
	return at[layers[layer%len(layers)]]
}

func (l *loadSource) next(mb int) (*balance.Load, error) {
	switch {
	case l.file != nil:
		load := l.file[mb%len(l.file)].Load
		if load.Total() != l.pairs {
			return nil, fmt.Errorf("routing.file has %d pairs of token and expert for microbatch %d, the scenario routes %d (ep x tokens of a rank x top-k)", load.Total(), mb%len(l.file), l.pairs)
		}
		return load, nil
	case l.draw != nil:
		g := *l.draw
		g.Seed += uint64(mb) << 16
		return g.Generate()
	}
	return l.stream.Next(), nil
}

// past is a load that only balancers which look back see.
func (l *loadSource) past() *balance.Load { return l.stream.Past() }

func (l *loadSource) skip() {
	if l.stream != nil {
		l.stream.Skip()
	}
}

// Balancers lists those that a scenario simulates: its own, then those beside it.
func Balancers(s *scenarios.Scenario) []string {
	return append([]string{s.Routing.Balancer}, s.Routing.Compare...)
}
