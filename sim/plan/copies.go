package plan

import (
	"fmt"
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/cost"
)

// Copies are the pipeline ranks that hold the same stages, as bidirectional
// schedules do: each computes gradients of its own microbatches, and the sum over
// all of them goes into every rank's optimizer.
type Copies struct {
	Ranks []int // ascending
	Group cost.Group
}

// layCopies fills in Copies and returns where they are. They stay empty where the
// schedule holds every stage once. An order may have the copies of a rank's stages on
// several others; that is an error.
func (p *Plan) layCopies() ([]placement, error) {
	copies := pipeline.Replicas(p.Schedule)
	if copies == 1 {
		return nil, nil
	}
	domain, stride := max(p.Scenario.Cluster.NVLinkDomain, 1), strides(p.Scenario.Parallel)["pp"]
	var placed []placement
	for r, held := range p.Held {
		var c Copies
		near := int64(0) // in the NVLink domain of this rank
		for q := range p.Held {
			if !slices.Equal(held, p.Held[q]) {
				continue
			}
			c.Ranks = append(c.Ranks, q)
			if int64(q)*stride/domain == int64(r)*stride/domain {
				near++
			}
		}
		if len(c.Ranks) != copies {
			return nil, fmt.Errorf("schedule %s: the stages of rank %d have %d copies, and %d of the ranks hold all of them; want as many", p.Schedule.Name(), r, copies, len(c.Ranks))
		}
		n := int64(len(c.Ranks))
		for n%near != 0 { // equal shares of each domain
			near--
		}
		c.Group = cost.Group{Ranks: n, PerDomain: near}
		p.Copies = append(p.Copies, c)
		if r == c.Ranks[0] && n > 1 {
			placed = append(placed, placement{c.Group, int64(c.Ranks[1]-r) * stride})
		}
	}
	return placed, nil
}
