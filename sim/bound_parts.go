package sim

import (
	"reflect"

	"orrery/models"
	"orrery/scenarios"
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/unit"
)

// world is a model on a machine, with the prices of its kernels.
type world struct {
	model  models.Model
	prices *prices
	parts  map[partsKey]*partTimes
	kinds  []int   // by layer: which of those that are lowered alike
	first  []int64 // by kind: the first such layer
}

func (b *Bounds) world(s *scenarios.Scenario) (*world, error) {
	c := s.Cluster
	c.GPUs = 0
	for _, w := range b.worlds[c] {
		if reflect.DeepEqual(w.model, s.Model) {
			return w, nil
		}
	}
	gpu, err := machine(s)
	if err != nil {
		return nil, err
	}
	profile, err := b.find(s.Cluster.Profile)
	if err != nil {
		return nil, err
	}
	w := &world{model: *s.Model.Clone(), prices: newPrices(profile.On(gpu), gpu, 0), parts: map[partsKey]*partTimes{}}
	type kind struct {
		moe    bool
		window int64
	}
	known := map[kind]int{}
	for i := range s.Model.Layers {
		k := kind{s.Model.IsMoE(i), s.Model.Window(i)}
		if _, ok := known[k]; !ok {
			known[k] = len(w.first)
			w.first = append(w.first, i)
		}
		w.kinds = append(w.kinds, known[k])
	}
	b.worlds[c] = append(b.worlds[c], w)
	return w, nil
}

// partsKey has all that the kernels of layers and ends depend on in one world.
type partsKey struct {
	micro, tokens, sequence, slices int64
	tp, cp, ep, etp                 int64
	sp                              bool
	cpKind                          string
	groups                          [4]cost.Group // tp, cp, ep, etp
	vocab                           int64
	vocabParallel                   bool
	precision                       scenarios.Precision
	recompute, finetune, loraTarget string
	loraRank                        int64
	framework                       scenarios.Framework
	// Where the fabric is oversubscribed, rates depend on where all groups are.
	gpus, pp, dp, shard int64
	order               string
}

func partsKeyOf(p *plan.Plan) partsKey {
	s := p.Scenario
	par, tr, g := s.Parallel, s.Training, p.Groups
	rc := tr.Recompute
	rc.Layers = 0
	k := partsKey{micro: tr.MicroBatch, tokens: p.Tokens, sequence: tr.SequenceLength, slices: p.Slices(), tp: par.TP, cp: par.CP, ep: par.EP, etp: par.ETP,
		sp: par.SP, cpKind: par.CPKind, groups: [4]cost.Group{g.TP, g.CP, g.EP, g.ETP}, vocab: p.Vocab, vocabParallel: p.VocabParallel(),
		precision: tr.Precision, recompute: rc.String(), finetune: tr.Finetune, loraTarget: tr.LoRATargets, loraRank: tr.LoRARank, framework: s.Framework}
	k.framework.BucketMiB = 0 // of gradients
	if s.Cluster.Oversub > 1 {
		k.gpus, k.pp, k.dp, k.shard = s.Cluster.GPUs, par.PP, par.DP, par.Shard
		for _, d := range par.Order {
			k.order += d + "-"
		}
	}
	return k
}

// partTime is what a block takes at least.
type partTime struct {
	time     unit.Time // alone on its rank
	compute  unit.Time // of its compute lane, whatever runs beside it
	launches int64
}

func (t *partTime) add(o partTime, n int64) {
	t.time += o.time * unit.Time(n)
	t.compute += o.compute * unit.Time(n)
	t.launches += o.launches * n
}

// partTimes are the prices of layers and ends, made when they are first needed.
type partTimes struct {
	prices *prices
	from   *lower.Parts
	first  []int64
	sliced bool
	known  map[partOf]partTime
}

type partOf struct {
	what  string // "layer", "embedding", "head"
	kind  int
	again bool // a layer that is recomputed
	phase pipeline.Phase
}

func (w *world) partTimes(p *plan.Plan) *partTimes {
	k := partsKeyOf(p)
	t := w.parts[k]
	if t == nil {
		t = &partTimes{prices: w.prices, from: lower.NewParts(p), first: w.first, sliced: p.Slices() > 1, known: map[partOf]partTime{}}
		w.parts[k] = t
	}
	return t
}

func (t *partTimes) of(k partOf) (partTime, error) {
	if out, ok := t.known[k]; ok {
		return out, nil
	}
	var b *lower.Block
	switch k.what {
	case "layer":
		b = t.from.Layer(t.first[k.kind], k.again, k.phase)
	case "embedding":
		b = t.from.Embedding(k.phase)
	default:
		b = t.from.Head(k.phase)
	}
	var out partTime
	if b != nil {
		bp, err := t.prices.block(b)
		if err != nil {
			return out, err
		}
		out = partTime{time: bp.Time, launches: bp.Launches}
		for i, op := range b.Ops {
			// Attention of the first slice sees fewer keys than that of the others.
			if op.Lane == lower.Compute && (!t.sliced || op.Class != lower.Attention) {
				out.compute += bp.Dur[i]
			}
		}
		delete(t.prices.blocks, b) // its times are all that is needed
	}
	t.known[k] = out
	return out, nil
}

// sequence is how long ops take one after the other.
func (p *prices) sequence(ops []lower.Op) (sum unit.Time, err error) {
	for _, op := range ops {
		e, err := p.kernel(op.Kernel)
		if err != nil {
			return 0, err
		}
		sum += e.Time
	}
	return sum, nil
}
