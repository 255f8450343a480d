package balance

import "slices"

func init() { register(flexMoE{}) }

// flexMoE is FlexMoE's scheduler (SIGMOD'23): experts have one or more equal
// "vExperts"; while the balance is worse than a threshold it expands the hottest
// (adds one), shrinks the coldest that has several, or migrates (swaps two), as a
// cost model finds worth the transfer. Adjustments happen in the background,
// from loads of the past. Its paper gives neither threshold nor horizon: both
// are assumed.
type flexMoE struct{}

func (flexMoE) Name() string { return "flexmoe" }

func (flexMoE) Describe() string {
	return "equal copies, expanded, shrunk and migrated from load to load by a cost model (FlexMoE, SIGMOD'23)"
}

func (flexMoE) Params() map[string]string {
	return map[string]string{
		"threshold": "load over the mean that is good enough, 1.1 (assumed)",
		"horizon":   "loads over which a transfer must pay, 10 (assumed)",
		"changes":   "most changes a load, the slots of all ranks",
	}
}

func (b flexMoE) Start(s Setup) (Planner, error) {
	if err := s.checkMains(); err != nil {
		return nil, err
	}
	if err := s.Prices.check(); err != nil {
		return nil, err
	}
	ps := s.params(b)
	f := &flexPlanner{setup: s, threshold: ps.number("threshold", 1, 1000, 1.1), horizon: ps.number("horizon", 0, 1e9, 10),
		changes: ps.whole("changes", 1, 1<<20, max(1, s.Ranks*s.Slots)), hosts: make([][]int32, s.Experts), room: make([]int, s.Ranks)}
	for e := range f.hosts {
		f.hosts[e] = []int32{int32(s.Home(e))}
	}
	for r := range f.room {
		f.room[r] = s.Slots
	}
	return f, ps.err
}

type flexPlanner struct {
	setup              Setup
	threshold, horizon float64
	changes            int
	hosts              [][]int32 // ranks with a vExpert of each expert
	room               []int     // free slots of each rank
	moved              int       // transfers since the last plan
	experts            []int64
	mains              []Copy
}

// Plan gives every vExpert an even part.
func (f *flexPlanner) Plan(load *Load, p *Plan) error {
	if err := load.fits(&f.setup); err != nil {
		return err
	}
	p.reset(&f.setup)
	p.Freedom, p.Domain = MainsMove, f.setup.Ranks
	f.experts = load.PerExpert(f.experts)
	f.mains = homes(&f.setup, f.experts, f.mains)
	for e, hosts := range f.hosts {
		f.mains[e].Rank, f.mains[e].Quota = hosts[0], f.part(e)
		for _, r := range hosts[1:] {
			p.Replicas = append(p.Replicas, Copy{Expert: int32(e), Rank: r, Quota: f.part(e)})
		}
	}
	p.Moved, f.moved = f.moved, 0
	p.group(f.mains)
	return nil
}

func (f *flexPlanner) part(e int) float64 { return float64(f.experts[e]) / float64(len(f.hosts[e])) }

func (f *flexPlanner) loads() []float64 {
	loads := make([]float64, f.setup.Ranks)
	for e, hosts := range f.hosts {
		for _, r := range hosts {
			loads[r] += f.part(e)
		}
	}
	return loads
}

// Observe adjusts the placement to a load.
func (f *flexPlanner) Observe(load *Load) error {
	if err := load.fits(&f.setup); err != nil {
		return err
	}
	f.experts = load.PerExpert(f.experts)
	mean := float64(load.Total()) / float64(f.setup.Ranks)
	for range f.changes {
		loads := f.loads()
		before := slices.Max(loads)
		if before <= f.threshold*mean {
			break
		}
		if !f.expand(loads, before) && !f.migrate(loads, before) {
			break
		}
	}
	return nil
}

// pays says whether a lower largest load is worth so many transfers: three
// passes of the tokens saved over the horizon against the weights' way.
func (f *flexPlanner) pays(before, after float64, transfers int) bool {
	pr := f.setup.Prices
	gain := (before - after) * 3 * pr.tokenSeconds() * f.horizon
	return gain > float64(transfers)*float64(pr.WeightBytes())/(pr.GBps*1e9)
}

// expand adds a vExpert of the expert with the largest part on the heaviest rank,
// in a free slot or in one that the coldest expert with several vExperts gives up.
func (f *flexPlanner) expand(loads []float64, before float64) bool {
	heavy, hot := int32(slices.Index(loads, before)), -1
	for e, hosts := range f.hosts {
		if slices.Contains(hosts, heavy) && (hot < 0 || f.part(e) > f.part(hot)) {
			hot = e
		}
	}
	best, bestMax, cold := -1, before, f.coldest(hot)
	for r := range loads {
		free := f.room[r] > 0
		shrunk := !free && cold >= 0 && slices.Contains(f.hosts[cold][1:], int32(r))
		if slices.Contains(f.hosts[hot], int32(r)) || !free && !shrunk {
			continue
		}
		if most := f.after(loads, hot, cold, r, shrunk); most < bestMax {
			best, bestMax = r, most
		}
	}
	if best < 0 || !f.pays(before, bestMax, 1) {
		return false
	}
	if f.room[best] > 0 {
		f.room[best]--
	} else {
		at := 1 + slices.Index(f.hosts[cold][1:], int32(best))
		f.hosts[cold] = slices.Delete(f.hosts[cold], at, at+1)
	}
	f.hosts[hot] = append(f.hosts[hot], int32(best))
	f.moved++
	return true
}

// coldest is the expert with the smallest part among those with several
// vExperts; -1 where there is none.
func (f *flexPlanner) coldest(hot int) int {
	cold := -1
	for e, hosts := range f.hosts {
		if e != hot && len(hosts) > 1 && (cold < 0 || f.part(e) < f.part(cold)) {
			cold = e
		}
	}
	return cold
}

// after is the largest load once hot has a vExpert more, on rank r, and cold one
// fewer there.
func (f *flexPlanner) after(loads []float64, hot, cold, r int, shrunk bool) float64 {
	next := slices.Clone(loads)
	shift := func(e, n int) { // from the vExperts there are to n
		delta := float64(f.experts[e])/float64(n) - f.part(e)
		for _, h := range f.hosts[e] {
			next[h] += delta
		}
	}
	n := len(f.hosts[hot])
	shift(hot, n+1)
	next[r] += float64(f.experts[hot]) / float64(n+1)
	if shrunk {
		m := len(f.hosts[cold])
		shift(cold, m-1)
		next[r] -= float64(f.experts[cold]) / float64(m-1)
	}
	return slices.Max(next)
}

// migrate swaps a vExpert of the hottest rank with one of the coldest.
func (f *flexPlanner) migrate(loads []float64, before float64) bool {
	hot, cold := 0, 0
	for r := range loads {
		if loads[r] > loads[hot] {
			hot = r
		}
		if loads[r] < loads[cold] {
			cold = r
		}
	}
	bestA, bestB, least := -1, -1, before
	for a := range f.hosts {
		if !slices.Contains(f.hosts[a], int32(hot)) || slices.Contains(f.hosts[a], int32(cold)) {
			continue
		}
		for b := range f.hosts {
			if !slices.Contains(f.hosts[b], int32(cold)) || slices.Contains(f.hosts[b], int32(hot)) {
				continue
			}
			delta := f.part(a) - f.part(b)
			if most := max(loads[hot]-delta, loads[cold]+delta); delta > 0 && most < least {
				bestA, bestB, least = a, b, most
			}
		}
	}
	if bestA < 0 || !f.pays(before, least, 2) {
		return false
	}
	f.hosts[bestA][slices.Index(f.hosts[bestA], int32(hot))] = int32(cold)
	f.hosts[bestB][slices.Index(f.hosts[bestB], int32(cold))] = int32(hot)
	f.moved += 2
	return true
}
