package models

import (
	"fmt"
	"slices"
)

// Layer is one layer of a model that is a list of layers (Model.Net) and not a
// decoder-only transformer: an embedding, an encoder layer, a recurrent or graph
// layer, a pooling, a linear layer, a loss. Layers are comparable values, and
// equal ones have equal cost; a kind of layer says what it is made of, and the
// lowering which kernels run it.
type Layer interface {
	Kind() string  // "encoder", as reports and errors name it
	Params() int64 // trained parameters
	// ForwardFLOPs of the linear layers and products of one forward pass, a
	// multiply-add as two; norms, activations and softmax do not count.
	ForwardFLOPs(Batch) float64
	// SavedBytes is what the layer keeps of one forward pass for its backward
	// pass, in bytes, with 16-bit activations.
	SavedBytes(Batch) float64
	check(*checker)
}

// Batch is the shape of one forward pass of a Net, padding included: utterances
// of tokens, in dialogues of utterances.
type Batch struct {
	Dialogues, Utterances, Tokens int64 // rows
	Length                        int64 // tokens of the longest utterance
	Turns                         int64 // utterances of the longest dialogue
	// Pairs are what attention computes: the sums of the squares of the
	// utterances' tokens and of the dialogues' utterances.
	TokenPairs, TurnPairs int64
}

// Rectangle is a batch of equally long dialogues of equally long utterances.
func Rectangle(dialogues, turns, length int64) Batch {
	u := dialogues * turns
	return Batch{Dialogues: dialogues, Utterances: u, Tokens: u * length, Length: length, Turns: turns,
		TokenPairs: u * length * length, TurnPairs: dialogues * turns * turns}
}

// Axis is the sequence that a layer runs over or has a row for each entry of.
type Axis uint8

// The axes.
const (
	Tokens Axis = iota // of utterances
	Turns              // utterances of dialogues
)

// Rows is how many rows there are along an axis.
func (b Batch) Rows(a Axis) int64 {
	if a == Turns {
		return b.Utterances
	}
	return b.Tokens
}

// Sequences is how many sequences an axis has, and the length of the longest.
func (b Batch) Sequences(a Axis) (n, longest int64) {
	if a == Turns {
		return b.Dialogues, b.Turns
	}
	return b.Utterances, b.Length
}

// NetFLOPs is forward and backward of one pass: backward is twice forward.
func (m *Model) NetFLOPs(b Batch) float64 {
	sum := 0.0
	for _, l := range m.Net {
		sum += 3 * l.ForwardFLOPs(b)
	}
	return sum
}

// LongestUtterance is how many tokens the learned positions of a Net allow; 0 is
// no limit.
func (m *Model) LongestUtterance() int64 {
	for _, l := range m.Net {
		if e, ok := l.(Embedding); ok {
			return e.Positions - e.Unused
		}
	}
	return 0
}

// Losses are the loss layers of a Net.
func (m *Model) Losses() []Loss {
	var out []Loss
	for _, l := range m.Net {
		if loss, ok := l.(Loss); ok {
			out = append(out, loss)
		}
	}
	return out
}

// network makes a model of a list of layers.
func network(name, title, source string, layers ...Layer) Model {
	return Model{Name: name, Title: title, Source: source, Layers: int64(len(layers)), Net: layers}
}

func (m *Model) validateNet() error {
	var c checker
	if m.Layers != int64(len(m.Net)) {
		c.fail("layers is %d, and %d are listed", m.Layers, len(m.Net))
	}
	if rest := (Model{Name: m.Name, Title: m.Title, Source: m.Source, Layers: m.Layers}); !rest.sameSizes(m) {
		c.fail("a model that lists its layers has no sizes of a transformer beside them")
	}
	for i, l := range m.Net {
		n := len(c.errs)
		l.check(&c)
		for j := n; j < len(c.errs); j++ {
			c.errs[j] = fmt.Errorf("layer %d, %s: %w", i, l.Kind(), c.errs[j])
		}
	}
	return c.join(m.Name)
}

// sameSizes compares the fields of a transformer.
func (m *Model) sameSizes(n *Model) bool {
	return m.Hidden == n.Hidden && m.FFN == n.FFN && m.Vocab == n.Vocab && m.Attn == n.Attn && (m.MoE == nil) == (n.MoE == nil) &&
		m.Gated == n.Gated && m.Norm == n.Norm && m.PlainNorm == n.PlainNorm && m.Bias == n.Bias && m.QKVBias == n.QKVBias &&
		m.QKNorm == n.QKNorm && m.Tied == n.Tied && m.Positions == n.Positions && m.MTP == n.MTP
}

// Transformers lists the models of the catalogue that are decoder-only
// transformers, in alphabetical order.
func Transformers() []string {
	return slices.DeleteFunc(Names(), func(n string) bool { return catalogue[n].Net != nil })
}

// repeat is n times the same layer.
func repeat(n int, l Layer) []Layer {
	return slices.Repeat([]Layer{l}, n)
}
