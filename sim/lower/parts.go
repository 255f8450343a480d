package lower

import (
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/plan"
	"orrery/sim/program"
)

// Parts makes what the passes of a plan consist of without lowering the passes: the
// blocks of layers and ends, messages, buckets and updates. Whole sequences of
// transformers alone have them: no packed samples, no towers, no loads of experts.
// The plan may be a sketch.
type Parts struct{ l *lowering }

// NewParts makes the parts of a plan on demand.
func NewParts(p *plan.Plan) *Parts {
	l := &lowering{shapes: newShapes(p), p: p, blocks: map[layerKey]*Block{}, alike: map[layerKey]int64{}, works: map[workKey]program.WorkID{},
		ranks: make([]rankState, p.Scenario.Parallel.PP)}
	l.stages = make([]stageBlocks, len(p.Stages))
	return &Parts{l}
}

// Layer is one layer's share of a pass over a whole microbatch, or over its first
// slice; recomputed says that the backward pass runs it forward again.
func (p *Parts) Layer(layer int64, recomputed bool, phase pipeline.Phase) *Block {
	return p.l.layerBlock(p.l.keyOf(layer, recomputed), pipeline.Slot{Phase: phase})
}

// Embedding is the embedding's share of a pass of the first stage, nil for input
// gradients alone, or where the vocabulary is cut over the pipeline.
func (p *Parts) Embedding(phase pipeline.Phase) *Block {
	if p.l.p.VocabParallel() || phase == pipeline.I {
		return nil
	}
	b := newBuilder("embedding")
	if phase == pipeline.F {
		p.l.embedding(b)
	} else {
		p.l.embeddingBackward(b)
	}
	return &b.b
}

// Head is the share of final norm, output layer, loss and multi-token-prediction
// modules of a pass of the last stage, nil where the vocabulary is cut over the
// pipeline.
func (p *Parts) Head(phase pipeline.Phase) *Block {
	if p.l.p.VocabParallel() {
		return nil
	}
	f, b := newBuilder("head"), newBuilder("head backward")
	p.l.mtp(f, b)
	p.l.head(f)
	p.l.headBackward(b)
	in, weight := splitBackward(&b.b)
	return map[pipeline.Phase]*Block{pipeline.F: &f.b, pipeline.B: &b.b, pipeline.I: in, pipeline.W: weight}[phase]
}

// Send is the message of one activation, or its gradient, between ranks of the
// pipeline.
func (p *Parts) Send(src, dst int) cost.P2P { return p.l.sendKernel(src, dst) }

// Bucketed is a part of a pass with the data-parallel collectives before and after it.
type Bucketed struct {
	First, Layers   int64 // within the stage
	Embedding, Head bool
	Gather, Reduce  []Op // on the data-parallel lane
}

// Buckets are the parts of a stage's pass in the order in which they run, cut where
// collectives start or are waited for; gathers and reduces tell whether the pass
// carries any.
func (p *Parts) Buckets(stage int, gathers, reduces, backward bool) []Bucketed {
	if p.l.stages[stage].layerGrads == nil {
		st := p.l.p.Stages[stage]
		for i := range st.Layers {
			dense, expert := p.l.p.LayerParams(st.First + i)
			p.l.stages[stage].layerGrads = append(p.l.stages[stage].layerGrads, params{dense, expert})
		}
	}
	segs := p.l.cutStage(stage, gathers, reduces, backward)
	out := make([]Bucketed, len(segs))
	for i, s := range segs {
		out[i] = Bucketed{First: s.first, Layers: s.layers, Embedding: s.embedding, Head: s.head, Gather: p.collectives(s.gather), Reduce: p.collectives(s.reduce)}
	}
	return out
}

func (p *Parts) collectives(b *bucket) []Op {
	if b == nil {
		return nil
	}
	return p.l.bucketBlock(b).Ops
}

// Gathers tells when sharded parameters are gathered: before the first pass of each
// stage, before every pass, or (neither) at the end of the step or never.
func (p *Parts) Gathers() (first, every bool) {
	l := p.l
	if !l.sharded() {
		return false, false
	}
	every = l.s.Parallel.ZeRO == 3 && len(l.ranks) == 1
	return !every && l.fw.OverlapParamGather && l.trains(), every
}

// Reduces tells when gradients are reduced: behind the last backward pass of each
// stage, behind every one, or (neither) after all of them or never.
func (p *Parts) Reduces() (last, every bool) {
	l := p.l
	if !l.trains() || !l.replicated() || !l.fw.OverlapGradReduce {
		return false, false
	}
	return !l.eachMicrobatch(), l.eachMicrobatch()
}

// After are the collectives that reduce a rank's gradients once its passes have
// ended, where nothing of it runs behind them.
func (p *Parts) After(rank int) []Op {
	if p.l.fw.OverlapGradReduce || !p.l.trains() || !p.l.replicated() {
		return nil
	}
	return p.collectives(&bucket{p: p.l.rankParams(rank), kind: program.GradReduce})
}

// Update is a rank's optimizer and the gather of its parameters where that is not
// hidden behind the next step's forward passes; nil without an optimizer.
func (p *Parts) Update(rank int) []Op {
	l := p.l
	if l.s.Training.Optimizer == "none" {
		return nil
	}
	of := l.updated(rank)
	ops := l.optimizer(of, l.p.LastingReplicas(rank)).Ops
	if l.gathersAtEnd() {
		ops = append(ops, p.collectives(&bucket{p: of, kind: program.ParamGather})...)
	}
	return ops
}
