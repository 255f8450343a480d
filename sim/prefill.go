package sim

import (
	"context"
	"fmt"
	"slices"

	"orrery/calibrate"
	"orrery/scenarios"
	"orrery/schedules/balance"
	"orrery/sim/cost"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/program"
)

// PrefillResult is the answer to a scenario of serving; `sim prefill --json` prints it.
type PrefillResult struct {
	Name         string            `json:"name"`
	GPUs         int64             `json:"gpus"`
	ChunkTokens  int64             `json:"chunk_tokens"`       // most of a rank's batch
	PromptTokens float64           `json:"mean_prompt_tokens"` // of the requests that came
	SLOS         float64           `json:"slo_s"`              // mean time to the first token
	Balancers    []PrefillBalancer `json:"balancers"`          // the scenario's own first
	Expect       []Expectation     `json:"expect,omitempty"`
	Warnings     []string          `json:"warnings"`
}

// PrefillBalancer is a balancer on the requests and loads that all share.
type PrefillBalancer struct {
	Balancer        string  `json:"balancer"`
	ImbalanceBefore float64 `json:"imbalance_before"` // as in Experts
	ImbalanceAfter  float64 `json:"imbalance_after"`
	OverBound       float64 `json:"over_bound"`
	Worst           HotRank `json:"worst"` // the largest load of a full batch; microbatches are samples
	// ActivationOverIdeal is the peak of what experts hold for their tokens over an
	// ideal router's. Without a backward pass only the current layer holds any, so
	// that it is as the largest loads are.
	ActivationOverIdeal float64 `json:"activation_over_ideal"`
	BatchS              float64 `json:"batch_s"`    // of full batches on all ranks, mean over the samples
	RPSAtSLO            float64 `json:"rps_at_slo"` // requests/s at which the mean time to the first token meets the objective
	OverIdeal           float64 `json:"rps_over_ideal"`
	Rate                float64 `json:"rate"` // requests/s of the times below
	TTFT                TTFT    `json:"ttft_s"`
}

// TTFT are times to the first token in seconds.
type TTFT struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
}

// ttft summarises times; percentiles are the smallest time that so many do not
// exceed.
func ttft(times []float64) TTFT {
	sorted := slices.Sorted(slices.Values(times))
	sum := 0.0
	for _, t := range sorted {
		sum += t
	}
	at := func(percent int) float64 { return sorted[max((len(sorted)*percent+99)/100, 1)-1] }
	return TTFT{sum / float64(len(sorted)), at(50), at(90), at(99)}
}

// Prefill runs a scenario of serving: requests come to ranks with attention of their
// own (data parallel) and share the experts. All ranks run a batch together, since
// every layer's exchange joins them: a batch takes as long as the fullest rank's
// attention and linear layers and the experts' slowest rank. Decoding and the memory
// of keys and values are left out.
func Prefill(ctx context.Context, s *scenarios.Scenario) (*PrefillResult, error) {
	if !s.Serving.On() {
		return nil, &scenarios.Error{Key: "serving", Msg: "the scenario has no requests", Allowed: "serving.prompt_tokens or serving.file; a scenario of training is for sim run"}
	}
	names := plan.Balancers(s)
	own := len(names)
	if !slices.Contains(names, idealBalancer) {
		names = append(names, idealBalancer)
	}
	models, err := batchModels(ctx, s, names)
	if err != nil {
		return nil, err
	}
	unitRate := requests(&s.Serving)
	res := &PrefillResult{Name: s.Name, GPUs: s.Cluster.GPUs, ChunkTokens: s.Serving.Chunk, SLOS: s.Serving.SLOS, Warnings: models[0].warnings()}
	for _, r := range unitRate {
		res.PromptTokens += float64(r.Tokens) / float64(len(unitRate))
	}
	for _, m := range models {
		b := m.about
		b.BatchS = m.fullBatch()
		if b.RPSAtSLO, err = m.rateAt(unitRate, s.Serving.SLOS); err != nil {
			return nil, fmt.Errorf("balancer %s: %w", b.Balancer, err)
		}
		if b.Rate = s.Serving.Rate; b.Rate == 0 {
			b.Rate = b.RPSAtSLO
		}
		if b.Rate > 0 {
			if b.TTFT, err = m.times(unitRate, b.Rate); err != nil {
				return nil, err
			}
		}
		res.Balancers = append(res.Balancers, b)
	}
	ideal := res.Balancers[slices.Index(names, idealBalancer)]
	for i := range res.Balancers {
		b := &res.Balancers[i]
		b.ActivationOverIdeal = b.Worst.Pairs / ideal.Worst.Pairs
		if ideal.RPSAtSLO > 0 {
			b.OverIdeal = b.RPSAtSLO / ideal.RPSAtSLO
		}
	}
	res.Balancers = res.Balancers[:own]
	return res, res.expect(s.Expect)
}

func (r *PrefillResult) expect(list []scenarios.Expect) error {
	for _, e := range list {
		b := &r.Balancers[0]
		for i := range r.Balancers {
			if of, _, err := balance.ParseBalancer(r.Balancers[i].Balancer); err == nil && of.Name() == e.Balancer {
				b = &r.Balancers[i]
			}
		}
		values := map[string]float64{"imbalance_before": b.ImbalanceBefore, "imbalance_after": b.ImbalanceAfter, "over_bound": b.OverBound,
			"activation_over_ideal": b.ActivationOverIdeal, "rps_at_slo": b.RPSAtSLO, "rps_over_ideal": b.OverIdeal}
		got, ok := values[e.Metric]
		if !ok {
			return &scenarios.Error{Key: "expect.metric", Msg: "not of serving", Found: e.Metric, Allowed: "imbalance_before, imbalance_after, over_bound, activation_over_ideal, rps_at_slo, rps_over_ideal"}
		}
		r.Expect = append(r.Expect, expectation(e, got))
	}
	return nil
}

// batchModels prices batches under every balancer.
func batchModels(ctx context.Context, s *scenarios.Scenario, names []string) ([]*batchModel, error) {
	gpu, err := machine(s)
	if err != nil {
		return nil, err
	}
	profile, err := calibrate.Profile(s.Cluster.Profile)
	if err != nil {
		return nil, err
	}
	models := make([]*batchModel, len(names))
	for _, tokens := range []int64{max(s.Serving.Chunk/8, 1), s.Serving.Chunk} {
		c := *s
		c.Training.SequenceLength, c.Expect = tokens, nil
		p, err := plan.New(&c)
		if err != nil {
			return nil, err
		}
		routings, err := p.Route(names)
		if err != nil {
			return nil, err
		}
		for i, routing := range routings {
			r := &Run{Scenario: &c, Plan: p.Use(routing), opt: Options{NoAdvice: true, alone: true}}
			r.prices = newPrices(profile.On(gpu), gpu, hostLaunch(s, gpu))
			if err := r.simulate(ctx); err != nil {
				return nil, err
			}
			if models[i] == nil {
				models[i] = newBatchModel(r)
			}
			models[i].add(r, tokens)
			x := meansOf(routing)
			models[i].about = PrefillBalancer{Balancer: routing.Balancer, ImbalanceBefore: x.ImbalanceBefore, ImbalanceAfter: x.ImbalanceAfter, OverBound: x.OverBound, Worst: x.Worst}
		}
	}
	return models, nil
}

// batchModel says how long a batch takes.
type batchModel struct {
	about  PrefillBalancer
	prices *prices
	used   map[cost.Kernel]cost.Estimate // kernels of whole batches
	ranks  int
	chunk  int64
	slow   float64 // of the slowest of all GPUs
	sizes  []batchSize
	cores  []attentionCore
	known  map[[2]int64]float64 // attention of all layers, by queries and keys
}

// batchSize is what batches of so many tokens on every rank take, in seconds over
// all layers, by sample.
type batchSize struct {
	tokens float64
	// rest grows with the fullest rank: all but core attention and what experts
	// need; experts with the mean: grouped GEMMs, exchange, balancing.
	rest, experts []float64
}

// warnings names kernels of batches that were priced outside what was measured.
func (m *batchModel) warnings() []string {
	return append([]string{}, (&prices{kernels: m.used}).warnings()...)
}

// attentionCore is core attention of some layers.
type attentionCore struct {
	kernel cost.Attention
	layers float64
}

func newBatchModel(r *Run) *batchModel {
	return &batchModel{prices: r.prices, ranks: int(r.Scenario.Parallel.EP), chunk: r.Scenario.Serving.Chunk, slow: 1 + jitter(r.Scenario.Cluster.GPUs), known: map[[2]int64]float64{}}
}

// add reads off what full batches of the run's tokens take, sample by sample: its
// microbatches' forward passes without the output layer, which prefill needs for
// one token a prompt.
func (m *batchModel) add(r *Run, tokens int64) {
	size := batchSize{tokens: float64(tokens)}
	p := r.Step.Program
	m.cores, m.prices, m.used = nil, r.prices, map[cost.Kernel]cost.Estimate{}
	clear(m.known)
	for id := range program.OpID(p.Len()) {
		mb := r.Step.Tags[id].Microbatch
		if p.Works[p.Work[id]].Kind != program.Forward || mb < 0 {
			continue
		}
		for len(size.rest) <= int(mb) {
			size.rest, size.experts = append(size.rest, 0), append(size.experts, 0)
		}
		for _, u := range r.Step.Works[p.Work[id]].Blocks {
			if u.Block.Name != "head" {
				m.addBlock(&size, r, u, int(mb))
			}
		}
	}
	m.sizes = append(m.sizes, size)
}

func (m *batchModel) addBlock(size *batchSize, r *Run, u lower.Use, mb int) {
	b, n := r.prices.blocks[u.Block], float64(u.Times)
	rest := (b.Time).Seconds()
	for i, op := range u.Block.Ops {
		t := b.Dur[i].Seconds()
		m.used[op.Kernel] = r.prices.kernels[op.Kernel]
		if op.Lane == lower.Comm {
			t = b.Waited[i].Seconds()
		}
		k, core := op.Kernel.(cost.Attention)
		switch {
		case core:
			if mb == 0 {
				m.cores = append(m.cores, attentionCore{k, n})
			}
		case op.Class == lower.Experts, op.Class == lower.EPComm, op.Class == lower.ExpertPlanning, op.Class == lower.ExpertWeights, op.Name == "expert activation":
			size.experts[mb] += n * t
		default:
			continue
		}
		rest -= t
	}
	size.rest[mb] += n * rest
}
