package main

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/models"
	"orrery/sim/report"
)

// showCmd is `sim show model NAME`.
type showCmd struct {
	Model showModelCmd `cmd:"" help:"A model's parameters, FLOPs and activations."`
}

type showModelCmd struct {
	Name string `arg:"" help:"Name in the catalogue (sim list models)."`
	Seq  int64  `default:"4096" help:"Sequence length, in tokens, of the FLOPs."`
	JSON bool   `name:"json" help:"Print one JSON document and nothing else."`
}

// modelFacts is what `sim show model --json` prints.
type modelFacts struct {
	Name          string     `json:"name"`
	Source        string     `json:"source"`
	Parameters    int64      `json:"parameters"`
	Active        int64      `json:"active_parameters"`
	Layers        int64      `json:"layers"`
	Seq           int64      `json:"sequence_length"`
	FLOPsPerToken float64    `json:"flops_per_token"`
	LayerKinds    []kindFact `json:"layer_kinds"`
}

// kindFact describes the layers of one kind.
type kindFact struct {
	Kind       string  `json:"kind"`
	Count      int64   `json:"count"`
	Parameters int64   `json:"parameters_per_layer"`
	Bytes      float64 `json:"activation_bytes_per_token"`
	FullBytes  float64 `json:"activation_bytes_per_token_full_recompute"`
}

func (c *showModelCmd) Run(std *streams) error {
	m, err := models.Lookup(c.Name)
	if err != nil {
		return badInput(err)
	}
	if c.Seq < 1 {
		return badInput(fmt.Errorf("--seq is %d, must be at least 1", c.Seq))
	}
	f := modelFacts{Name: m.Name, Source: m.Source, Parameters: m.Params(), Active: m.ActiveParams(), Layers: m.Layers, Seq: c.Seq,
		FLOPsPerToken: m.StepFLOPs(c.Seq, 1, m.Vocab).Total() / float64(c.Seq)}
	for i := range m.Layers {
		kind := "dense"
		if m.IsMoE(i) {
			kind = "moe"
		}
		if w := m.Window(i); w > 0 {
			kind += fmt.Sprintf(", window %d", w)
		}
		f.LayerKinds = addKind(f.LayerKinds, kind, m, i)
	}
	if c.JSON {
		return writeJSON(std.out, f)
	}
	rows := []table.Row{
		{"parameters", fmt.Sprintf("%d", f.Parameters), billions(f.Parameters)},
		{"active parameters", fmt.Sprintf("%d", f.Active), billions(f.Active)},
		{"FLOPs per token", fmt.Sprintf("%.4g", f.FLOPsPerToken), fmt.Sprintf("forward and backward, sequence of %d, Megatron's count", c.Seq)},
	}
	if err := report.Table(std.out, table.Row{m.Title, "", ""}, rows); err != nil {
		return err
	}
	rows = rows[:0]
	for _, k := range f.LayerKinds {
		rows = append(rows, table.Row{k.Kind, k.Count, billions(k.Parameters), fmt.Sprintf("%.0f B", k.Bytes), fmt.Sprintf("%.0f B", k.FullBytes)})
	}
	if err := report.Table(std.out, table.Row{"layers", "count", "parameters each", "activations/token", "with full recompute"}, rows); err != nil {
		return err
	}
	return report.Para(std.out, "source: "+m.Source)
}

// addKind counts layer i under its kind.
func addKind(kinds []kindFact, kind string, m *models.Model, i int64) []kindFact {
	for j := range kinds {
		if kinds[j].Kind == kind {
			kinds[j].Count++
			return kinds
		}
	}
	k := kindFact{Kind: kind, Count: 1, Parameters: m.LayerParams(i).Total(), FullBytes: m.FullRecomputeBytes()}
	for _, a := range m.Activations(i) {
		k.Bytes += a.BytesPerToken
	}
	return append(kinds, k)
}
