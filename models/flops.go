package models

import "fmt"

// FLOPs of forward and backward passes of a step, by what computes them. A
// multiply-add is two.
type FLOPs struct {
	Linear float64 // linear layers of all layers and MTP modules
	Core   float64 // QK^T and PV
	Logits float64 // output layer, once more for each MTP module
}

// Total is the sum of the parts.
func (f FLOPs) Total() float64 { return f.Linear + f.Core + f.Logits }

// StepFLOPs counts a batch of equally long sequences as Megatron-LM does
// (training.py, num_floating_point_operations): backward is twice forward, the
// causal half of core attention counts, sliding windows do not shorten it;
// router, norms, softmax, embedding and recomputation do not count. MFU figures
// and TFLOP/s of Megatron, NeMo and Megatron-Bridge divide this number.
func (m *Model) StepFLOPs(seq, batch, paddedVocab int64) FLOPs {
	s, b := float64(seq), float64(batch)
	return m.count(b*s, paddedVocab, func(int64) float64 { return b * s * s / 2 })
}

// PackedFLOPs is StepFLOPs of sequences of the given lengths that do not see
// each other.
func (m *Model) PackedFLOPs(lengths []int64, paddedVocab int64) FLOPs {
	return m.count(total(lengths), paddedVocab, func(int64) float64 { return causalPairs(lengths, 0) })
}

// HardwareFLOPs is PackedFLOPs with what sliding windows leave out left out:
// what attention kernels that skip masked blocks compute.
func (m *Model) HardwareFLOPs(lengths []int64, paddedVocab int64) FLOPs {
	return m.count(total(lengths), paddedVocab, func(window int64) float64 { return causalPairs(lengths, window) })
}

// count sums up a step of so many tokens; pairs is the number of query-key
// pairs of a layer with the given window.
func (m *Model) count(tokens float64, paddedVocab int64, pairs func(window int64) float64) FLOPs {
	const passes, fma = 3, 2
	h := float64(m.Hidden)
	var linear, core float64
	for i := range m.Layers {
		linear += m.linearMACs(i)
		core += m.coreMACs() * pairs(m.Window(i))
	}
	mtp := float64(m.MTP)
	linear += mtp * (m.linearMACs(m.Layers-1) + 2*h*h + 3*h) // Megatron counts the module's norms
	core += mtp * m.coreMACs() * pairs(m.Window(m.Layers-1))
	return FLOPs{
		Linear: passes * fma * tokens * linear,
		Core:   passes * fma * core,
		Logits: passes * fma * tokens * h * float64(paddedVocab) * (1 + mtp),
	}
}

// linearMACs is the number of multiply-adds of layer i's linear layers for one
// token, as Megatron counts them: MLA's latent norms do, the router does not.
func (m *Model) linearMACs(i int64) float64 {
	a, h := m.Attn, float64(m.Hidden)
	n := float64(a.Heads)
	var macs float64
	if a.MLA() {
		qk, q, kv := n*float64(a.Nope+a.Rope), float64(a.QLoRA), float64(a.KVLoRA)
		if a.QLoRA > 0 {
			macs = q * (h + qk + 1)
		} else {
			macs = h * qk
		}
		macs += kv*(h+n*float64(a.Nope+a.VDim)+1) + h*float64(a.Rope) + n*float64(a.VDim)*h
	} else {
		q, kv := n*float64(a.HeadDim), float64(a.KVHeads*a.HeadDim)
		macs = h*(q+2*kv) + q*h
	}
	g := float64(m.Matrices())
	if !m.IsMoE(i) {
		return macs + g*h*float64(m.FFN)
	}
	e := m.MoE
	routed := float64(e.TopK) * float64(e.FFN)
	if e.Latent > 0 {
		macs += g*routed*float64(e.Latent) + 2*h*float64(e.Latent)
	} else {
		macs += g * routed * h
	}
	return macs + g*h*float64(e.SharedFFN)
}

// coreMACs is the number of multiply-adds of core attention for one pair of a
// query and a key.
func (m *Model) coreMACs() float64 {
	a := m.Attn
	if a.MLA() {
		return float64(a.Heads * (a.Nope + a.Rope + a.VDim))
	}
	return float64(2 * a.Heads * a.HeadDim)
}

func total(lengths []int64) float64 {
	t := 0.0
	for _, n := range lengths {
		t += float64(n)
	}
	return t
}

// causalPairs is the number of query-key pairs under a causal mask, in the
// continuous limit s*s/2 that Megatron uses; window 0 is none.
func causalPairs(lengths []int64, window int64) float64 {
	p, w := 0.0, float64(window)
	for _, n := range lengths {
		s := float64(n)
		if window > 0 && n > window {
			p += w*s - w*w/2
		} else {
			p += s * s / 2
		}
	}
	return p
}

// LoRA is a finetune that trains adapters beside frozen linear layers
// (arXiv:2106.09685).
type LoRA struct {
	Rank int64
	MLP  bool // adapters on the dense MLP too, not on attention alone
}

// AdapterParams is the number of parameters of layer i's adapters, one pair of
// matrices beside each fused linear layer as Megatron and NeMo fuse them (QKV,
// output projection; gate and up, down). MLA's and experts' adapters are not
// modelled.
func (m *Model) AdapterParams(i int64, l LoRA) (int64, error) {
	switch {
	case l.Rank < 1:
		return 0, fmt.Errorf("models: LoRA rank %d, want at least 1", l.Rank)
	case m.Attn.MLA():
		return 0, fmt.Errorf("models: %s: LoRA on MLA is not modelled", m.Name)
	case l.MLP && m.IsMoE(i):
		return 0, fmt.Errorf("models: %s: LoRA on experts (layer %d) is not modelled", m.Name, i)
	}
	a, h := m.Attn, m.Hidden
	q, kv := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	width := (h + q + 2*kv) + (q + h)
	if l.MLP {
		width += (h + (m.Matrices()-1)*m.FFN) + (m.FFN + h)
	}
	return l.Rank * width, nil
}

// LoRAFLOPs is PackedFLOPs of a finetune with adapters: frozen linear layers
// and the output layer compute forward and the gradient of their input but none
// of their weight, core attention and adapters all three. That the first
// layer's input needs no gradient is not deducted.
func (m *Model) LoRAFLOPs(lengths []int64, paddedVocab int64, l LoRA) (FLOPs, error) {
	f := m.PackedFLOPs(lengths, paddedVocab)
	f.Linear *= 2.0 / 3
	f.Logits *= 2.0 / 3
	for i := range m.Layers {
		n, err := m.AdapterParams(i, l)
		if err != nil {
			return FLOPs{}, err
		}
		f.Linear += 6 * total(lengths) * float64(n)
	}
	return f, nil
}
