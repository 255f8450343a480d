package plan

import (
	"orrery/models"
	"orrery/schedules/pipeline"
)

// LayerParams is the number of parameters of a layer on one rank, before
// sharding over data-parallel ranks: dense parts cut over TP (norms, router and
// MLA's down-projections are replicated), experts cut over EP and ETP.
func (p *Plan) LayerParams(layer int64) (dense, expert int64) {
	if p.Model.Net != nil {
		return p.layerParams(layer)
	}
	l := &p.sizes[p.alike(layer)]
	return l.dense, l.expert
}

// layerSizes are the sizes that all layers of a kind share.
type layerSizes struct {
	dense, expert   int64   // parameters of one rank
	kept, recompute float64 // bytes a token that are kept for the backward pass, without and with recomputation
}

// sizeLayers fills in the sizes of dense layers and of mixtures of experts.
func (p *Plan) sizeLayers() {
	if p.Model.Net != nil {
		return
	}
	done := [2]bool{}
	for i := range p.Model.Layers {
		at := p.alike(i)
		if done[at] {
			continue
		}
		done[at] = true
		l := &p.sizes[at]
		l.dense, l.expert = p.layerParams(i)
		l.kept, l.recompute = p.keptBytes(i, false), p.keptBytes(i, true)
	}
}

func (p *Plan) layerParams(layer int64) (dense, expert int64) {
	par, l := p.Scenario.Parallel, p.Model.LayerParams(layer)
	attn := l.Attn / par.TP
	if a := p.Model.Attn; a.MLA() {
		down := p.Model.Hidden * (a.QLoRA + a.KVLoRA + a.Rope)
		attn = (l.Attn-down)/par.TP + down
	}
	dense = attn + l.Norms + l.Router + (l.MLP+l.Shared)/par.TP + l.Whole
	return dense, l.Experts / (par.EP * par.ETP)
}

// EmbeddingParams is the embedding's share of one rank of the first stage.
func (p *Plan) EmbeddingParams() int64 {
	return p.Vocab*p.Model.Hidden/p.Scenario.Parallel.TP + p.Model.Positions*p.Model.Hidden
}

// HeadParams is the output layer's share of one rank of the last stage, with
// the final norm and MTP modules. Tied weights are held by both ends of a
// pipeline, and once without one.
func (p *Plan) HeadParams() int64 {
	n := p.Model.FinalNormParams()
	if !p.Model.Tied || p.Scenario.Parallel.PP > 1 {
		n += p.Vocab * p.Model.Hidden / p.Scenario.Parallel.TP
	}
	for range p.Model.MTP {
		dense, _ := p.LayerParams(p.Model.Layers - 1)
		n += dense + 2*p.Model.Hidden*p.Model.Hidden + 3*p.Model.Hidden
	}
	return n
}

// HeadExpertParams are the experts of MTP modules on the last stage.
func (p *Plan) HeadExpertParams() int64 {
	_, expert := p.LayerParams(p.Model.Layers - 1)
	return expert * p.Model.MTP
}

// VocabParallel reports whether every pipeline rank holds a share of the
// embedding and the output layer.
func (p *Plan) VocabParallel() bool { return p.Scenario.Schedule.VocabParallel }

// VocabPasses reports whether those shares have passes of their own in the order
// (vocabulary-parallel 1F1B), in which case the final norm stays on the last stage.
func (p *Plan) VocabPasses() bool {
	_, own := p.Schedule.(pipeline.Vocabulary1F1B)
	return own
}

// StageHeadParams is what the last stage holds of the head: all, or with
// vocabulary parallelism what is not cut.
func (p *Plan) StageHeadParams() int64 {
	switch {
	case p.VocabPasses():
		return p.Model.FinalNormParams()
	case p.VocabParallel():
		return 0
	}
	return p.HeadParams()
}

// VocabShareParams is that share, with the final norm on every rank where it is
// cut into passes of stages; zero without vocabulary parallelism. Tied weights are
// one matrix.
func (p *Plan) VocabShareParams() int64 {
	if !p.VocabParallel() {
		return 0
	}
	n := p.EmbeddingParams()
	if !p.Model.Tied {
		n += p.Vocab * p.Model.Hidden / p.Scenario.Parallel.TP
	}
	n /= p.Scenario.Parallel.PP
	if !p.VocabPasses() {
		n += p.Model.FinalNormParams()
	}
	return n
}

// OptimizerElements is the number of parameters that one rank updates.
func (p *Plan) OptimizerElements(dense, expert int64) int64 {
	if p.Scenario.Parallel.ZeRO == 0 {
		return dense + expert
	}
	return dense/p.Groups.Shard.Ranks + expert/max(p.Groups.ExpertShard.Ranks, 1)
}

// adapterParams counts the LoRA parameters of each pipeline rank.
func (p *Plan) adapterParams() error {
	tr := p.Scenario.Training
	p.adapters = make([]int64, p.Scenario.Parallel.PP)
	if tr.Finetune != "lora" {
		return nil
	}
	l := models.LoRA{Rank: tr.LoRARank, MLP: tr.LoRATargets == "all"}
	for rank, held := range p.Held {
		for _, s := range held {
			st := p.Stages[s]
			for i := range st.Layers {
				n, err := p.Model.AdapterParams(st.First+i, l)
				if err != nil {
					return err
				}
				p.adapters[rank] += n / p.Scenario.Parallel.TP
			}
		}
	}
	return nil
}

// AdapterParams is the number of LoRA parameters of a pipeline rank.
func (p *Plan) AdapterParams(rank int) int64 { return p.adapters[rank] }

// RankParams are the parameters of all chunks of a pipeline rank.
func (p *Plan) RankParams(rank int) (dense, expert int64) {
	for _, s := range p.Held[rank] {
		st := p.Stages[s]
		for i := range st.Layers {
			d, e := p.LayerParams(st.First + i)
			dense, expert = dense+d, expert+e
		}
		if st.Embedding && !p.VocabParallel() {
			dense += p.EmbeddingParams()
		}
		if st.Head {
			dense += p.StageHeadParams()
			expert += p.HeadExpertParams()
		}
	}
	return dense + p.VocabShareParams(), expert
}
