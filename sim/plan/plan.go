// Package plan decides who holds what: the rank grid, the layers of each
// stage, the groups of each collective, and the order of passes. It knows
// sizes, not times.
package plan

import (
	"fmt"
	"slices"

	"orrery/models"
	"orrery/scenarios"
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
)

// Plan is a scenario laid out on ranks. Symmetric ranks are folded: one
// pipeline of PP ranks stands for all TP x CP x DP copies.
type Plan struct {
	Scenario *scenarios.Scenario
	Model    *models.Model

	Microbatches int64   // per pipeline and step
	Tokens       int64   // of one pass (a slice of a microbatch) on one CP rank (before TP)
	Stages       []Stage // in pipeline order, PP x VP where each is held once
	Schedule     pipeline.Schedule
	Shape        pipeline.Shape
	Order        [][]pipeline.Slot // per pipeline rank
	Held         [][]int           // stages that a pipeline rank holds, ascending
	Copies       []Copies          // by pipeline rank; nil where every stage is held once

	// Varlen is not nil where samples of unequal length are packed: the orders above
	// are not used then, Tokens is those of the largest unit.
	Varlen *Varlen

	Groups Groups
	Vocab  int64 // padded

	// Routing is what the ranks of each expert-parallel group have to do; nil where
	// all have as much.
	Routing *Routing
	hottest []Hottest  // by pipeline rank; nil without Routing
	expert  [3]float64 // what experts keep for a pass at an even load; with Routing

	kept  [2][]models.ActPart // what a layer keeps for its backward pass: a dense one's, that of a mixture of experts
	sizes [2]layerSizes       // of those layers
	// Batches are the shapes of the passes of each microbatch, one pass or with
	// consistency regularisation two, of a model that lists its layers; nil where
	// sequences are whole.
	Batches                             [][]models.Batch
	stepTokens, ownTokens, paddedTokens int64 // see StepTokens and PaddingShare

	towers   [3]*Tower // by module; nil for the LLM
	adapters []int64   // LoRA parameters by pipeline rank
	shares   map[cost.Group]fabricShare
}

// Stage is one model chunk.
type Stage struct {
	First, Layers int64 // layers First … First+Layers-1
	Embedding     bool
	Head          bool // final norm, output layer, loss and MTP layers

	// Of an encoder or a generator, whose stages have none of the above.
	Module                  pipeline.Module
	TowerFirst, TowerLayers int64
	Outer, Connector        bool // the end that faces the data, and the one that faces the LLM
}

// Groups tells where the ranks of each communicator sit, and the NIC rate of a
// rank where the group leaves its NVLink domain.
type Groups struct {
	TP, CP, EP, ETP cost.Group
	// Shard is the group that ZeRO shards over (DP x CP, or less with hybrid
	// sharding); Replica the group that then reduces across shards.
	Shard, Replica cost.Group
	// ExpertShard are the ranks that hold the same experts.
	ExpertShard cost.Group
	World       cost.Group
	// CrossStage[s] tells whether pipeline rank s -> s+1 leaves the NVLink domain.
	CrossStage []bool
}

// New lays a resolved scenario out.
func New(s *scenarios.Scenario) (*Plan, error) {
	return lay(s, func(p *Plan) (err error) {
		if p.Order, err = p.Schedule.Order(p.Shape); err != nil {
			return err
		}
		for _, order := range p.Order {
			p.Held = append(p.Held, stagesOf(order))
		}
		return nil
	})
}

// Sketch is New without the order of passes: sizes alone, for those who know what
// a schedule's ranks hold. held tells the stages of each rank, ascending.
func Sketch(s *scenarios.Scenario, held func(pipeline.Schedule, pipeline.Shape) ([][]int, error)) (*Plan, error) {
	return lay(s, func(p *Plan) (err error) {
		p.Held, err = held(p.Schedule, p.Shape)
		return err
	})
}

// lay lays a scenario out; order fills in Held and, where it is wanted, Order.
func lay(s *scenarios.Scenario, order func(*Plan) error) (*Plan, error) {
	p := &Plan{Scenario: s, Model: &s.Model}
	for i := range p.Model.Layers {
		if kept := p.keptBy(i); *kept == nil {
			*kept = p.Model.Activations(i)
		}
	}
	par, tr := s.Parallel, s.Training
	p.Microbatches = tr.GlobalBatch / (tr.MicroBatch * par.DP)
	if p.Microbatches*tr.MicroBatch*par.DP != tr.GlobalBatch || p.Microbatches < 1 {
		return nil, fmt.Errorf("global batch %d is not a multiple of micro batch %d x dp %d", tr.GlobalBatch, tr.MicroBatch, par.DP)
	}
	p.Tokens = tr.MicroBatch * p.SliceSeq()
	p.drawBatches()
	pad := max(tr.VocabPad, 1) * par.TP
	p.Vocab = (s.Model.Vocab + pad - 1) / pad * pad
	p.sizeLayers()
	if err := p.layTowers(); err != nil {
		return nil, err
	}
	if err := p.schedule(); err != nil {
		return nil, err
	}
	if err := order(p); err != nil {
		return nil, err
	}
	if err := p.layStages(); err != nil {
		return nil, err
	}
	var placed []placement
	p.Groups, placed = groups(s)
	copies, err := p.layCopies()
	if err != nil {
		return nil, err
	}
	if err := p.fabric(slices.Concat(placed, copies, p.placeTowers())); err != nil {
		return nil, err
	}
	if err := p.drawSamples(); err != nil {
		return nil, err
	}
	return p, p.adapterParams()
}

// keptBy is what the layer keeps; all dense layers are alike, and so are the others.
func (p *Plan) keptBy(layer int64) *[]models.ActPart { return &p.kept[p.alike(layer)] }

// alike is 1 for a mixture of experts, 0 for a dense layer.
func (p *Plan) alike(layer int64) int {
	if p.Model.IsMoE(layer) {
		return 1
	}
	return 0
}

func (p *Plan) layStages() error {
	par := p.Scenario.Parallel
	n := int64(pipeline.Stages(p.Schedule, p.Shape))
	var of [3]int // stages of each module
	if m, ok := p.Schedule.(pipeline.Multimodal); ok {
		of = m.ModuleStages(p.Shape)
		n = int64(of[pipeline.LLM])
	}
	if int64(len(par.LayersPerStage)) != n {
		return fmt.Errorf("layers_per_stage has %d entries, schedule %s of pp %d and vp %d has %d stages", len(par.LayersPerStage), p.Schedule.Name(), par.PP, par.VP, n)
	}
	p.layTowerStages(pipeline.Encoder, of[pipeline.Encoder])
	first := int64(0)
	for i, l := range par.LayersPerStage {
		p.Stages = append(p.Stages, Stage{First: first, Layers: l, Embedding: i == 0 && p.Model.Net == nil, Head: int64(i) == n-1 && p.Model.Net == nil})
		first += l
	}
	if first != p.Model.Layers {
		return fmt.Errorf("layers_per_stage sums to %d layers, the model has %d", first, p.Model.Layers)
	}
	p.layTowerStages(pipeline.Generator, of[pipeline.Generator])
	return nil
}

// layTowerStages cuts a tower evenly; the first stages have what is left over.
func (p *Plan) layTowerStages(m pipeline.Module, stages int) {
	if stages == 0 {
		return
	}
	t := p.towers[m]
	t.Whole = pipeline.WholeOnEvery(p.Schedule)
	layers, n := t.Model.Body.Layers, int64(stages)
	first := int64(0)
	for i := range n {
		l := layers / n
		if i < layers%n {
			l++
		}
		begin, end := i == 0, i == n-1
		st := Stage{Module: m, TowerFirst: first, TowerLayers: l, Outer: begin, Connector: end}
		if m == pipeline.Generator { // which has the LLM before it and the data behind it
			st.Outer, st.Connector = begin || end, begin
		}
		p.Stages = append(p.Stages, st)
		first += l
	}
}

func (p *Plan) schedule() error {
	sc, par := p.Scenario.Schedule, p.Scenario.Parallel
	s, err := sc.Order()
	if err != nil {
		return err
	}
	if m, ok := s.(pipeline.Multimodal); ok {
		s = m.With(p.modules())
	}
	p.Schedule = s
	p.Shape = pipeline.Shape{Devices: int(par.PP), Virtual: int(par.VP), Microbatches: int(p.Microbatches), Slices: int(sc.Slices), Group: int(sc.GroupSize)}
	if err := s.Check(p.Shape); err != nil {
		return fmt.Errorf("schedule %s: %w", sc.Name, err)
	}
	return nil
}

// stagesOf is the stages that have passes in a rank's order, ascending.
func stagesOf(order []pipeline.Slot) []int {
	var out []int
	for _, slot := range order {
		if at, found := slices.BinarySearch(out, int(slot.Stage)); !found {
			out = slices.Insert(out, at, int(slot.Stage))
		}
	}
	return out
}

// SliceSeq is the number of tokens of one slice of one sequence on one CP rank.
func (p *Plan) SliceSeq() int64 {
	return p.Scenario.Training.SequenceLength / p.Scenario.Parallel.CP / p.Slices()
}

// Slices is the number of slices of a sequence, 1 where it is whole.
func (p *Plan) Slices() int64 { return max(p.Scenario.Schedule.Slices, 1) }

// SPTokens is the number of tokens that a TP rank holds between the parallel
// regions: Tokens/TP with sequence parallelism, else Tokens.
func (p *Plan) SPTokens() int64 {
	if p.Scenario.Parallel.SP {
		return p.Tokens / p.Scenario.Parallel.TP
	}
	return p.Tokens
}
