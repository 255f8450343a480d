package report

import (
	"cmp"
	"slices"

	"orrery/sim"
	"orrery/sim/cost"
	"orrery/sim/program"
)

// link is a class of links of a GPU.
type link uint8

const (
	nvlink link = iota
	network
	hostLink
	numLinks
)

func (l link) String() string { return [...]string{"NVLink", "network", "host link"}[l] }

// moved is what one rank sends over each class of links, in bytes.
type moved [numLinks]float64

// sentBy tells what one rank sends for a message. The timeline has no flows on single
// links, so messages are laid on classes of them:
//
//   - a send goes over NVLink, or over the network where it leaves the NVLink domain;
//   - a collective sends what a ring does (cost.Collective.BusFactor); of PerDomain
//     ranks of a domain one hands on to the next domain in each ring, so that
//     1/PerDomain of it leaves over the network. Trees and NVLink SHARP send less;
//   - an all-to-all sends to each rank as much;
//   - an exchange of experts sends each token once to each rank (in a domain) or to each
//     other domain; what is forwarded there over NVLink is not counted;
//   - a transfer that its authors report goes over NVLink where it scales with that.
func sentBy(k cost.Kernel) (m moved) {
	switch k := k.(type) {
	case cost.P2P:
		if k.NICGBps > 0 {
			m[network] = float64(k.Bytes)
		} else {
			m[nvlink] = float64(k.Bytes)
		}
	case cost.Collective:
		total, away := float64(k.Bytes)*k.BusFactor(), 0.0
		n, per := float64(k.Group.Ranks), float64(k.Group.PerDomain)
		if k.Group.Domains() > 1 {
			away = total / per
			if k.Kind == cost.AllToAll {
				away = total * (n - per) / (n - 1)
			}
		}
		m[nvlink], m[network] = total-away, away
	case cost.ExpertExchange:
		if k.Group.Domains() > 1 {
			m[network] = k.Traffic()
		} else if n := float64(k.Group.Ranks); n > 0 {
			m[nvlink] = k.Traffic() * (n - 1) / n
		}
	case cost.Reported:
		if k.NVLinkGBps > 0 {
			m[nvlink] = float64(k.Bytes)
		} else {
			m[network] = float64(k.Bytes)
		}
	case cost.HostCopy:
		m[hostLink] = float64(k.Bytes)
	}
	return m
}

// linkRow is what one kind of messages puts on one class of links in a step, of the
// mean GPU and in one direction.
type linkRow struct {
	Link     string
	Traffic  string
	Messages float64
	Bytes    float64
	Seconds  float64 // of the messages, each alone: one that uses two classes counts in both
	GBps     float64 // Bytes over Seconds
	OfLink   float64 // GBps over the link's published rate; 0 where that is not known
	OfStep   float64 // Bytes over what the link could move in the whole step
	link     link
}

// linksOf are the rows of a run, in order of links and bytes.
func linksOf(run *sim.Run) ([]linkRow, error) {
	step := run.Step
	type key struct {
		link    link
		traffic string
	}
	rows := map[key]*linkRow{}
	add := func(k cost.Kernel, traffic string, times float64) error {
		e, err := run.KernelPrice(k)
		if err != nil {
			return err
		}
		for l, bytes := range sentBy(k) {
			if bytes == 0 {
				continue
			}
			at := key{link(l), traffic}
			if rows[at] == nil {
				rows[at] = &linkRow{Link: link(l).String(), Traffic: traffic, link: link(l)}
			}
			rows[at].Messages += times
			rows[at].Bytes += times * bytes
			rows[at].Seconds += times * e.Time.Seconds()
		}
		return nil
	}
	for w, times := range timesPerGPU(run) {
		if times == 0 {
			continue
		}
		work := &step.Works[w]
		traffic := step.Program.Works[w].Kind.String()
		if work.Kernel != nil {
			if err := add(work.Kernel, traffic, times); err != nil {
				return nil, err
			}
		}
		price, err := run.WorkPrice(program.WorkID(w))
		if err != nil {
			return nil, err
		}
		inPass := passes[step.Program.Works[w].Kind]
		for _, u := range price.Uses {
			for _, op := range u.Block.Ops {
				of := traffic
				if inPass || op.Class.String() == "optimizer" {
					of = op.Class.String()
				}
				if err := add(op.Kernel, of, times*float64(u.Times)); err != nil {
					return nil, err
				}
			}
		}
	}
	var out []linkRow
	for _, r := range rows {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b linkRow) int {
		return cmp.Or(cmp.Compare(a.link, b.link), cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Traffic, b.Traffic))
	})
	for i := range out {
		out[i].rates(run)
	}
	return out, nil
}

func (r *linkRow) rates(run *sim.Run) {
	rate := [numLinks]float64{run.GPU().NVLinkGBps, run.Scenario.Cluster.NICGBps, run.Scenario.Cluster.HostGBps}[r.link]
	if r.Seconds > 0 {
		r.GBps = r.Bytes / r.Seconds / 1e9
	}
	if rate > 0 {
		r.OfLink = r.GBps / rate
		r.OfStep = r.Bytes / (rate * 1e9 * run.Result.StepTimeS)
	}
}

// timesPerGPU is how often the mean GPU takes part in each work. All that a lane
// stands for run its ops; a data-parallel lane may belong to several ranks of the
// folded program, and a pipeline's lanes belong to all.
func timesPerGPU(run *sim.Run) []float64 {
	step := run.Step
	p, groups := step.Program, step.Groups()
	owners := make([]int64, len(p.Lanes))
	for _, l := range step.Lanes {
		owners[l.DP]++
	}
	for l := range owners {
		owners[l] = max(owners[l], 1)
	}
	for _, l := range step.Pipeline {
		owners[l] = int64(len(step.Lanes))
	}
	counts := make([]int64, len(p.Works))
	for id, w := range p.Work {
		for g := range groups {
			counts[step.WorkOf(g, w)] += owners[p.Lane[id]]
		}
	}
	out := make([]float64, len(counts))
	for w, n := range counts {
		out[w] = float64(n) / float64(len(step.Lanes)*groups)
	}
	return out
}
