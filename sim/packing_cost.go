package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

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

// roomTokens is how many tokens' activations fit beside what else each stage's ranks
// hold: those of the last come with logits.
func (r *Run) roomTokens(gpu *hw.GPU) []float64 {
	have := (gpu.HBM.GiB() - contextGiB) / (1 + fragmentation) * float64(unit.GiB)
	room := make([]float64, r.stages())
	for stage := range room {
		all, _ := r.Plan.PackedBytes(stage)
		room[stage] = (have - r.Plan.Static(stage).Sum()) / all
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
	c := packing.Cost{Tile: packedTile, Node: r.Plan.NodeLanes()}
	var back, lastToken, lastBack float64
	for stage := range r.stages() {
		fwd, err := f.other(stage, short, long, false)
		if err != nil {
			return c, err
		}
		bwd, err := f.other(stage, short, long, true)
		if err != nil {
			return c, err
		}
		if stage == last && last > 0 {
			lastToken, lastBack = fwd.token, bwd.token
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
	c.LastTokenS = max(0, (lastToken-c.TokenS+lastBack-back)/(1+back/c.TokenS))
	c.BackToken = back / c.TokenS
	if err := f.attention(&c); err != nil {
		return c, err
	}
	return c, f.transfers(&c, short, long)
}

// packedTile is the rows of FlashAttention's tiles.
const packedTile = 128

// costFit prices passes of probes.
type costFit struct {
	r     *Run
	probe *lower.Probe
}

// passFit is the time of all of a pass but core attention, in seconds.
type passFit struct{ unit, token float64 }

// other fits all but core attention to two sizes of a unit on one lane.
func (f *costFit) other(stage int, short, long int64, backward bool) (passFit, error) {
	at := func(tokens int64) (float64, error) {
		other, _, err := f.times(stage, backward, packing.Unit{Width: 1, Slices: []packing.Slice{{X1: int32(tokens)}}})
		return other, err
	}
	small, err := at(short)
	if err != nil {
		return passFit{}, err
	}
	large, err := at(long)
	if err != nil {
		return passFit{}, err
	}
	out := passFit{token: large / float64(long)}
	if long > short {
		out.token = (large - small) / float64(long-short)
		out.unit = max(0, small-out.token*float64(short))
	}
	if !(out.token > 0) {
		return out, fmt.Errorf("stage %d has no price that grows with tokens: %.3g s for %d, %.3g s for %d; data needs a longer training.sequence_length", stage, small, short, large, long)
	}
	return out, nil
}

// attention fits core attention, averaged over the stages, to units on a replica's lanes
// that hold samples of one length, from the context down, a quarter of a row of classic
// packing or one sample each: launches, pairs and queries so that the relative errors'
// squares are least.
func (f *costFit) attention(c *packing.Cost) error {
	width, stages := f.r.Plan.Varlen.Job.CP, f.r.stages()
	row := f.r.Plan.Varlen.Job.Context / 4
	var terms [][3]float64 // launches, pairs, queries of a unit
	var seconds [2][]float64
	for length := 4 * row; length >= packedTile && len(terms) < 10; length /= 2 {
		n := max(1, row/length)
		u := packing.Unit{Width: int32(width)}
		for range n {
			u.Slices = append(u.Slices, packing.Slice{X1: int32(length)})
		}
		one := packing.Cost{PairS: 1, Tile: c.Tile}
		pairs, _ := one.SampleOn(length, 0, width)
		one.QueryPairs = 1
		both, _ := one.SampleOn(length, 0, width)
		terms = append(terms, [3]float64{1, float64(n) * pairs, float64(n) * (both - pairs)})
		for k, backward := range []bool{false, true} {
			sum := 0.0
			for stage := range stages {
				_, t, err := f.times(stage, backward, u)
				if err != nil {
					return err
				}
				sum += t / float64(stages)
			}
			seconds[k] = append(seconds[k], sum)
		}
	}
	fwd, bwd := relativeFit(terms, seconds[0]), relativeFit(terms, seconds[1])
	if !(fwd[1] > 0) || !(bwd[1] > 0) {
		return errors.New("attention has no price that grows with pairs; data needs a longer training.sequence_length")
	}
	c.UnitS, c.UnitBackS = c.UnitS+fwd[0], c.UnitBackS+bwd[0]
	c.PairS, c.QueryPairs = fwd[1], fwd[2]/fwd[1]
	for _, t := range terms { // one ratio for both terms
		c.BackPair += (t[1]*bwd[1] + t[2]*bwd[2]) / (t[1]*fwd[1] + t[2]*fwd[2]) / float64(len(terms))
	}
	return nil
}

// relativeFit is the coefficients, 0 or more, that make the terms' sums nearest to
// seconds, by least squares of relative errors; zeros where there are fewer units than
// coefficients.
func relativeFit(terms [][3]float64, seconds []float64) (out [3]float64) {
	use := []int{0, 1, 2}
	for len(use) > 0 && len(terms) >= len(use) {
		a, ones := mat.NewDense(len(terms), len(use), nil), mat.NewVecDense(len(terms), nil)
		for i, t := range terms {
			ones.SetVec(i, 1)
			for k, col := range use {
				a.Set(i, k, t[col]/seconds[i])
			}
		}
		var x mat.VecDense
		var conditioned mat.Condition // badly, by units: the answer is right all the same
		if err := x.SolveVec(a, ones); err != nil && !errors.As(err, &conditioned) {
			return out
		}
		least := 0
		for k := range use {
			if x.AtVec(k) < x.AtVec(least) {
				least = k
			}
		}
		if x.AtVec(least) >= 0 {
			for k, col := range use {
				out[col] = x.AtVec(k)
			}
			return out
		}
		use = slices.Delete(use, least, least+1)
	}
	return out
}

// times prices a pass over a unit: all but core attention, and core attention.
func (f *costFit) times(stage int, backward bool, u packing.Unit) (other, attention float64, err error) {
	kind, w := f.probe.Pass(stage, &u, backward)
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
