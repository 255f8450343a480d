package calibrate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"orrery/sim/cost"
	"orrery/sim/hw"
)

func init() {
	fitters = append(fitters,
		fitter{family: cost.FamCollective, fit: fitCollectives},
		fitter{family: cost.FamP2P, fit: fitSends},
	)
}

// point is one measured message.
type point struct {
	bytes, micros float64
	integer       bool
}

func (p point) coords() cost.Coords {
	c := cost.Coords{featBytes: math.Log2(p.bytes)}
	if p.integer {
		c[featInteger] = 1
	}
	return c
}

const (
	featBytes   = "bytes"
	featInteger = "integer"
	// commWeight of a row against the pull of fitSurface towards its base and
	// towards its neighbours: a size has two to ten rows, which agree within a
	// few per cent.
	commWeight = 200
)

// fitCurves fits monotone curves with a knot an octave, for floats and for
// integers: latency and bandwidth, then a robust correction that both share, then
// the difference of integers, so that a size that one of them lacks follows the
// other. Where there are no integers the second curve is the first.
func fitCurves(points []point) (floats, integers cost.Curve, err error) {
	if len(points) < 3 {
		return floats, integers, fmt.Errorf("%d rows: want at least three", len(points))
	}
	micros := make([]float64, len(points))
	lo, hi := math.Inf(1), 0.0
	least, fastest := math.Inf(1), 0.0
	for i, p := range points {
		micros[i] = p.micros
		lo, hi = min(lo, p.bytes), max(hi, p.bytes)
		least, fastest = min(least, p.micros), max(fastest, p.bytes/p.micros)
	}
	p, _, err := fitPositive([]float64{least, fastest}, micros, func(i int, p []float64) float64 { return p[0] + points[i].bytes/p[1] })
	if err != nil {
		return floats, integers, err
	}
	base := func(bytes float64) float64 { return p[0] + bytes/p[1] }
	at, target, weight := make([]cost.Coords, len(points)), make([]float64, len(points)), make([]float64, len(points))
	for i, q := range points {
		at[i] = q.coords()
		target[i], weight[i] = math.Log(q.micros/base(q.bytes)), commWeight
	}
	knots := octaves(math.Log2(lo), math.Log2(hi))
	fit, err := fitSurface(cost.Surface{
		lattice(axis(featBytes, knots...)),
		lattice(axis(featInteger, 0, 1), axis(featBytes, knots...)),
	}, at, target, weight)
	if err != nil {
		return floats, integers, err
	}
	tabulate := func(integer bool) cost.Curve {
		var c cost.Curve
		for _, k := range knots {
			q := point{bytes: math.Exp2(k), integer: integer}
			c.Bytes = append(c.Bytes, q.bytes)
			c.Us = append(c.Us, base(q.bytes)*math.Exp(fit.At(q.coords())))
		}
		monotone(c.Us)
		for i := range c.Us {
			c.Us[i] = round4(c.Us[i])
		}
		return c
	}
	floats, integers = tabulate(false), tabulate(true)
	return floats, integers, errors.Join(floats.Check(), integers.Check())
}

// octaves are the whole numbers around lo..hi.
func octaves(lo, hi float64) (knots []float64) {
	for k := math.Floor(lo); k <= math.Ceil(hi); k++ {
		knots = append(knots, k)
	}
	return knots
}

// monotone replaces values by the nearest non-descending ones in least squares
// (pool adjacent violators; Barlow et al., Statistical Inference under Order
// Restrictions, 1972).
func monotone(v []float64) {
	type block struct {
		sum float64
		n   int
	}
	var blocks []block
	for _, x := range v {
		blocks = append(blocks, block{x, 1})
		for k := len(blocks) - 1; k > 0 && blocks[k-1].sum*float64(blocks[k].n) > blocks[k].sum*float64(blocks[k-1].n); k-- {
			blocks[k-1].sum += blocks[k].sum
			blocks[k-1].n += blocks[k].n
			blocks = blocks[:k]
		}
	}
	i := 0
	for _, b := range blocks {
		for range b.n {
			v[i] = b.sum / float64(b.n)
			i++
		}
	}
}

// collectives fits one curve for each pattern and number of ranks. All versions
// of NCCL count: of the sweeps at hand all but one are of 2.29.2 whatever the
// file is called, and the correction is robust, so the lone older one is outvoted
// where it differs (2.27.5 on B200: up to half the time at 16-32 MiB).
func collectives(samples []Sample, g *hw.GPU) (*cost.CollectiveModel, error) {
	type pattern struct {
		kind   cost.CollectiveKind
		custom string
		ranks  int64
	}
	var order []pattern
	groups := map[pattern][]point{}
	integers := map[pattern]bool{}
	for _, s := range samples {
		c, ok := s.Kernel.(cost.Collective)
		if !ok {
			return nil, fmt.Errorf("%s is no collective", s.Kernel)
		}
		key := pattern{c.Kind, c.Custom, c.Group.Ranks}
		if _, seen := groups[key]; !seen {
			order = append(order, key)
		}
		groups[key] = append(groups[key], point{float64(c.Bytes), s.Micros, c.Integer})
		integers[key] = integers[key] || c.Integer
	}
	slices.SortFunc(order, func(a, b pattern) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.custom, b.custom), cmp.Compare(a.ranks, b.ranks))
	})
	m := &cost.CollectiveModel{NVLinkGBps: g.NVLinkGBps}
	for _, key := range order {
		f, i, err := fitCurves(groups[key])
		if err != nil {
			return nil, fmt.Errorf("%s among %d: %w", key.kind, key.ranks, err)
		}
		c := cost.CollectiveCurve{Kind: key.kind, Custom: key.custom, Ranks: key.ranks, Curve: f}
		m.Curves = append(m.Curves, c)
		if integers[key] {
			c.Integer, c.Curve = true, i
			m.Curves = append(m.Curves, c)
		}
	}
	return m, nil
}

func fitCollectives(samples []Sample, g *hw.GPU, p *cost.Profile) error {
	m, errors, err := fitValidated(samples, func(rows []Sample) (*cost.CollectiveModel, error) { return collectives(rows, g) },
		func(m *cost.CollectiveModel, k cost.Kernel) (float64, error) {
			e, err := m.Price(k.(cost.Collective), g)
			return e.Time.Micros(), err
		}, rowHeldOut, byShape("errors"), byShape("errors1"), byShape("errors2"))
	if err != nil {
		return err
	}
	m.Errors = errors
	if p.Collective != nil { // sends were fitted before
		m.Send, m.NetSend = p.Collective.Send, p.Collective.NetSend
	}
	p.Collective = m
	return nil
}

// fitSends fits sends over NVLink and over a NIC.
func fitSends(samples []Sample, g *hw.GPU, p *cost.Profile) error {
	byNIC := map[float64][]Sample{}
	for _, s := range samples {
		k, ok := s.Kernel.(cost.P2P)
		if !ok {
			return fmt.Errorf("%s is no send", s.Kernel)
		}
		byNIC[k.NICGBps] = append(byNIC[k.NICGBps], s)
	}
	if p.Collective == nil {
		p.Collective = &cost.CollectiveModel{NVLinkGBps: g.NVLinkGBps}
	}
	for _, nic := range slices.Sorted(maps.Keys(byNIC)) {
		rows := byNIC[nic]
		curve := func(rows []Sample) (cost.Curve, error) {
			var points []point
			for _, s := range rows {
				points = append(points, point{bytes: float64(s.Kernel.(cost.P2P).Bytes), micros: s.Micros})
			}
			c, _, err := fitCurves(points)
			return c, err
		}
		c, band, err := fitValidated(rows, curve, func(c cost.Curve, k cost.Kernel) (float64, error) {
			return c.Micros(float64(k.(cost.P2P).Bytes)), nil
		}, rowHeldOut, byShape("errors"))
		if err != nil {
			return fmt.Errorf("sends over a NIC of %g GB/s: %w", nic, err)
		}
		fit := &cost.SendCurve{GBps: nic, Curve: c, Errors: band}
		if nic == 0 {
			fit.GBps = g.NVLinkGBps
			p.Collective.Send = fit
		} else {
			p.Collective.NetSend = fit
		}
	}
	return nil
}
