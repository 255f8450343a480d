package packing

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Every way to break a legal plan is found.
func TestValidateFindsWhatIsBroken(t *testing.T) {
	start := func() (*Job, *Plan) {
		lengths, plan := slicedPlan([][]int{{10, 20}, {5}})
		j := &Job{Lengths: lengths, DP: 2, PP: 1, CP: 1, Context: 20, Cost: linearCost}
		require.NoError(t, Validate(j, plan))
		return j, plan
	}
	for want, breakIt := range map[string]func(*Job, *Plan){
		"sample 1 has 5 tokens, the forward units have 0":  func(_ *Job, p *Plan) { p.Forward = p.Forward[:2] },
		"sample 1 has 5 tokens, the backward units have 0": func(_ *Job, p *Plan) { p.Backward = p.Backward[:2] },
		"comes where token 0 is next":                      func(_ *Job, p *Plan) { slices.Reverse(p.Forward[:2]) },
		"is the last without its backward":                 func(_ *Job, p *Plan) { slices.Reverse(p.Backward[:2]) },
		"comes where token 20 is next":                     func(_ *Job, p *Plan) { p.Forward = append(p.Forward, p.Forward[1]) },
		"forward unit 1: sample 0 is on 1 lanes from 0":    func(_ *Job, p *Plan) { p.Forward[1].First = 1 },
		"runs forward on 1 lanes from 1, backward on 1":    func(_ *Job, p *Plan) { p.Forward[2].First = 1 },
		"3 lanes from 0, there are 2":                      func(_ *Job, p *Plan) { p.Forward[2].Width = 3 },
		"it is empty":                                      func(_ *Job, p *Plan) { p.Forward[2].Slices = nil },
		"sample 7, there are 2":                            func(_ *Job, p *Plan) { p.Forward[2].Slices[0].Sample = 7 },
		"of sample 1, which has 5; the context is 20":      func(_ *Job, p *Plan) { p.Forward[2].Slices[0].X1 = 6 },
		"and 16 of padding of sample 1":                    func(_ *Job, p *Plan) { p.Forward[2].Slices[0].Pad = 16 },
		"drop other slices than the backward":              func(_ *Job, p *Plan) { p.Forward[0].Recompute, p.Backward[0].Recompute = true, true },
		"-1 tokens of padding":                             func(_ *Job, p *Plan) { p.Forward[0].Pad = -1 },
		"hop -1":                                           func(_ *Job, p *Plan) { p.Hop = -1 },
		"pace 9":                                           func(_ *Job, p *Plan) { p.Pace = 9 },
		"sharding 7":                                       func(_ *Job, p *Plan) { p.Backward[0].Sharding = 7 },
	} {
		j, plan := start()
		breakIt(j, plan)
		require.ErrorContains(t, Validate(j, plan), want)
	}
}

// Moving any token of a legal plan's slices makes it illegal.
func TestValidateCountsEveryToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		plan, err := SlimPack{NoSearch: true}.Pack(j)
		require.NoError(t, err)
		require.NoError(t, Validate(j, plan))
		units := rapid.SampledFrom([][]Unit{plan.Forward, plan.Backward}).Draw(t, "list")
		u := &units[rapid.IntRange(0, len(units)-1).Draw(t, "unit")]
		s := &u.Slices[rapid.IntRange(0, len(u.Slices)-1).Draw(t, "slice")]
		if rapid.Bool().Draw(t, "end") {
			s.X1--
		} else {
			s.X0++
		}
		require.Error(t, Validate(j, plan))
	})
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	good := func() *Job {
		c, f := Llama8B(2)
		return &Job{Lengths: []int{5, 10}, DP: 1, PP: 2, CP: 1, Context: 10, Cost: c, Footprint: f}
	}
	require.NoError(t, good().Check())
	for want, breakIt := range map[string]func(*Job){
		"dp 0, pp 2, cp 1":            func(j *Job) { j.DP = 0 },
		"lanes":                       func(j *Job) { j.CP = 1 << 40 },
		"stages":                      func(j *Job) { j.PP = 5000 },
		"context 0":                   func(j *Job) { j.Context = 0 },
		"no sample":                   func(j *Job) { j.Lengths = nil },
		"sample 1 has 11 tokens":      func(j *Job) { j.Lengths[1] = 11 },
		"sample 0 has 0 tokens":       func(j *Job) { j.Lengths[0] = 0 },
		"memory limit of -1":          func(j *Job) { j.MemoryTokens = -1 },
		"each of 2 stages":            func(j *Job) { j.StageTokens = []float64{5} },
		"memory limits [5 0]":         func(j *Job) { j.StageTokens = []float64{5, 0} },
		"units of -1 tokens":          func(j *Job) { j.Units = -1 },
		"its keys and values 7 B":     func(j *Job) { j.Footprint = Footprint{Activation: 6, KV: 7} },
		"time of a pair is -1":        func(j *Job) { j.Cost.PairS = -1 },
		"there is nothing to balance": func(j *Job) { j.Cost.PairS, j.Cost.TokenS = 0, 0 },
		"0.5 of a key and value":      func(j *Job) { j.Cost.QueryKV = 0.5 },
		"tile -1":                     func(j *Job) { j.Cost.Tile = -1 },
	} {
		j := good()
		breakIt(j)
		require.ErrorContains(t, j.Check(), want)
	}
	j := good()
	j.Cost.TokenS = 1e9 // a valid number; the times it makes are not
	plan, err := ffd{}.Pack(j)
	require.NoError(t, err)
	_, err = Evaluate(j, plan)
	require.ErrorContains(t, err, "range of time")
}
