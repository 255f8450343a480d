package plan

import "orrery/schedules/pipeline"

// TowerStageParams are the parameters of one of a tower's stages on one rank, before
// they are sharded, and those of them that are trained.
func (p *Plan) TowerStageParams(stage int) (all, trained int64) {
	st := p.Stages[stage]
	t := p.towers[st.Module]
	cut, whole := t.Model.LayerParams()
	outer, connector := t.Model.EndParams(p.Model.Hidden)
	all = st.TowerLayers * (cut/t.TP + whole)
	switch {
	case !st.Outer:
	case t.Module == pipeline.Generator && st.TowerLayers < t.Model.Body.Layers:
		all += outer / 2 // of two ends
	default:
		all += outer
	}
	if st.Connector {
		all += connector
	}
	switch t.Trained {
	case "all":
		trained = all
	case "connector":
		if st.Connector {
			trained = connector
		}
	}
	return all, trained
}

// towerStatic adds a rank's share of towers to its ledger. Sharded parameters are
// the master weights themselves, with two layers gathered at a time, as in FSDP.
func (p *Plan) towerStatic(rank int, l *Ledger) {
	fw := p.Scenario.Framework
	moments := 2.0
	if p.Scenario.Training.Optimizer == "sgd" {
		moments = 1
	}
	for _, s := range p.Held[rank] {
		t := p.towers[p.Stages[s].Module]
		if t == nil {
			continue
		}
		a, tr := p.TowerStageParams(s)
		all, trained, shard := float64(a), float64(tr), float64(t.Shard.Ranks)
		state := moments * fw.MomentDType.Bytes()
		if p.Scenario.Training.Optimizer == "none" {
			state = 0
		}
		switch t.ZeRO {
		case 3:
			cut, whole := t.Model.LayerParams()
			layer := float64(cut/t.TP + whole)
			master := 2.0 // of frozen parameters there is only the working copy
			if t.Trained == "all" {
				master = fw.MainParamDType.Bytes()
				l.Gathered += layer * fw.GradDType.Bytes()
			}
			l.Weights += all / shard * master
			l.Gradients += trained / shard * fw.MainParamDType.Bytes()
			l.Optimizer += trained / shard * state
			l.Gathered += 2 * layer * 2
			continue
		case 1:
			l.Optimizer += trained / shard * (fw.MainParamDType.Bytes() + state)
		default:
			l.Optimizer += trained * (fw.MainParamDType.Bytes() + state)
		}
		l.Weights += 2 * all
		l.Gradients += trained * fw.GradDType.Bytes()
	}
}

// TowerActivationBytes is what a pass of a tower's stage keeps from forward to
// backward: all that its layers do, their inputs where they are recomputed, what the
// gradient of the input needs where a generator is frozen, nothing of a frozen encoder.
func (p *Plan) TowerActivationBytes(stage int, load Load) float64 {
	st := p.Stages[stage]
	t := p.towers[st.Module]
	h := float64(t.Model.Body.Hidden)
	tokens := float64(load.Tokens)
	if t.Model.Streams > 1 {
		tokens += float64(load.Beside)
	}
	sum := 0.0
	if through := t.Trained == "all" || t.Module == pipeline.Generator; through {
		per := 2 * h
		if !t.Recompute {
			per = p.towerLayerBytes(t)
		}
		sum += float64(st.TowerLayers) * tokens * per
	}
	if st.Connector && t.Module == pipeline.Encoder && t.Trained != "none" { // its input, and what stands between its two layers before and after the activation
		sum += tokens * (2*h + 4*float64(t.Model.Connector))
	}
	return sum
}

// towerLayerBytes is what one layer keeps for a token on this rank.
func (p *Plan) towerLayerBytes(t *Tower) float64 {
	sum := 0.0
	for _, a := range t.Model.Body.Activations(0) {
		if t.Trained != "all" && a.LinearInput { // only gradients of weights need it
			continue
		}
		sum += a.PerRank(t.TP, t.TP, p.Scenario.Parallel.SP && t.TP > 1)
	}
	return sum
}

// TowerWorkspaceBytes is what a backward pass of a stage has beside what is kept: a
// layer that runs forward again, else the gradients of a layer's widest tensors.
func (p *Plan) TowerWorkspaceBytes(stage int, load Load) float64 {
	t := p.towers[p.Stages[stage].Module]
	tokens := float64(load.Tokens)
	if t.Model.Streams > 1 {
		tokens += float64(load.Beside)
	}
	body := t.Model.Body
	wide := float64(body.FFN)
	if body.Gated {
		wide *= 2
	}
	out := 2 * tokens * (wide/float64(t.TP) + 2*float64(body.Hidden))
	if t.Recompute {
		out += tokens * p.towerLayerBytes(t)
	}
	return out
}
