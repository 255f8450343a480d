package cost

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// plainExchange has one path in a node at 300 GB/s and one over four nodes at 44
// GB/s, both after 30 us.
func plainExchange() *ExchangeModel {
	path := func(ranks int64, nic, gbps float64) ExchangePath {
		one := func(feature string, at float64) Axis { return Axis{Feature: feature, Knots: []float64{at}} }
		p := ExchangePath{Backend: "deepep", Op: "dispatch", Ranks: ranks, PerDomain: 8, NICGBps: nic, SMs: 20,
			Rate: Surface{{Axes: []Axis{one(FeatHidden, math.Log2(7168))}, Values: []float64{math.Log(1 / gbps)}}},
			Time: Lattice{Axes: []Axis{one(FeatHidden, math.Log2(7168)), {Feature: FeatLoad}}}}
		for k := -3; k <= 18; k++ {
			p.Time.Axes[1].Knots = append(p.Time.Axes[1].Knots, float64(k))
			p.Time.Values = append(p.Time.Values, math.Log(30+math.Exp2(float64(k))))
		}
		return p
	}
	return &ExchangeModel{NVLinkGBps: 450, Paths: []ExchangePath{path(8, 0, 300), path(32, 50, 44)}}
}

func drawExchange(t *rapid.T) ExpertExchange {
	e := ExpertExchange{
		Op:      rapid.SampledFrom([]string{"dispatch", "combine"}).Draw(t, "op"),
		Backend: rapid.SampledFrom([]string{"deepep", "hybridep"}).Draw(t, "backend"),
		Tokens:  rapid.Int64Range(1, 1<<17).Draw(t, "tokens"), Hidden: rapid.Int64Range(256, 16384).Draw(t, "hidden"),
		TopK: rapid.Int64Range(1, 8).Draw(t, "top k"), Experts: 256,
		Group: Group{PerDomain: 8}, DType: rapid.SampledFrom([]unit.DType{unit.BF16, unit.FP8}).Draw(t, "format"),
	}
	domains := rapid.Int64Range(1, 16).Draw(t, "domains")
	if e.Group.Ranks = 8 * domains; domains > 1 {
		e.NICGBps = 50
	}
	return e
}

func exchangeMicros(t require.TestingT, e ExpertExchange) float64 {
	p, err := plainExchange().Price(e, h100GPU(t))
	require.NoError(t, err)
	return p.Time.Micros()
}

func TestExchangeIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawExchange(t)
		more, wider := e, e
		more.Tokens += rapid.Int64Range(1, 1<<17).Draw(t, "more")
		wider.Hidden += rapid.Int64Range(1, 4096).Draw(t, "wider")
		us := exchangeMicros(t, e)
		assert.LessOrEqual(t, us, exchangeMicros(t, more))
		assert.LessOrEqual(t, us, exchangeMicros(t, wider)+1e-6)
		if e.NICGBps > 0 {
			faster := e
			faster.NICGBps = 100
			assert.LessOrEqual(t, exchangeMicros(t, faster), us)
		}
	})
}

func TestExchangeOfKnownShape(t *testing.T) {
	e := ExpertExchange{Op: "dispatch", Backend: "deepep", Tokens: 4096, Hidden: 7168, TopK: 8, Experts: 256,
		Group: Group{8, 8}, DType: unit.FP8}
	// 5.29 of 8 ranks are hit: 1 - C(224,8)/C(256,8) = 0.6617
	assert.InDelta(t, 5.294, e.Copies(), 0.001)
	assert.InEpsilon(t, 30+4096*7168*5.294/300e3, exchangeMicros(t, e), 0.03)
	e.Group, e.NICGBps = Group{32, 8}, 50
	assert.InDelta(t, 3.614*3/4, e.Copies(), 0.001) // of 4 nodes, 3 are others
	assert.InEpsilon(t, 30+4096*7168*3.614*0.75/44e3, exchangeMicros(t, e), 0.03)
	e.Within = 2
	assert.InDelta(t, 1.9935*3/4, e.Copies(), 0.001) // of 2 nodes with 128 experts: 1 - C(64,8)/C(128,8) each
	e.Within = 4
	assert.InDelta(t, 3.614*3/4, e.Copies(), 0.001) // no limit
	e.Group = Group{1, 1}
	assert.Zero(t, exchangeMicros(t, e))
}

func TestMalformedExchanges(t *testing.T) {
	good := ExpertExchange{Op: "dispatch", Backend: "deepep", Tokens: 1, Hidden: 1, TopK: 1, Experts: 8, Group: Group{8, 8}, DType: unit.BF16}
	for why, spoil := range map[string]func(*ExpertExchange){
		"per domain <= ranks": func(e *ExpertExchange) { e.Group.PerDomain = 9 },
		"unknown format":      func(e *ExpertExchange) { e.DType = "int3" },
		"rate of a NIC":       func(e *ExpertExchange) { e.Group.Ranks = 16 },
		"within":              func(e *ExpertExchange) { e.TopK, e.Within, e.Group.Ranks, e.NICGBps = 5, 4, 64, 50 },
		"experts >= top-k":    func(e *ExpertExchange) { e.TopK = 9 },
		"nor published":       func(e *ExpertExchange) { e.Backend = "pigeon" },
	} {
		e := good
		spoil(&e)
		_, err := plainExchange().Price(e, h100GPU(t))
		assert.ErrorContains(t, err, why)
	}
	_, err := plainExchange().Price(good, h100GPU(t))
	assert.NoError(t, err)
}
