package models

// Embedding looks tokens up, adds learned positions and token types, and
// normalises the sum where Norm says so ("layer"; "" does not).
type Embedding struct {
	Vocab, Width, Positions, Types int64
	Unused                         int64 // positions that no token has
	Norm                           string
}

// Kind implements Layer.
func (Embedding) Kind() string { return "embedding" }

// Params implements Layer.
func (e Embedding) Params() int64 {
	n := (e.Vocab + e.Positions + e.Types) * e.Width
	if e.Norm == "layer" {
		n += 2 * e.Width
	}
	return n
}

// ForwardFLOPs implements Layer.
func (Embedding) ForwardFLOPs(Batch) float64 { return 0 }

// SavedBytes implements Layer: the norm's input and dropout's mask.
func (e Embedding) SavedBytes(b Batch) float64 { return 3 * float64(b.Tokens*e.Width) }

func (e Embedding) check(c *checker) {
	c.within("vocab", e.Vocab, 1, maxWidth)
	c.within("width", e.Width, 1, maxHidden)
	c.within("positions", e.Positions, 0, maxWidth)
	c.within("types", e.Types, 0, maxWidth)
	c.within("unused", e.Unused, 0, e.Positions)
}

// Encoder is one layer of a transformer encoder: attention in which every token
// of an utterance sees all of it, and an MLP, each with a residual and a norm.
type Encoder struct {
	Hidden, FFN, Heads, HeadDim int64
	Gated, Bias                 bool
	Norm                        string // "layer" or "rms"
	// Relative: a bias by relative position is added to the scores (T5,
	// arXiv:1910.10683, section 2.1), which fused attention does not do.
	Relative bool
}

// Block is the layer as one of a decoder's, which has the same weights.
func (e Encoder) Block() *Model {
	return &Model{Name: e.Kind(), Layers: 1, Hidden: e.Hidden, FFN: e.FFN, Vocab: 1, Norm: e.Norm, Gated: e.Gated, Bias: e.Bias,
		Attn: Attention{Heads: e.Heads, KVHeads: e.Heads, HeadDim: e.HeadDim}, Positions: 1}
}

// Kind implements Layer.
func (Encoder) Kind() string { return "encoder" }

// Params implements Layer.
func (e Encoder) Params() int64 { return e.Block().LayerParams(0).Total() }

// ForwardFLOPs implements Layer.
func (e Encoder) ForwardFLOPs(b Batch) float64 {
	m := e.Block()
	return 2 * (float64(b.Tokens)*m.linearMACs(0) + float64(b.TokenPairs)*m.coreMACs())
}

// SavedBytes implements Layer: what a decoder's layer keeps and the masks of two
// dropouts; with relative positions also scores, their softmax and its dropout.
func (e Encoder) SavedBytes(b Batch) float64 {
	bytes := 2 * float64(e.Hidden)
	for _, a := range e.Block().Activations(0) {
		bytes += a.BytesPerToken
	}
	bytes *= float64(b.Tokens)
	if e.Relative {
		bytes += (4 + 2 + 1) * float64(b.TokenPairs*e.Heads)
	}
	return bytes
}

func (e Encoder) check(c *checker) {
	if err := e.Block().Validate(); err != nil {
		c.errs = append(c.errs, err)
	}
}

// RelativeBias is the table of T5's relative position biases, one number for each
// bucket of distances and head, shared by all layers of a stack.
type RelativeBias struct{ Buckets, Heads int64 }

// Kind implements Layer.
func (RelativeBias) Kind() string { return "relative bias" }

// Params implements Layer.
func (r RelativeBias) Params() int64 { return r.Buckets * r.Heads }

// ForwardFLOPs implements Layer.
func (RelativeBias) ForwardFLOPs(Batch) float64 { return 0 }

// SavedBytes implements Layer: the bias of each pair of positions and head, once
// for the batch.
func (r RelativeBias) SavedBytes(b Batch) float64 { return 2 * float64(b.Length*b.Length*r.Heads) }

func (r RelativeBias) check(c *checker) {
	c.within("buckets", r.Buckets, 1, maxWidth)
	c.within("heads", r.Heads, 1, maxHeads)
}

// Norm is a norm of its own over the rows of an axis.
type Norm struct {
	Width int64
	How   string // "layer" or "rms"
	Over  Axis
}

// Kind implements Layer.
func (Norm) Kind() string { return "norm" }

// Params implements Layer.
func (n Norm) Params() int64 { return (&Model{Norm: n.How}).norm(n.Width) }

// ForwardFLOPs implements Layer.
func (Norm) ForwardFLOPs(Batch) float64 { return 0 }

// SavedBytes implements Layer: its input.
func (n Norm) SavedBytes(b Batch) float64 { return 2 * float64(b.Rows(n.Over)*n.Width) }

func (n Norm) check(c *checker) {
	c.within("width", n.Width, 1, maxHidden)
	if n.How != "layer" && n.How != "rms" {
		c.fail("norm is %q, want rms or layer", n.How)
	}
}

// Dense is a linear layer with bias over the rows of an axis, with dropout before
// it and an activation after it where Activation is set.
type Dense struct {
	In, Out    int64
	Activation bool
	Over       Axis
}

// Kind implements Layer.
func (Dense) Kind() string { return "linear" }

// Params implements Layer.
func (d Dense) Params() int64 { return d.In*d.Out + d.Out }

// ForwardFLOPs implements Layer.
func (d Dense) ForwardFLOPs(b Batch) float64 { return 2 * float64(b.Rows(d.Over)*d.In*d.Out) }

// SavedBytes implements Layer: its input, dropout's mask, the activation's input.
func (d Dense) SavedBytes(b Batch) float64 {
	bytes := 3 * d.In
	if d.Activation {
		bytes += 2 * d.Out
	}
	return float64(b.Rows(d.Over) * bytes)
}

func (d Dense) check(c *checker) {
	c.within("in", d.In, 1, maxHidden)
	c.within("out", d.Out, 1, maxHidden)
}

// Pool makes one row of the tokens of each utterance, by the maximum of each
// channel.
type Pool struct{ Width int64 }

// Kind implements Layer.
func (Pool) Kind() string { return "pooling" }

// Params implements Layer.
func (Pool) Params() int64 { return 0 }

// ForwardFLOPs implements Layer.
func (Pool) ForwardFLOPs(Batch) float64 { return 0 }

// SavedBytes implements Layer: which token had the maximum, as 64-bit indices.
func (p Pool) SavedBytes(b Batch) float64 { return 8 * float64(b.Utterances*p.Width) }

func (p Pool) check(c *checker) { c.within("width", p.Width, 1, maxHidden) }

// Add is a residual connection over the rows of an axis, PerTurn rows each.
type Add struct {
	Width, PerTurn int64
	Over           Axis
}

// Kind implements Layer.
func (Add) Kind() string { return "residual" }

// Params implements Layer.
func (Add) Params() int64 { return 0 }

// ForwardFLOPs implements Layer.
func (Add) ForwardFLOPs(Batch) float64 { return 0 }

// SavedBytes implements Layer.
func (Add) SavedBytes(Batch) float64 { return 0 }

func (a Add) check(c *checker) {
	c.within("width", a.Width, 1, maxHidden)
	c.within("rows per turn", a.PerTurn, 1, maxHeads)
}

// Loss is cross entropy over the rows of an axis.
type Loss struct {
	Classes int64
	Over    Axis
}

// Kind implements Layer.
func (Loss) Kind() string { return "loss" }

// Params implements Layer.
func (Loss) Params() int64 { return 0 }

// ForwardFLOPs implements Layer.
func (Loss) ForwardFLOPs(Batch) float64 { return 0 }

// SavedBytes implements Layer: log-probabilities in fp32.
func (l Loss) SavedBytes(b Batch) float64 { return 4 * float64(b.Rows(l.Over)*l.Classes) }

func (l Loss) check(c *checker) { c.within("classes", l.Classes, 2, maxWidth) }
