package sim

import (
	"context"
	"fmt"
	"math"

	"orrery/schedules/packing"
	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/lower"
	"orrery/sim/unit"
)

// pack packs the step's samples, where there are any to pack, by what the run's own
// prices say that tokens and pairs cost.
func (r *Run) pack(ctx context.Context, gpu *hw.GPU) error {
	if r.Plan.Varlen == nil {
		return nil
	}
	if err := r.opt.enter(ctx, PhasePack); err != nil {
		return err
	}
	c, err := r.packingCost()
	if err != nil {
		return err
	}
	return r.Plan.Pack(c, r.roomTokens(gpu))
}

// roomTokens is how many tokens' activations fit beside what each rank holds, on the
// fullest stage: the last has logits, but where samples are cut it may hold as many
// tokens as the first.
func (r *Run) roomTokens(gpu *hw.GPU) float64 {
	have := (gpu.HBM.GiB() - contextGiB) / (1 + fragmentation) * float64(unit.GiB)
	room := math.Inf(1)
	for stage := range r.stages() {
		all, _ := r.Plan.PackedBytes(stage)
		room = min(room, (have-r.Plan.Static(stage).Sum())/all)
	}
	return room
}

// packingCost is the packers' model of what a unit takes, fitted to the prices of the
// kernels that a unit is lowered to: linear in tokens and pairs. Kernels are not, so
// what is simulated differs; the report says by how much.
func (r *Run) packingCost() (packing.Cost, error) {
	f := costFit{r: r, probe: lower.NewProbe(r.Plan)}
	long := r.Plan.Tokens // of a row of classic packing, on one lane
	short := max(long/8, 1)
	last := r.stages() - 1
	var c packing.Cost
	var back, lastBack, pairBack float64
	for stage := range r.stages() {
		fwd, err := f.pass(stage, short, long, false)
		if err != nil {
			return c, err
		}
		bwd, err := f.pass(stage, short, long, true)
		if err != nil {
			return c, err
		}
		c.PairS += fwd.pair / float64(last+1)
		c.QueryPairs += fwd.query / float64(last+1)
		pairBack += bwd.pairs(long) / fwd.pairs(long) / float64(last+1)
		if stage == last && last > 0 {
			c.LastTokenS, lastBack = fwd.token, bwd.token
			continue
		}
		n := float64(max(last, 1))
		c.TokenS += fwd.token / n
		c.UnitS += fwd.unit / n
		c.UnitBackS += bwd.unit / n
		back += bwd.token / n
	}
	// Of the output layer what comes on top of a stage's layers; its backward over its
	// forward is about that of other linear layers.
	c.LastTokenS = max(0, (c.LastTokenS-c.TokenS+lastBack-back)/(1+back/c.TokenS))
	c.BackToken, c.BackPair = back/c.TokenS, pairBack
	c.Tile = packedTile
	c.Node = r.Plan.NodeLanes()
	return c, f.transfers(&c, short, long)
}

// packedTile is the rows of FlashAttention's tiles.
const packedTile = 128

// costFit prices passes of probes.
type costFit struct {
	r     *Run
	probe *lower.Probe
}

// passFit is a pass's time, in seconds: unit + token x tokens + pair x (pairs + query x
// tokens).
type passFit struct{ unit, token, pair, query float64 }

// pairs is the time of core attention of a sample.
func (p passFit) pairs(tokens int64) float64 {
	l := float64(tokens)
	return p.pair * (l*l/2 + p.query*l)
}

// pass fits all but core attention to two sizes of a unit, and core attention to a unit
// in one sample and in eight.
func (f *costFit) pass(stage int, short, long int64, backward bool) (passFit, error) {
	small, _, err := f.times(stage, 1, short, backward)
	if err != nil {
		return passFit{}, err
	}
	large, one, err := f.times(stage, 1, long, backward)
	if err != nil {
		return passFit{}, err
	}
	_, many, err := f.times(stage, long/short, short, backward)
	if err != nil {
		return passFit{}, err
	}
	l, s := float64(long), float64(short)
	out := passFit{token: large / l}
	if long > short {
		out.token = (large - small) / (l - s)
		out.unit = max(0, small-out.token*s)
		out.pair = 2 * (one/l - many/(s*float64(long/short))) / (l - s)
	}
	if !(out.token > 0) || !(out.pair > 0) {
		return out, fmt.Errorf("stage %d has no price that grows with tokens: %.3g s for %d, %.3g s for %d, attention %.3g s and %.3g s; data needs a longer training.sequence_length", stage, small, short, large, long, many, one)
	}
	out.query = max(0, many/(s*float64(long/short))/out.pair-s/2)
	return out, nil
}

// times prices a pass over n samples: all but core attention, and core attention.
func (f *costFit) times(stage int, n, tokens int64, backward bool) (other, attention float64, err error) {
	kind, w := f.probe.Pass(stage, n, tokens, backward)
	var p workPrice
	if err := f.r.prices.work(&w, &p, kind); err != nil {
		return 0, 0, err
	}
	attention = p.Busy[lower.Attention].Seconds()
	return (p.Time + p.Host).Seconds() - attention, attention, nil
}

// transfers fits the messages between stages and between lanes.
func (f *costFit) transfers(c *packing.Cost, short, long int64) error {
	seconds := func(k cost.Kernel) (float64, error) {
		e, err := f.r.prices.kernel(k)
		return e.Time.Seconds(), err
	}
	// slope and latency of messages by their sizes.
	fit := func(of func(tokens int64) cost.P2P) (perToken, latency float64, err error) {
		small, err := seconds(of(short))
		if err != nil {
			return 0, 0, err
		}
		large, err := seconds(of(max(long, short+1)))
		perToken = max(0, (large-small)/float64(max(long, short+1)-short))
		return perToken, max(0, small-perToken*float64(short)), err
	}
	for stage := range f.r.stages() - 1 {
		perToken, latency, err := fit(func(n int64) cost.P2P { return f.probe.Hop(stage, n) })
		if err != nil {
			return err
		}
		c.HopTokenS, c.HopS = max(c.HopTokenS, perToken), max(c.HopS, latency)
	}
	if f.r.Plan.Varlen.Job.Lanes() == 1 {
		return nil
	}
	kv, query := f.probe.KVBytes()
	layers := float64(f.r.Plan.Model.Layers) / float64(f.r.stages())
	ring := func(nic float64) func(int64) cost.P2P {
		return func(n int64) cost.P2P { return cost.P2P{Bytes: kv * n, NICGBps: nic} }
	}
	for _, way := range []struct {
		nic  float64
		into *float64
	}{{0, &c.KVTokenS}, {f.r.Scenario.Cluster.NICGBps, &c.FarKVTokenS}} {
		perToken, _, err := fit(ring(way.nic))
		if err != nil {
			return err
		}
		*way.into = layers * perToken
	}
	if f.r.Scenario.Parallel.CPKind == "query" {
		c.QueryKV = max(1, float64(query)/float64(kv))
	}
	return nil
}
