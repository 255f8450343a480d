package calibrate

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func init() {
	fitters = append(fitters, fitter{family: cost.FamAllToAll, fit: fitExchanges})
}

// exchangeKey tells which rows make one path.
type exchangeKey struct {
	backend, op string
	dtype       unit.DType
	group       cost.Group
	nic         float64
}

// fitExchanges fits one path for each library, operation, format and placement.
func fitExchanges(samples []Sample, g *hw.GPU, p *cost.Profile) error {
	groups := map[exchangeKey][]Sample{}
	var order []exchangeKey
	for _, s := range samples {
		e, ok := s.Kernel.(cost.ExpertExchange)
		if !ok {
			return fmt.Errorf("%s is no exchange", s.Kernel)
		}
		key := exchangeKey{e.Backend, e.Op, e.DType, e.Group, e.NICGBps}
		if e.Op == "prepare" { // counts, whatever the format of the tokens
			key.dtype = ""
		}
		if _, seen := groups[key]; !seen {
			order = append(order, key)
		}
		groups[key] = append(groups[key], s)
	}
	slices.SortFunc(order, func(a, b exchangeKey) int {
		return cmp.Or(cmp.Compare(a.backend, b.backend), cmp.Compare(a.op, b.op), cmp.Compare(a.dtype, b.dtype),
			cmp.Compare(a.group.PerDomain, b.group.PerDomain), cmp.Compare(a.group.Ranks, b.group.Ranks), cmp.Compare(a.nic, b.nic))
	})
	m := &cost.ExchangeModel{NVLinkGBps: g.NVLinkGBps}
	for _, key := range order {
		path, errors, err := fitValidated(groups[key], func(rows []Sample) (cost.ExchangePath, error) { return exchangePath(key, rows) },
			func(path cost.ExchangePath, k cost.Kernel) (float64, error) {
				return path.Micros(k.(cost.ExpertExchange), 1), nil
			},
			rowHeldOut, byShape("errors"), byShape("errors1"))
		if err != nil {
			return fmt.Errorf("%s of %s among %d: %w", key.op, key.backend, key.group.Ranks, err)
		}
		path.Errors = errors
		m.Paths = append(m.Paths, path)
	}
	p.Exchange = m
	return nil
}

// deepEPDefaultSMs is Buffer.num_sms of DeepEP.
const deepEPDefaultSMs = 20

func exchangePath(key exchangeKey, samples []Sample) (cost.ExchangePath, error) {
	p := cost.ExchangePath{Backend: key.backend, Op: key.op, DType: key.dtype,
		Ranks: key.group.Ranks, PerDomain: key.group.PerDomain, NICGBps: key.nic}
	if key.backend == "deepep" {
		p.SMs = deepEPDefaultSMs
	}
	if len(samples) < 5 {
		return p, fmt.Errorf("%d rows: want at least five", len(samples))
	}
	if err := fitRate(&p, samples); err != nil {
		return p, err
	}
	return p, fitTime(&p, samples)
}

// fitRate fits the steady state: microseconds a kilobyte over hidden size, copies
// and SMs, on the rows of most tokens.
func fitRate(p *cost.ExchangePath, samples []Sample) error {
	const enough = 2048 // tokens; below, latency is part of the time
	var rows []Sample
	most := int64(0)
	for _, s := range samples {
		most = max(most, s.Kernel.(cost.ExpertExchange).Tokens)
	}
	for _, s := range samples {
		if s.Kernel.(cost.ExpertExchange).Tokens >= min(enough, most/4) {
			rows = append(rows, s)
		}
	}
	at, target, weight := make([]cost.Coords, len(rows)), make([]float64, len(rows)), make([]float64, len(rows))
	var hidden, copies, sms []float64
	for i, s := range rows {
		e := s.Kernel.(cost.ExpertExchange)
		at[i] = e.Coords(p.SMs)
		hidden, copies, sms = append(hidden, at[i][cost.FeatHidden]), append(copies, at[i][cost.FeatCopies]), append(sms, at[i][cost.FeatSMs])
		target[i], weight[i] = math.Log(s.Micros*1e3/e.Traffic()), 1
	}
	center := quantile(target, 0.5)
	for i := range target {
		target[i] -= center
	}
	fit, err := fitSurface(cost.Surface{
		lattice(axis(cost.FeatHidden, spread(hidden, 3)...), axis(cost.FeatCopies, spread(copies, 5)...)),
		lattice(axis(cost.FeatSMs, distinct(sms)...)),
	}, at, target, weight)
	if err != nil {
		return err
	}
	for i := range fit[0].Values {
		fit[0].Values[i] = round4(fit[0].Values[i] + center)
	}
	p.Rate = fit
	return nil
}

// fitTime fits time over load and hidden size: latency plus load, then a robust
// correction, made monotone in the load.
func fitTime(p *cost.ExchangePath, samples []Sample) error {
	n := len(samples)
	at, load, micros := make([]cost.Coords, n), make([]float64, n), make([]float64, n)
	target, weight := make([]float64, n), make([]float64, n)
	var hidden []float64
	lo, hi := math.Inf(1), math.Inf(-1)
	for i, s := range samples {
		e := s.Kernel.(cost.ExpertExchange)
		at[i] = e.Coords(p.SMs)
		load[i] = e.Traffic() / 1e3 * math.Exp(p.Rate.At(at[i]))
		micros[i] = s.Micros
		at[i][cost.FeatLoad] = math.Log2(load[i])
		hidden = append(hidden, at[i][cost.FeatHidden])
		lo, hi = min(lo, at[i][cost.FeatLoad]), max(hi, at[i][cost.FeatLoad])
	}
	fitted, _, err := fitPositive([]float64{20, 1}, micros, func(i int, p []float64) float64 { return p[0] + p[1]*load[i] })
	if err != nil {
		return err
	}
	base := func(load float64) float64 { return fitted[0] + fitted[1]*load }
	for i := range target {
		target[i], weight[i] = math.Log(micros[i]/base(load[i])), commWeight
	}
	knots := octaves(lo, hi)
	fit, err := fitSurface(cost.Surface{lattice(axis(cost.FeatHidden, spread(hidden, 3)...), axis(cost.FeatLoad, knots...))}, at, target, weight)
	if err != nil {
		return err
	}
	p.Time = fit[0]
	for h := 0; h < len(p.Time.Values); h += len(knots) {
		row := p.Time.Values[h : h+len(knots)]
		for i, k := range knots {
			row[i] += math.Log(base(math.Exp2(k)))
		}
		monotone(row)
		for i := range row {
			row[i] = round4(row[i])
		}
	}
	return nil
}

// distinct values, ascending.
func distinct(x []float64) []float64 {
	return slices.Compact(slices.Sorted(slices.Values(x)))
}

// spread puts at most n knots evenly over the range of x; one where x is constant.
func spread(x []float64, n int) []float64 {
	d := distinct(x)
	lo, hi := d[0], d[len(d)-1]
	if len(d) < n {
		return d
	}
	knots := make([]float64, n)
	for i := range knots {
		knots[i] = lo + (hi-lo)*float64(i)/float64(n-1)
	}
	return knots
}
