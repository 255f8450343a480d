package sim

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
)

// model is a batch model with made-up times: every batch takes a second for each
// thousand tokens of the fullest rank, experts half of that for the mean.
func model(ranks int, chunk int64) *batchModel {
	return &batchModel{ranks: ranks, chunk: chunk, slow: 1, known: map[[2]int64]float64{}, sizes: []batchSize{
		{0, []float64{0}, []float64{0}}, {1000, []float64{1}, []float64{0.5}},
	}}
}

func prompts(tokens ...int64) []scenarios.Request {
	var out []scenarios.Request
	for i, n := range tokens {
		out = append(out, scenarios.Request{ArrivalS: float64(i), Tokens: n})
	}
	return out
}

// Worked out by hand: two ranks, batches of 100 tokens. At rate 100 the requests
// come at 0, 0.01 and 0.02 s. The first batch has the first request's first 100
// tokens alone and takes 0.1 s and half of its mean of 50, 0.125 s. Then 150 - 100
// tokens of it are left on rank 0 and both others wait: the second goes to rank 1,
// the third to rank 0, which has less to do than rank 1 after 90 more.
func TestServeByHand(t *testing.T) {
	m := model(2, 100)
	got, err := m.serve(prompts(150, 90, 60), 100)
	require.NoError(t, err)
	// second batch: rank 0 takes 50 of the first and 50 of the third, rank 1 all 90:
	// 0.1 + 0.5 x 95/1000 = 0.1475; third: 10 tokens: 0.01 + 0.5 x 5/1000 = 0.0125
	require.InDeltaSlice(t, []float64{0.2725, 0.2725 - 0.01, 0.285 - 0.02}, got, 1e-12)
}

// Whatever comes: every request is served, none before its own work could be done,
// those of one rank in turn; more requests a second are never faster on one rank,
// and times do not depend on how the arrivals' clock is set.
func TestServe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.SliceOfN(rapid.Int64Range(1, 500), 1, 60).Draw(t, "tokens")
		chunk := rapid.Int64Range(50, 300).Draw(t, "chunk")
		rate := rapid.Float64Range(0.1, 50).Draw(t, "rate")
		many := model(rapid.IntRange(1, 5).Draw(t, "ranks"), chunk)
		times, err := many.serve(prompts(tokens...), rate)
		require.NoError(t, err)
		for i, n := range tokens {
			require.GreaterOrEqual(t, times[i], float64(n)/1000-1e-9, "its own tokens take that long")
		}
		one := model(1, chunk)
		slow, err := one.serve(prompts(tokens...), rate)
		require.NoError(t, err)
		ends := 0.0
		for i := range tokens { // first come, first served
			end := float64(i)/rate + slow[i]
			require.GreaterOrEqual(t, end, ends-1e-9)
			ends = end
		}
		work := 0.0
		for _, n := range tokens {
			work += 1.5 * float64(n) / 1000
		}
		require.LessOrEqual(t, ends, work+float64(len(tokens)-1)/rate+1e-6, "never idle with work to do")
		fast, err := one.serve(prompts(tokens...), 4*rate)
		require.NoError(t, err)
		require.GreaterOrEqual(t, ttft(fast).Mean, ttft(slow).Mean-1.5*float64(chunk)/1000, "but for the cut of batches")
	})
}

// The rate of an objective is where its mean time is: just met, and missed above.
func TestRateAtObjective(t *testing.T) {
	m := model(4, 1000)
	m.known[[2]int64{1024, 1024}] = 0
	list := requests(&scenarios.Serving{PromptTokens: 300, PromptSigma: 0.5, Requests: 5000, Seed: 3})
	rate, err := m.rateAt(list, 2)
	require.NoError(t, err)
	at, err := m.times(list, rate)
	require.NoError(t, err)
	require.LessOrEqual(t, at.Mean, 2.0)
	over, err := m.times(list, 1.02*rate)
	require.NoError(t, err)
	require.Greater(t, over.Mean, 2.0)
	// 4 ranks x 1000 tokens in 1.5 s are 8.9 prompts of 300 tokens a second; with
	// more patience it comes closer
	require.Less(t, rate, 8.9)
	patient, err := m.rateAt(list, 8)
	require.NoError(t, err)
	require.Greater(t, patient, rate)
	require.InDelta(t, 8.9, patient, 0.5)
	none, err := m.rateAt(list, 0.05)
	require.NoError(t, err)
	require.Zero(t, none, "one prompt takes longer")
	_, err = m.rateAt(list[:20], 100)
	require.ErrorContains(t, err, "however fast they come")
}

// A Poisson process has independent exponential gaps with mean 1, and lengths the
// mean that was asked for; a trace keeps its pattern.
func TestRequests(t *testing.T) {
	list := requests(&scenarios.Serving{PromptTokens: 2000, PromptSigma: 0.6, Requests: 40000, Seed: 1})
	tokens, squares, last := 0.0, 0.0, 0.0
	for _, r := range list {
		tokens += float64(r.Tokens) / 40000
		squares += (r.ArrivalS - last) * (r.ArrivalS - last) / 40000
		last = r.ArrivalS
	}
	require.InEpsilon(t, 2000, tokens, 0.02)
	require.InEpsilon(t, 40000, last, 0.02)
	require.InEpsilon(t, 2, squares, 0.05, "of an exponential gap the mean square is 2")
	trace := requests(&scenarios.Serving{Trace: []scenarios.Request{{ArrivalS: 5, Tokens: 10}, {ArrivalS: 7, Tokens: 20}, {ArrivalS: 15, Tokens: 30}}})
	require.Equal(t, []scenarios.Request{{ArrivalS: 0, Tokens: 10}, {ArrivalS: 0.4, Tokens: 20}, {ArrivalS: 2, Tokens: 30}}, trace)
}

func TestTTFT(t *testing.T) {
	require.Equal(t, TTFT{Mean: 2.5, P50: 2, P90: 4, P99: 4}, ttft([]float64{4, 1, 3, 2}))
	require.Equal(t, TTFT{Mean: 1, P50: 1, P90: 1, P99: 1}, ttft([]float64{1}))
}

// Scenarios of serving run, order balancers as published, and meet their figures.
func TestPrefillCatalogue(t *testing.T) {
	if raceDetector {
		t.Skip("takes minutes under the race detector; TestRoute has the threads")
	}
	for _, name := range scenarios.Names() {
		if !strings.HasSuffix(name, "-prefill") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			res, err := scenarios.Load(name, nil)
			require.NoError(t, err)
			r, err := Prefill(context.Background(), &res.Scenario)
			require.NoError(t, err)
			require.NotEmpty(t, r.Expect)
			for _, e := range r.Expect {
				require.True(t, e.OK, "%s %s: %g, published %g", e.Metric, e.Balancer, e.Got, e.Expected)
			}
			rate := map[string]float64{}
			for _, b := range r.Balancers {
				of, _, _ := strings.Cut(b.Balancer, ":")
				rate[of] = b.RPSAtSLO
				require.LessOrEqual(t, b.TTFT.Mean, r.SLOS)
				require.True(t, b.TTFT.P50 <= b.TTFT.P90 && b.TTFT.P90 <= b.TTFT.P99)
				require.GreaterOrEqual(t, b.Worst.OverMean, b.ImbalanceAfter-1e-9, "the largest load is not below the mean of the largest")
				require.InDelta(t, b.Worst.OverMean, b.ActivationOverIdeal, 0.01)
				require.False(t, math.IsNaN(b.BatchS))
			}
			require.IsDecreasing(t, []float64{rate["ideal"], rate["ultraep"], rate["eplb_plus"], rate["eplb"], rate["none"]})
			_, err = Simulate(context.Background(), &res.Scenario, Options{})
			require.ErrorContains(t, err, "sim prefill")
		})
	}
	train, err := scenarios.Load("quickstart", nil)
	require.NoError(t, err)
	_, err = Prefill(context.Background(), &train.Scenario)
	require.ErrorContains(t, err, "has no requests")
}
