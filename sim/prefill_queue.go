package sim

import (
	"fmt"
	"math"
	"math/rand/v2"

	"orrery/scenarios"
	"orrery/sim/unit"
)

// requests are the scenario's at a mean rate of one a second: a trace with its time
// stretched, or a Poisson process with log-normal lengths.
func requests(s *scenarios.Serving) []scenarios.Request {
	if len(s.Trace) > 0 {
		first, last := s.Trace[0].ArrivalS, s.Trace[len(s.Trace)-1].ArrivalS
		natural := float64(len(s.Trace)-1) / (last - first)
		out := make([]scenarios.Request, len(s.Trace))
		for i, r := range s.Trace {
			out[i] = scenarios.Request{ArrivalS: (r.ArrivalS - first) * natural, Tokens: r.Tokens}
		}
		return out
	}
	rng := rand.New(rand.NewPCG(uint64(s.Seed), 6))
	out := make([]scenarios.Request, s.Requests)
	at, mu := 0.0, math.Log(s.PromptTokens)-s.PromptSigma*s.PromptSigma/2
	for i := range out {
		at += rng.ExpFloat64()
		tokens := math.Exp(mu + s.PromptSigma*rng.NormFloat64())
		out[i] = scenarios.Request{ArrivalS: at, Tokens: max(int64(math.Round(min(tokens, 1<<24))), 1)}
	}
	return out
}

// servedRank is the queue of one rank: requests in the order in which they came.
type servedRank struct {
	queue   []int // of requests, the first partly done
	done    int64 // tokens of the first
	pending int64 // tokens of all
}

// times are the times to the first token at a rate.
func (m *batchModel) times(unitRate []scenarios.Request, rate float64) (TTFT, error) {
	out, err := m.serve(unitRate, rate)
	if err != nil {
		return TTFT{}, err
	}
	return ttft(out), nil
}

// serve lets requests come at a rate and returns each one's time to the first token,
// in seconds. A request goes to the rank with the fewest tokens to do (the lowest of
// equals) and keeps its turn there; a batch takes up to a chunk from each queue, and
// the next follows at once while there is anything to do.
func (m *batchModel) serve(unitRate []scenarios.Request, rate float64) ([]float64, error) {
	ranks := make([]servedRank, m.ranks)
	out := make([]float64, len(unitRate))
	now, next, left := 0.0, 0, len(unitRate)
	for batch := 0; left > 0; batch++ {
		if arrival := unitRate[min(next, len(unitRate)-1)].ArrivalS / rate; next < len(unitRate) && idle(ranks) {
			now = max(now, arrival)
		}
		for ; next < len(unitRate) && unitRate[next].ArrivalS/rate <= now; next++ {
			best := &ranks[0]
			for r := range ranks {
				if ranks[r].pending < best.pending {
					best = &ranks[r]
				}
			}
			best.queue = append(best.queue, next)
			best.pending += unitRate[next].Tokens
		}
		var finished []int
		total, fullest, attention := int64(0), int64(0), 0.0
		for r := range ranks {
			tokens, core, done, err := m.take(&ranks[r], unitRate)
			if err != nil {
				return nil, err
			}
			finished = append(finished, done...)
			total, fullest, attention = total+tokens, max(fullest, tokens), max(attention, core)
		}
		now += m.batch(batch, float64(total)/float64(m.ranks), float64(fullest), attention)
		for _, i := range finished {
			out[i] = now - unitRate[i].ArrivalS/rate
		}
		left -= len(finished)
	}
	return out, nil
}

func idle(ranks []servedRank) bool {
	for r := range ranks {
		if ranks[r].pending > 0 {
			return false
		}
	}
	return true
}

// take removes a batch from a rank's queue: its tokens, the time of its core
// attention in seconds, and the requests that it completes.
func (m *batchModel) take(r *servedRank, unitRate []scenarios.Request) (tokens int64, core float64, finished []int, err error) {
	for tokens < m.chunk && len(r.queue) > 0 {
		i := r.queue[0]
		q := min(unitRate[i].Tokens-r.done, m.chunk-tokens)
		t, err := m.attention(q, r.done+q)
		if err != nil {
			return 0, 0, nil, err
		}
		tokens, core = tokens+q, core+t
		r.pending -= q
		if r.done += q; r.done == unitRate[i].Tokens {
			finished = append(finished, i)
			r.queue, r.done = r.queue[1:], 0
		}
	}
	return tokens, core, finished, nil
}

// grain is what queries and keys are rounded up to where attention is priced: the
// rows of its tiles.
const grain = 128

// attention is the core attention of all layers, of q new tokens that see kv.
func (m *batchModel) attention(q, kv int64) (float64, error) {
	key := [2]int64{(q + grain - 1) / grain * grain, (kv + grain - 1) / grain * grain}
	if t, ok := m.known[key]; ok {
		return t, nil
	}
	sum := 0.0
	for _, c := range m.cores {
		k := c.kernel
		k.SeqQ, k.SeqKV = key[0], max(key[1], key[0])
		if k.Window >= k.SeqKV {
			k.Window = 0
		}
		e, err := m.prices.profile.Price(k) // not of the step's kernels: no sustained clocks in attention
		if err != nil {
			return 0, err
		}
		sum += c.layers * e.Time.Seconds()
	}
	m.known[key] = sum
	return sum, nil
}

// batch is the time of a batch in seconds, from the mean and the most tokens of a
// rank: affine in tokens between the two sizes that were priced.
func (m *batchModel) batch(i int, mean, fullest, attention float64) float64 {
	lo, hi := &m.sizes[0], &m.sizes[len(m.sizes)-1]
	sample := i % len(hi.rest)
	at := func(a, b, tokens float64) float64 {
		if hi.tokens == lo.tokens {
			return b
		}
		return a + (b-a)*max(tokens-lo.tokens, 0)/(hi.tokens-lo.tokens)
	}
	t := at(lo.rest[sample], hi.rest[sample], fullest) + at(lo.experts[sample], hi.experts[sample], mean) + attention
	return t * m.slow
}

// fullBatch is the mean time of full batches of one prompt a rank.
func (m *batchModel) fullBatch() float64 {
	core, err := m.attention(m.chunk, m.chunk)
	if err != nil {
		return 0
	}
	sum, n := 0.0, len(m.sizes[0].rest)
	for i := range n {
		sum += m.batch(i, float64(m.chunk), float64(m.chunk), core)
	}
	return sum / float64(n)
}

// rateAt is the highest rate at which the mean time to the first token meets the
// objective, to a thousandth; 0 where even single requests do not.
func (m *batchModel) rateAt(unitRate []scenarios.Request, slo float64) (float64, error) {
	meets := func(rate float64) (bool, error) {
		t, err := m.times(unitRate, rate)
		return err == nil && t.Mean <= slo, err
	}
	tokens := 0.0
	for _, r := range unitRate {
		tokens += float64(r.Tokens)
	}
	capacity := float64(m.ranks) * float64(m.chunk) / m.fullBatch() * float64(len(unitRate)) / tokens
	lo, hi := capacity/1000, 2*capacity
	if ok, err := meets(lo); !ok || err != nil {
		return 0, err
	}
	if ok, err := meets(hi); ok || err != nil {
		if err == nil {
			err = fmt.Errorf("%d requests are served within the objective of %s however fast they come; want more serving.requests, or a tighter serving.slo_s", len(unitRate), unit.Seconds(slo))
		}
		return 0, err
	}
	for hi-lo > 1e-3*hi {
		mid := (lo + hi) / 2
		ok, err := meets(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo, nil
}
