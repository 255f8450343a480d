package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"orrery/models"
	"orrery/schedules/balance"
	"orrery/sim/unit"
)

// balanceRequest is a balanceCmd understood.
type balanceRequest struct {
	setup balance.Setup
	load  *balance.Load
	relay balance.Relay
	notes []string
}

func normalAll(name string) bool { return strings.EqualFold(strings.TrimSpace(name), "all") }

func (c *balanceCmd) request() (*balanceRequest, error) {
	m, err := models.Lookup(c.Model)
	if err != nil {
		return nil, fmt.Errorf("--model: %w", err)
	}
	if m.MoE == nil {
		return nil, fmt.Errorf("--model %s has no experts", m.Name)
	}
	if c.MinReplicas < 0 {
		return nil, fmt.Errorf("--min-replicas is %d, must be 0 or more", c.MinReplicas)
	}
	q := &balanceRequest{relay: balance.DefaultRelay()}
	q.relay.MinReplicas = c.MinReplicas
	if err := q.readLoad(c, m.MoE); err != nil {
		return nil, err
	}
	prices := balance.Qwen3Prices()
	prices.Hidden, prices.FFN = int(m.Hidden), int(m.MoE.FFN)
	if m.MoE.Latent > 0 {
		prices.Hidden = int(m.MoE.Latent)
	}
	for flag, v := range map[string]float64{"tflops": c.TFLOPS, "gbps": c.GBps} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("--%s is %g, must be above 0", flag, v)
		}
	}
	if c.TFLOPS > 0 {
		prices.TFLOPS = c.TFLOPS
	}
	if c.GBps > 0 {
		prices.GBps = c.GBps
	}
	q.setup = balance.Setup{Ranks: c.Ranks, Experts: q.load.Experts, Slots: c.Slots, Replicas: c.Replicas, Groups: c.Groups, Nodes: c.Nodes,
		Domain: c.Domain, Prices: prices, Params: map[string]string{}}
	if len(c.Param) > 0 && normalAll(c.Algorithm) {
		return nil, fmt.Errorf("--param is of one balancer, not of all")
	}
	for _, text := range c.Param {
		key, value, ok := strings.Cut(text, "=")
		if !ok || value == "" {
			return nil, fmt.Errorf("--param %q is not of the form key=value", text)
		}
		if _, twice := q.setup.Params[key]; twice {
			return nil, fmt.Errorf("--param %s is there twice", key)
		}
		q.setup.Params[key] = value
	}
	return q, nil
}

// readLoad reads or draws the load and applies the capacity.
func (q *balanceRequest) readLoad(c *balanceCmd, moe *models.MoE) error {
	var err error
	switch {
	case (c.Loads == "") == (c.Generate == ""):
		return fmt.Errorf("want one of --loads FILE and --generate KIND")
	case c.Loads != "":
		err = q.readFile(c)
	default:
		err = q.draw(c, moe)
	}
	if err != nil || c.Capacity == 0 {
		if err == nil && c.Pad {
			return fmt.Errorf("--pad needs --capacity")
		}
		return err
	}
	all := q.load.Total()
	var dropped, padded int64
	q.load, dropped, padded, err = balance.Capacity{Factor: c.Capacity, Pad: c.Pad}.Apply(q.load)
	if err != nil {
		return fmt.Errorf("--capacity: %w", err)
	}
	q.notes = append(q.notes, fmt.Sprintf("Capacity %g: %d of %d tokens dropped, %d rows of padding.", c.Capacity, dropped, all, padded))
	return nil
}

func (q *balanceRequest) readFile(c *balanceCmd) error {
	text, err := os.ReadFile(c.Loads)
	if err != nil {
		return err
	}
	entries, err := balance.Read(c.Loads, text, c.Ranks, c.Experts)
	if err != nil {
		return err
	}
	var found []balance.Entry
	for _, e := range entries {
		if (c.Microbatch < 0 || e.Microbatch == c.Microbatch) && (c.Layer < 0 || e.Layer == c.Layer) {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("%s: %d of %d loads are of that microbatch and layer, want one; the first is of microbatch %d, layer %d: choose by --microbatch and --layer",
			c.Loads, len(found), len(entries), entries[0].Microbatch, entries[0].Layer)
	}
	q.load = found[0].Load
	return nil
}

func (q *balanceRequest) draw(c *balanceCmd, moe *models.MoE) error {
	g, err := balance.ParseGenerator(c.Generate)
	if err != nil {
		return fmt.Errorf("--generate: %w", err)
	}
	g.Ranks, g.Experts, g.TopK, g.Tokens, g.Seed = c.Ranks, c.Experts, c.TopK, c.Tokens, c.Seed
	if g.Experts == 0 {
		g.Experts = int(moe.Experts)
	}
	if g.TopK == 0 {
		g.TopK = int(moe.TopK)
	}
	if q.load, err = g.Generate(); err != nil {
		return fmt.Errorf("--generate: %w", err)
	}
	return nil
}

func (q *balanceRequest) title() string {
	return fmt.Sprintf("%d experts on %d ranks, slots a rank: %d, %d tokens", q.setup.Experts, q.setup.Ranks, q.setup.Slots, q.load.Total())
}

// solve plans the load. A balancer that looks back is shown it first.
func (q *balanceRequest) solve(b balance.Balancer) (*balanceReport, error) {
	p, best := new(balance.Plan), math.Inf(1)
	for range 5 {
		planner, err := b.Start(q.setup)
		if err != nil {
			return nil, err
		}
		learner, looksBack := planner.(balance.Learner)
		if !looksBack { // warm: in training it has planned before
			if err := planner.Plan(q.load, p); err != nil {
				return nil, err
			}
		}
		begin := time.Now()
		if looksBack {
			if err := learner.Observe(q.load); err != nil {
				return nil, err
			}
		}
		if err := planner.Plan(q.load, p); err != nil {
			return nil, err
		}
		best = min(best, float64(time.Since(begin).Nanoseconds())/1e3)
	}
	bound, err := balance.LowerBound(q.load, q.setup, p.Freedom, p.Domain)
	if err != nil {
		return nil, err
	}
	traffic, err := new(balance.Router).Traffic(q.load, p, nil)
	if err != nil {
		return nil, err
	}
	before := q.load.HomeLoads(q.setup)
	r := &balanceReport{Algorithm: b.Name(), LoadsBefore: before, LoadsAfter: p.Loads, ImbalanceBefore: balance.Imbalance(before),
		ImbalanceAfter: balance.Imbalance(p.Loads), Replicas: len(p.Replicas), MaxFanOut: p.MaxFanOut(), Remote: balance.Remote(traffic, q.setup.Ranks),
		BytesMoved: int64(p.Moved) * int64(q.setup.Prices.WeightBytes()), LowerBound: bound.Tokens, SolveMicros: best, boundBy: bound.By, copies: p.Replicas}
	for _, l := range p.Loads {
		r.most = max(r.most, l)
	}
	if p.Streamed {
		r.Relayed = p.FanOut(q.relay).Relayed
	}
	if p.Physical != nil {
		r.Phy2Log = p.Physical
		_, r.LogCnt = balance.LogicalToPhysical(p.Physical, q.setup.Experts)
	} else {
		plan := make([][3]float64, len(p.Replicas))
		for i, c := range p.Replicas {
			plan[i] = [3]float64{float64(c.Expert), float64(c.Rank), c.Quota}
		}
		r.Plan = &plan
	}
	return r, nil
}

// over is how far a load is above its bound.
func over(load, bound float64) string {
	if bound == 0 {
		return "0.0 %"
	}
	return fmt.Sprintf("%.1f %%", 100*(max(load/bound, 1)-1))
}

func bytesOf(n int64) string { return unit.Bytes(n).String() }
