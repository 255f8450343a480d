package models

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// params of the layers of a catalogue's model that keep says yes to.
func paramsOf(t *testing.T, name string, keep func(Layer) bool) int64 {
	n := int64(0)
	for _, l := range lookup(t, name).Net {
		if keep(l) {
			n += l.Params()
		}
	}
	return n
}

func isHead(l Layer) bool {
	switch l.(type) {
	case Dense, Pool, Loss:
		return true
	}
	return false
}

// The encoders have the parameters of the published checkpoints: XLM-R's count
// the pooler of its pre-training (h x h + h), mT5's two stacks and the untied
// output layer. A decoder layer has a second attention with its norm.
func TestPublishedEncoders(t *testing.T) {
	for _, c := range []struct {
		name         string
		hidden, want int64 // Hugging Face, XLMRobertaModel of xlm-roberta-base and -large
	}{{"xlm-r-base-slu", 768, 278_043_648}, {"xlm-r-large-slu", 1024, 559_890_432}} {
		body := paramsOf(t, c.name, func(l Layer) bool { return !isHead(l) })
		require.Equal(t, c.want, body+c.hidden*c.hidden+c.hidden, c.name)
	}
	for _, c := range []struct {
		name                string
		hidden, inner, want int64 // Hugging Face, MT5ForConditionalGeneration of google/mt5-small, -base, -large
		layers              int64
	}{
		{"mt5-small-slu", 512, 384, 300_176_768, 8},
		{"mt5-base-slu", 768, 768, 582_401_280, 12},
		{"mt5-large-slu", 1024, 1024, 1_229_581_312, 24},
	} {
		embedding := paramsOf(t, c.name, func(l Layer) bool { _, is := l.(Embedding); return is })
		stack := paramsOf(t, c.name, func(l Layer) bool { return !isHead(l) }) - embedding
		cross := c.layers * (4*c.hidden*c.inner + c.hidden)
		require.Equal(t, c.want, 2*embedding+2*stack+cross, c.name)
	}
}

// Layers have the parameters of PyTorch's modules.
func TestTorchModules(t *testing.T) {
	lstm := func(in, hidden, directions int64) int64 { // nn.LSTM: weight_ih, weight_hh, bias_ih, bias_hh
		return directions * (4*hidden*in + 4*hidden*hidden + 4*hidden + 4*hidden)
	}
	linear := func(in, out int64) int64 { return in*out + out }
	gat := linear(256, 256) + linear(512, 1)
	out := linear(2048, 256) + linear(512, 1)
	want := 20_000*128 + lstm(128, 128, 2) + 8*gat + out + // encode.py
		2*lstm(256, 128, 2) + gat + 8*gat + out + // relation.py with three layers
		linear(256, 256) + lstm(256, 256, 1) + linear(256, 7) + linear(256, 4) // decode.py
	require.Equal(t, want, lookup(t, "co-gat-dailydialog").Params())
}

// Only graph layers grow with the square of a dialogue's length, and only
// attention with that of an utterance's: what doubling leaves above twice is in them.
func TestQuadraticParts(t *testing.T) {
	names := []string{"co-gat-dailydialog", "co-gat-mastodon", "xlm-r-base-slu", "mt5-base-slu"}
	rapid.Check(t, func(rt *rapid.T) {
		m := lookup(t, rapid.SampledFrom(names).Draw(rt, "model"))
		d, n, l := rapid.Int64Range(1, 64).Draw(rt, "dialogues"), rapid.Int64Range(1, 64).Draw(rt, "turns"), rapid.Int64Range(1, 128).Draw(rt, "length")
		for _, layer := range m.Net {
			once := layer.ForwardFLOPs(Rectangle(d, n, l))
			long := layer.ForwardFLOPs(Rectangle(d, 2*n, l)) - 2*once
			if g, graph := layer.(Graph); graph {
				pairs := g.PerTurn * g.PerTurn * d * n * n
				require.InEpsilon(rt, 2*float64(2*3*g.Heads*g.Out*pairs), long, 1e-12)
			} else {
				require.Zero(rt, long, layer.Kind())
			}
			wordy := layer.ForwardFLOPs(Rectangle(d, n, 2*l)) - 2*once
			switch layer := layer.(type) {
			case Encoder:
				require.InEpsilon(rt, 2*float64(2*2*layer.Heads*layer.HeadDim*d*n*l*l), wordy, 1e-12)
			case Dense:
				require.Equal(rt, layer.Over == Tokens, wordy == 0, layer.Kind()) // rows of utterances do not grow
			}
			require.GreaterOrEqual(rt, layer.SavedBytes(Rectangle(d, 2*n, l)), layer.SavedBytes(Rectangle(d, n, l)))
		}
	})
}

func TestValidateNet(t *testing.T) {
	m := lookup(t, "co-gat")
	m.Net[1] = LSTM{In: 0, Hidden: 1}
	require.ErrorContains(t, m.Validate(), "layer 1, lstm: in is 0, want 1 to")
	m = lookup(t, "co-gat")
	m.Hidden = 256
	require.ErrorContains(t, m.Validate(), "has no sizes of a transformer beside them")
	m = lookup(t, "xlm-r-base-slu")
	m.Layers++
	require.ErrorContains(t, m.Validate(), "layers is 21, and 20 are listed")
	m = lookup(t, "xlm-r-base-slu")
	m.Net[2] = Encoder{Hidden: 768, FFN: 3072, Heads: 12, HeadDim: 64, Norm: "batch"}
	require.ErrorContains(t, m.Validate(), `norm is "batch"`)
	require.NotContains(t, Transformers(), "xlm-r-base-slu")
	require.Contains(t, Transformers(), "llama3-8b")
}
