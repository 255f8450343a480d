package models

// LSTM is a long short-term memory along an axis, in one direction or both, as
// PyTorch and cuDNN have it: two biases a gate, dropout before it.
type LSTM struct {
	In, Hidden    int64 // Hidden is of one direction
	Bidirectional bool
	Over          Axis
}

// Directions is 1 or 2.
func (l LSTM) Directions() int64 {
	if l.Bidirectional {
		return 2
	}
	return 1
}

// Kind implements Layer.
func (LSTM) Kind() string { return "lstm" }

// Params implements Layer: four gates of input and recurrent weights.
func (l LSTM) Params() int64 { return l.Directions() * 4 * (l.Hidden*(l.In+l.Hidden) + 2*l.Hidden) }

// ForwardFLOPs implements Layer.
func (l LSTM) ForwardFLOPs(b Batch) float64 {
	return 2 * float64(l.Directions()*b.Rows(l.Over)*4*l.Hidden*(l.In+l.Hidden))
}

// SavedBytes implements Layer: the input with dropout's mask, and of each
// direction the four gates, the cell and the output.
func (l LSTM) SavedBytes(b Batch) float64 {
	return float64(b.Rows(l.Over) * (3*l.In + l.Directions()*2*6*l.Hidden))
}

func (l LSTM) check(c *checker) {
	c.within("in", l.In, 1, maxHidden)
	c.within("hidden", l.Hidden, 1, maxHidden)
}

// Graph is a graph attention layer (arXiv:1710.10903, section 2.1) over the
// utterances of a dialogue, fully connected: every node scores every node of its
// dialogue, so that its cost grows with the square of the dialogue's length. The
// outputs of Heads heads are concatenated.
type Graph struct {
	In, Out int64 // of one head
	Heads   int64
	PerTurn int64 // nodes of an utterance: 1, or one for each of several tasks
}

// Nodes and Pairs count what the layer computes.
func (g Graph) Nodes(b Batch) int64 { return g.PerTurn * b.Utterances }

// Pairs is the number of edges, of one head.
func (g Graph) Pairs(b Batch) int64 { return g.PerTurn * g.PerTurn * b.TurnPairs }

// Kind implements Layer.
func (Graph) Kind() string { return "graph attention" }

// Params implements Layer: a linear layer and a scoring vector over two nodes'
// features for each head, both with bias.
func (g Graph) Params() int64 { return g.Heads * (g.In*g.Out + g.Out + 2*g.Out + 1) }

// ForwardFLOPs implements Layer: the features, the scores of pairs of features,
// and the sums of features weighted by them.
func (g Graph) ForwardFLOPs(b Batch) float64 {
	return 2 * float64(g.Heads) * (float64(g.Nodes(b)*g.In*g.Out) + float64(g.Pairs(b))*float64(2*g.Out+g.Out))
}

// SavedBytes implements Layer: the input with dropout's mask and, of each head,
// features, output, the pairs' concatenated features and what softmax keeps.
func (g Graph) SavedBytes(b Batch) float64 {
	return 3*float64(g.Nodes(b)*g.In) + float64(g.Heads)*(4*float64(g.Nodes(b)*g.Out)+float64(g.Pairs(b))*float64(4*g.Out+7))
}

func (g Graph) check(c *checker) {
	c.within("in", g.In, 1, maxHidden)
	c.within("out", g.Out, 1, maxHidden)
	c.within("heads", g.Heads, 1, maxHeads)
	c.within("nodes per turn", g.PerTurn, 1, maxHeads)
}
