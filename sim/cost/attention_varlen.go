package cost

import (
	"fmt"
	"math"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// Document is equal samples, or pieces of samples, in a kernel of variable lengths:
// N times Q queries that attend to KV keys, causally from their end, or with Full to
// all of them.
type Document struct {
	Q, KV, N int64
	Full     bool
}

// VarlenAttention is core attention over documents that do not see each other, in
// one launch (flash_attn_varlen_func; cuDNN with ragged offsets).
type VarlenAttention struct {
	// One has heads, dims, formats and direction; Batch, SeqQ, SeqKV and Causal are
	// those of the documents.
	One Attention
	// Docs are compared by address: a unit's passes and layers share one list.
	Docs *[]Document
	// Parts is into how many launches of equal work it is cut, of which this is one; 0
	// counts as 1. A ring over context-parallel ranks attends to keys as they arrive.
	Parts int64
}

// Family implements Kernel.
func (v VarlenAttention) Family() Family {
	one := v.One
	one.Causal = true
	return one.Family()
}

// of is the kernel of a document alone.
func (v VarlenAttention) of(d Document) Attention {
	a := v.One
	a.Batch, a.SeqQ, a.SeqKV, a.Causal = 1, d.Q, d.KV, !d.Full
	if a.Window >= d.KV {
		a.Window = 0
	}
	return a
}

// sum adds up what documents have, of one part.
func (v VarlenAttention) sum(what func(Attention) float64) float64 {
	total := 0.0
	for _, d := range *v.Docs {
		total += float64(d.N) * what(v.of(d))
	}
	return total / float64(max(v.Parts, 1))
}

// FLOPs implements Kernel.
func (v VarlenAttention) FLOPs() float64 { return v.sum(Attention.FLOPs) }

// HBMBytes implements Kernel.
func (v VarlenAttention) HBMBytes() float64 { return v.sum(Attention.HBMBytes) }

func (v VarlenAttention) String() string {
	docs, tokens, longest := int64(0), int64(0), Document{}
	for _, d := range *v.Docs {
		docs, tokens = docs+d.N, tokens+d.N*d.Q
		if d.Q*d.KV > longest.Q*longest.KV {
			longest = d
		}
	}
	return fmt.Sprintf("variable lengths, %d documents of %d queries, the longest %s", docs, tokens, v.of(longest))
}

func (v VarlenAttention) valid() error {
	if v.Docs == nil || len(*v.Docs) == 0 {
		return fmt.Errorf("attention of variable lengths: no document")
	}
	for _, d := range *v.Docs {
		if d.N < 1 {
			return fmt.Errorf("attention of variable lengths: %d documents of %d queries", d.N, d.Q)
		}
		if err := v.of(d).valid(); err != nil {
			return err
		}
	}
	return nil
}

// varlenWaves is how many waves of blocks fill the GPU where a document's share of a
// kernel is taken from a batch of its like: the launch is a small part of it then.
const varlenWaves = 32

// varlen prices a kernel of variable lengths from those of equal lengths. The blocks
// of all documents fill the SMs together, so a document takes its share of a batch of
// its like that fills the GPU, launch aside; the kernel takes one launch, and no less
// than its longest document alone.
func (p *Profile) varlen(v VarlenAttention) (Estimate, error) {
	one := v
	one.One.CuDNN = false // slower by the time of the whole kernel
	launch, err := p.Price(one.of(Document{Q: keyBlock, KV: keyBlock}))
	if err != nil {
		return Estimate{}, err
	}
	var us, longest, relErr, most float64
	est := Estimate{Source: Derived, Note: "variable lengths: a share of a batch of equal ones for each document"}
	for _, d := range *v.Docs {
		a := one.of(d)
		copies := varlenCopies(a, p.hw)
		a.Batch = copies
		e, err := p.Price(a)
		if err != nil {
			return Estimate{}, err
		}
		share := float64(d.N) * max(e.Time.Micros()-launch.Time.Micros(), 0) / float64(copies)
		us += share
		relErr += share * e.RelErr
		if share > most {
			most = share
			if e.Source == Roofline {
				est.Source = Roofline
			}
			est.Note = "variable lengths: a share of a batch of equal ones for each document; " + e.Note
		}
		if copies > 1 && d.Q > 8*keyBlock { // short ones are never alone
			alone, err := p.Price(one.of(d))
			if err != nil {
				return Estimate{}, err
			}
			longest = max(longest, alone.Time.Micros()-launch.Time.Micros())
		}
	}
	if us > 0 {
		relErr /= us
	}
	us = max(us, longest) / float64(max(v.Parts, 1))
	var rules ruleBook
	if v.One.CuDNN {
		us *= v.One.variant(us+launch.Time.Micros(), p.hw, &rules)
	}
	est.Time = unit.Micros(launch.Time.Micros() + us)
	est.RelErr = math.Hypot(math.Hypot(relErr, rules.relErr), launch.RelErr*launch.Time.Micros()/est.Time.Micros())
	return est, nil
}

// varlenCopies is how many of a document fill the GPU with varlenWaves of blocks.
func varlenCopies(a Attention, g *hw.GPU) int64 {
	blocks := float64(a.Heads) * math.Ceil(float64(a.SeqQ)/keyBlock)
	return max(int64(math.Ceil(varlenWaves*float64(g.SMs)/blocks)), 1)
}
