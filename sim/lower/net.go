package lower

import (
	"fmt"

	"orrery/models"
	"orrery/schedules/pipeline"
	"orrery/sim/program"
)

// A model that lists its layers (models.Model.Net) is lowered layer by layer, in
// the shape that each microbatch's sequences have: one stage, data parallel.

// netKey identifies a pass of a layer; equal layers in equal shapes share blocks.
type netKey struct {
	layer    models.Layer
	batch    models.Batch
	backward bool
	again    bool // adds to gradients that are there
}

// netLayers lowers every layer in every shape that the step has. It is an error
// if a kind of layer has no kernels.
func (l *lowering) netLayers() error {
	l.net = map[netKey][]Use{}
	for mb, passes := range l.p.Batches {
		for pass := range passes {
			for _, backward := range []bool{false, true} {
				for _, layer := range l.m.Net {
					k := l.netKey(layer, mb, pass, backward)
					if l.net[k] != nil {
						continue
					}
					uses, err := (&netShapes{shapes: l.shapes, batch: k.batch, again: k.again}).layer(layer, backward)
					if err != nil {
						return fmt.Errorf("%s: %w", l.m.Name, err)
					}
					l.net[k] = uses
				}
			}
		}
	}
	return nil
}

func (l *lowering) netKey(layer models.Layer, mb, pass int, backward bool) netKey {
	passes := l.p.Batches[mb]
	again := backward && (mb > 0 || pass < len(passes)-1) // backward runs the last pass first
	return netKey{layer, passes[pass], backward, again}
}

// netSegments cuts a backward pass where the gradients of a bucket are complete:
// with two passes joined by their losses, autograd runs back through the second
// first, and no parameter's gradient is complete before it comes to the first's.
func (l *lowering) netSegments(s pipeline.Slot) []segment {
	n := int64(len(l.m.Net))
	if s.Phase == pipeline.F {
		return []segment{{layers: n}}
	}
	var segs []segment
	for pass := len(l.p.Batches[s.Microbatch]) - 1; pass > 0; pass-- {
		segs = append(segs, segment{layers: n, pass: pass})
	}
	if !l.reduces(s) {
		return append(segs, segment{layers: n})
	}
	var p params
	end := n
	for i := n - 1; i >= 0; i-- {
		p = p.plus(l.stages[s.Stage].layerGrads[i])
		full := float64(p.dense)*l.fw.GradDType.Bytes() >= max(l.fw.BucketMiB*(1<<20), 1)
		if i > 0 && !full {
			continue
		}
		seg := segment{first: i, layers: end - i}
		if p.dense > 0 {
			seg.reduce = &bucket{p: p, kind: program.GradReduce}
		}
		segs = append(segs, seg)
		p, end = params{}, i
	}
	return segs
}

// netUses are the blocks of a segment in the order in which they run: all passes
// of a forward pass with what joins them, or one pass back.
func (l *lowering) netUses(s pipeline.Slot, seg segment) []Use {
	mb := int(s.Microbatch)
	passes := l.p.Batches[mb]
	var uses []Use
	put := func(us ...Use) {
		for _, u := range us {
			if n := len(uses); n > 0 && uses[n-1].Block == u.Block {
				uses[n-1].Times += u.Times
				continue
			}
			uses = append(uses, u)
		}
	}
	join := netShapes{shapes: l.shapes, batch: passes[0]}
	if s.Phase == pipeline.F {
		for pass := range passes {
			for _, layer := range l.m.Net {
				put(l.net[l.netKey(layer, mb, pass, false)]...)
			}
		}
		if len(passes) > 1 {
			put(join.consistency(false))
		}
		return uses
	}
	last := len(passes) - 1
	if last > 0 && seg.pass == last {
		put(join.consistency(true))
	}
	for i := seg.first + seg.layers - 1; i >= seg.first; i-- {
		put(l.net[l.netKey(l.m.Net[i], mb, seg.pass, true)]...)
	}
	return uses
}

// netShapes are the shapes of one pass through layers.
type netShapes struct {
	*shapes
	batch models.Batch
	again bool
}

// layer lowers a layer's forward or backward pass to blocks that run one after
// the other.
func (n *netShapes) layer(layer models.Layer, backward bool) ([]Use, error) {
	name := layer.Kind()
	if backward {
		name += " backward"
	}
	b, times := newBuilder(name), int64(1)
	switch l := layer.(type) {
	case models.Embedding:
		n.lookup(b, l, backward)
	case models.RelativeBias:
		n.relativeBias(b, l, backward)
	case models.Encoder:
		n.encoder(b, l, backward)
	case models.Norm:
		n.normOf(b, "norm", l.How, n.batch.Rows(l.Over), l.Width, backward)
	case models.LSTM:
		times = n.calls(l.Over)
		n.lstm(b, l, times, backward)
	case models.Pool:
		times = n.calls(models.Tokens)
		n.pool(b, l, times, backward)
	case models.Graph:
		n.graph(b, l, backward)
	case models.Dense:
		n.head(b, l, backward)
	case models.Add:
		n.add(b, "residual", l.PerTurn*n.batch.Rows(l.Over)*l.Width)
	case models.Loss:
		n.loss(b, l, backward)
	default:
		return nil, fmt.Errorf("layers of kind %q have no kernels", layer.Kind())
	}
	return []Use{{&b.b, times}}, nil
}

// calls is how often a layer runs in a pass: once for each dialogue where the
// code loops over them, which Co-GAT's does around what reads words.
func (n *netShapes) calls(over models.Axis) int64 {
	if n.s.Data.ByDialogue && over == models.Tokens {
		return n.batch.Dialogues
	}
	return 1
}

// ceilDiv is a/b, rounded up.
func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }
