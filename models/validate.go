package models

import (
	"errors"
	"fmt"
)

// Bounds that keep every count within 64 bits, far above any model.
const (
	maxLayers = 10_000
	maxWidth  = 1 << 24 // vocabulary, MLP width, positions
	maxHidden = 1 << 20
	maxHeads  = 1 << 16
	maxParams = 1e16
)

// Validate reports what is wrong with a model, all at once; each error names
// the field.
func (m *Model) Validate() error {
	if m.Net != nil {
		return m.validateNet()
	}
	var c checker
	c.within("layers", m.Layers, 1, maxLayers)
	c.within("hidden", m.Hidden, 1, maxHidden)
	c.within("ffn", m.FFN, 0, maxWidth)
	c.within("vocab", m.Vocab, 1, maxWidth)
	c.within("positions", m.Positions, 0, maxWidth)
	c.within("mtp", m.MTP, 0, maxLayers)
	if m.Norm != "rms" && m.Norm != "layer" {
		c.fail("norm is %q, want rms or layer", m.Norm)
	}
	if m.PlainNorm && m.Norm != "layer" {
		c.fail("a norm without bias is a layer norm, not %q", m.Norm)
	}
	m.Attn.check(&c)
	if m.Attn.MLA() && (m.Bias || m.QKVBias || m.QKNorm) {
		c.fail("biases and QK norms are not modelled in multi-head latent attention")
	}
	if m.MoE != nil {
		m.MoE.check(&c, m.Layers)
	}
	if len(c.errs) == 0 && m.FFN == 0 && m.MoELayers() < m.Layers {
		c.fail("ffn is 0 but %d layers are dense", m.Layers-m.MoELayers())
	}
	if len(c.errs) == 0 && m.paramsBound() > maxParams {
		c.fail("more than %g parameters", float64(maxParams))
	}
	return c.join(m.Name)
}

func (a Attention) check(c *checker) {
	c.within("heads", a.Heads, 1, maxHeads)
	c.within("kv_lora", a.KVLoRA, 0, maxHidden)
	c.within("window", a.Window, 0, 1<<40)
	c.within("window_every", a.WindowEvery, 0, maxLayers)
	c.within("global_every", a.GlobalEvery, 0, maxLayers)
	if a.WindowEvery > 1 && a.GlobalEvery > 0 {
		c.fail("window_every and global_every are two ways to say which layers are windowed; give one")
	}
	if a.MLA() {
		// Written where a model has them, and not used.
		c.within("kv_heads", a.KVHeads, 0, maxHeads)
		c.within("head_dim", a.HeadDim, 0, maxHeads)
		c.within("q_lora", a.QLoRA, 0, maxHidden)
		c.within("nope", a.Nope, 0, maxHeads)
		c.within("rope", a.Rope, 0, maxHeads)
		c.within("v_dim", a.VDim, 1, maxHeads)
		if a.Nope+a.Rope < 1 {
			c.fail("nope + rope, the width of an MLA head, is 0")
		}
		if a.Sinks {
			c.fail("attention sinks are not modelled in multi-head latent attention")
		}
		return
	}
	c.within("kv_heads", a.KVHeads, 1, maxHeads)
	c.within("head_dim", a.HeadDim, 1, maxHeads)
	if a.KVHeads > 0 && a.Heads%a.KVHeads != 0 {
		c.fail("heads (%d) is not a multiple of kv_heads (%d)", a.Heads, a.KVHeads)
	}
	if a.QLoRA != 0 || a.Nope != 0 || a.Rope != 0 || a.VDim != 0 {
		c.fail("q_lora, nope, rope and v_dim belong to multi-head latent attention, which kv_lora > 0 turns on")
	}
}

func (e MoE) check(c *checker, layers int64) {
	c.within("experts", e.Experts, 1, maxHeads)
	c.within("top_k", e.TopK, 1, maxHeads)
	c.within("moe_ffn", e.FFN, 1, maxWidth)
	c.within("shared_ffn", e.SharedFFN, 0, maxWidth)
	c.within("first_dense", e.FirstDense, 0, maxLayers)
	c.within("moe_every", e.Every, 0, maxLayers)
	c.within("latent", e.Latent, 0, maxHidden)
	if e.TopK > e.Experts {
		c.fail("top_k (%d) is more than experts (%d)", e.TopK, e.Experts)
	}
	if e.FirstDense > layers {
		c.fail("first_dense (%d) is more than layers (%d)", e.FirstDense, layers)
	}
}

// paramsBound is at least the number of parameters, in floating point, where
// nothing overflows.
func (m *Model) paramsBound() float64 {
	a, h := m.Attn, float64(m.Hidden)
	heads := float64(a.Heads) * float64(a.HeadDim+a.Nope+a.Rope+a.VDim+2)
	attn := 4*(h+1)*(heads+1) + float64(a.QLoRA+a.KVLoRA+a.Rope+1)*(h+2*heads+2)
	ffn := float64(m.FFN)
	if e := m.MoE; e != nil {
		ffn += float64(e.Experts)*float64(e.FFN+2) + float64(e.SharedFFN+e.Latent)
	}
	width := h
	if m.MoE != nil {
		width = max(h, float64(m.MoE.Latent))
	}
	layer := attn + 4*(width+2)*(ffn+1) + 8*h
	return float64(m.Layers+m.MTP+1)*layer + float64(m.MTP)*(2*h*h+6*h) + h*float64(2*m.Vocab+m.Positions+2)
}

type checker struct{ errs []error }

// join is all that was found, nil if nothing.
func (c *checker) join(model string) error {
	if err := errors.Join(c.errs...); err != nil {
		return fmt.Errorf("model %q: %w", model, err)
	}
	return nil
}

func (c *checker) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *checker) within(field string, v, lo, hi int64) {
	if v < lo || v > hi {
		c.fail("%s is %d, want %d to %d", field, v, lo, hi)
	}
}
