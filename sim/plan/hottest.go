package plan

import (
	"slices"

	"orrery/schedules/balance"
	"orrery/schedules/pipeline"
)

// Hottest is the rank of the expert-parallel groups that needs the most memory on a
// pipeline rank: what it receives decides whether the job fits.
type Hottest struct {
	Group, Rank int
	// Layer and Microbatch are those of which it holds the most tokens when it
	// holds the most memory, -1 where it has no experts; Rows pairs of token and expert.
	Layer      int64
	Microbatch int
	Rows       float64
	// Workspace is what one layer's backward pass needs there beyond what it would
	// at an even load, in bytes.
	Workspace float64
}

// Use makes a plan of the same scenario with a routing. Passes of a pipeline rank
// take and give back memory one after the other in its order, so that the rank that
// needs most is known before anything is timed.
func (p *Plan) Use(r *Routing) *Plan {
	q := *p
	q.Routing, q.hottest = r, nil
	if r == nil {
		return &q
	}
	q.expert = [3]float64{keptExperts: q.expertBytes(true, false), allExperts: q.expertBytes(false, false), expertInputs: q.expertBytes(true, true)}
	q.hottest = make([]Hottest, len(p.Order))
	for d := range p.Order {
		q.hottest[d] = q.findHottest(d)
	}
	return &q
}

// Hottest is the rank of the expert-parallel groups that is simulated in memory for
// a pipeline rank; only with Routing.
func (p *Plan) Hottest(rank int) Hottest { return p.hottest[rank] }

// What the experts of a layer keep for a pass.
const (
	keptExperts  = iota // but what is recomputed
	allExperts          // all of it
	expertInputs        // inputs of linear layers, which weight gradients need
)

// expertBytes is what the experts of a layer keep for a pass on a rank at an even
// load: without what is recomputed, all of it, or the inputs of linear layers alone.
func (p *Plan) expertBytes(kept, inputs bool) float64 {
	par, rc := p.Scenario.Parallel, p.Scenario.Training.Recompute
	sum := 0.0
	for _, a := range p.Model.Activations(p.Routing.Layers[0]) {
		if !slices.Contains([]string{"mlp.permuted_in", "mlp.fc1_out", "mlp.act_out", "mlp.expert_out"}, a.Name) || a.Group != "moe" {
			continue
		}
		if inputs && !a.LinearInput || kept && rc.Mode == "selective" && a.FreedBy(rc.Parts) {
			continue
		}
		b := a.PerRank(par.TP, par.ETP, par.SP)
		if !inputs && p.QuantisedCopies() > 0 && a.LinearInput {
			b /= 2
		}
		sum += b
	}
	return sum * float64(p.Tokens)
}

// over is how far a rank's rows exceed an even load's, as a share of those.
func (r *Routing) over(s *Share, rank int) float64 { return float64(s.ByRank[rank])/r.Pairs - 1 }

// UnevenBytes is what a pass keeps on the hottest rank of a pipeline rank beyond
// ActivationBytes, which are of an even load; negative where it receives less.
func (p *Plan) UnevenBytes(rank, stage, microbatch int) float64 {
	if p.Routing == nil {
		return 0
	}
	h := p.hottest[rank]
	return p.unevenBytes(h.Group, h.Rank, stage, microbatch, keptExperts)
}

// UnevenWeightGradBytes likewise of WeightGradBytes.
func (p *Plan) UnevenWeightGradBytes(rank, stage, microbatch int) float64 {
	if p.Routing == nil {
		return 0
	}
	h := p.hottest[rank]
	return p.unevenBytes(h.Group, h.Rank, stage, microbatch, expertInputs)
}

func (p *Plan) unevenBytes(group, rank, stage, microbatch, what int) float64 {
	rc, st, sum := p.Scenario.Training.Recompute, p.Stages[stage], 0.0
	for i := range st.Layers {
		s := p.Routing.Share(group, st.First+i, microbatch)
		again := rc.Mode == "full" && (rc.Layers == 0 || i < rc.Layers)
		if s == nil || again && what == keptExperts {
			continue
		}
		sum += p.Routing.over(s, rank) * p.expert[what]
	}
	return sum
}

// findHottest walks a pipeline rank's passes once for each rank of each group.
func (p *Plan) findHottest(device int) Hottest {
	best, most := Hottest{}, 0.0
	w := walk{plan: p, order: p.Order[device], forwards: map[pipeline.Slot]bool{}}
	for stage := range p.Stages {
		w.kept, w.weights = append(w.kept, p.ActivationBytes(stage)), append(w.weights, p.WeightGradBytes(stage))
	}
	for _, s := range w.order {
		if s.Phase == pipeline.F {
			w.forwards[s] = true
		}
	}
	for g := range p.Routing.Groups {
		for r := range p.Routing.Setup.Ranks {
			h, bytes := w.peak(g, r)
			if g == 0 && r == 0 || bytes > most {
				best, most = h, bytes
			}
		}
	}
	return best
}

// walk is a pipeline rank's passes with what their stages keep at an even load.
type walk struct {
	plan          *Plan
	order         []pipeline.Slot
	forwards      map[pipeline.Slot]bool
	kept, weights []float64 // by stage
}

// peak is what a rank holds at most beyond the static ledger, in bytes, and what
// makes it hold so much.
func (w *walk) peak(group, rank int) (Hottest, float64) {
	p := w.plan
	h := Hottest{Group: group, Rank: rank, Layer: -1}
	held, most := 0.0, -1.0
	live := map[pipeline.Slot]bool{}
	for _, s := range w.order {
		stage, mb := int(s.Stage), int(s.Microbatch)
		bytes := w.kept[stage] + p.unevenBytes(group, rank, stage, mb, keptExperts)
		switch s.Phase {
		case pipeline.F:
			held += bytes
			live[s] = true
			if held > most {
				most = held
				h.Layer, h.Microbatch, h.Rows = p.largest(live, group, rank)
			}
			continue
		case pipeline.B:
			held -= bytes
		case pipeline.I:
			held -= bytes - w.weights[stage] - p.unevenBytes(group, rank, stage, mb, expertInputs)
		case pipeline.W:
			held -= w.weights[stage] + p.unevenBytes(group, rank, stage, mb, expertInputs)
		}
		s.Phase = pipeline.F
		delete(live, s)
	}
	layer, mb, rows := p.largest(w.forwards, group, rank)
	s := p.Routing.Share(group, layer, mb)
	if s == nil {
		return h, most
	}
	over := p.Routing.over(s, rank)
	h.Workspace = over * p.expert[allExperts]
	if !p.fullRecompute() { // of its backward pass alone: gradients of what the experts take and put out
		h.Workspace = over * 2 * float64(p.Tokens) * float64(p.Model.MoE.TopK*(p.Model.MoE.FFN+p.Model.Hidden)) / float64(p.Scenario.Parallel.TP)
	} else {
		h.Layer, h.Microbatch, h.Rows = layer, mb, rows
	}
	return h, most + h.Workspace
}

// largest is the layer and microbatch of some passes that bring a rank the most
// tokens; the first of equals.
func (p *Plan) largest(passes map[pipeline.Slot]bool, group, rank int) (layer int64, microbatch int, rows float64) {
	layer, rows = -1, -1
	for s := range passes {
		st := p.Stages[s.Stage]
		for i := range st.Layers {
			sh := p.Routing.Share(group, st.First+i, int(s.Microbatch))
			if sh == nil {
				continue
			}
			x, l, mb := float64(sh.ByRank[rank]), st.First+i, int(s.Microbatch)
			if x > rows || x == rows && (mb < microbatch || mb == microbatch && l < layer) {
				layer, microbatch, rows = l, mb, x
			}
		}
	}
	return layer, microbatch, max(rows, 0)
}

// LastingReplicas counts the copies of experts that a pipeline rank holds from step to
// step, over its layers: those of a placement, taken as even over the ranks of a group.
func (p *Plan) LastingReplicas(rank int) int64 {
	r, most := p.Routing, int64(0)
	if r == nil {
		return 0
	}
	for g := range r.Groups {
		n := int64(0)
		for _, stage := range p.Held[rank] {
			st := p.Stages[stage]
			for i := range st.Layers {
				if s := r.Share(g, st.First+i, r.Microbatches-1); s != nil && !s.Streamed && s.Shadows == 0 {
					n += int64((s.Replicas + r.Setup.Ranks - 1) / r.Setup.Ranks)
				}
			}
		}
		most = max(most, n)
	}
	return most
}

// replicaBytes are a pipeline rank's redundant slots: shared by all layers where
// weights are sent microbatch by microbatch, one set a layer where placements last.
func (p *Plan) replicaBytes(rank int) float64 {
	r, layers := p.Routing, 0
	b, _, err := balance.ParseBalancer(r.Balancer)
	if err != nil || b.Name() == "none" || b.Name() == "ideal" {
		return 0
	}
	for _, stage := range p.Held[rank] {
		st := p.Stages[stage]
		for i := range st.Layers {
			if p.Model.IsMoE(st.First + i) {
				layers++
			}
		}
	}
	shared := r.Streams() || b.Name() == "fastermoe" // which sends anew each time too
	m := r.Setup.SlotMemory(layers, shared, p.Scenario.Training.Optimizer != "none")
	return float64(m.Weights + m.Gradients)
}
