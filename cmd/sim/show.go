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
	count := "Megatron's count"
	if m.Net != nil {
		f.FLOPsPerToken = m.NetFLOPs(models.Rectangle(1, 1, c.Seq)) / float64(c.Seq)
		count = "an utterance on its own"
	}
	for i := range m.Layers {
		kind := "dense"
		if m.IsMoE(i) {
			kind = "moe"
		}
		if w := m.Window(i); w > 0 {
			kind += fmt.Sprintf(", window %d", w)
		}
		if m.Net != nil {
			kind = m.Net[i].Kind()
		}
		f.LayerKinds = addKind(f.LayerKinds, kind, m, i, c.Seq)
	}
	if c.JSON {
		return writeJSON(std.out, f)
	}
	rows := []table.Row{
		{"parameters", fmt.Sprintf("%d", f.Parameters), billions(f.Parameters)},
		{"active parameters", fmt.Sprintf("%d", f.Active), billions(f.Active)},
		{"FLOPs per token", fmt.Sprintf("%.4g", f.FLOPsPerToken), fmt.Sprintf("forward and backward, sequence of %d, %s", c.Seq, count)},
	}
	if err := report.Table(std.out, table.Row{m.Title, "", ""}, rows); err != nil {
		return err
	}
	rows = rows[:0]
	for _, k := range f.LayerKinds {
		row := table.Row{k.Kind, k.Count, billions(k.Parameters), fmt.Sprintf("%.0f B", k.Bytes)}
		if m.Net == nil { // recomputation is not modelled there
			row = append(row, fmt.Sprintf("%.0f B", k.FullBytes))
		}
		rows = append(rows, row)
	}
	head := table.Row{"layers", "count", "parameters each", "activations/token", "with full recompute"}
	if m.Net != nil {
		head = head[:4]
	}
	if err := report.Table(std.out, head, rows); err != nil {
		return err
	}
	return report.Para(std.out, "source: "+m.Source)
}

// addKind counts layer i under its kind; layers of one kind may differ in size
// where a model lists its layers.
func addKind(kinds []kindFact, kind string, m *models.Model, i, seq int64) []kindFact {
	params := m.LayerParams(i).Total()
	for j := range kinds {
		if kinds[j].Kind == kind && kinds[j].Parameters == params {
			kinds[j].Count++
			return kinds
		}
	}
	k := kindFact{Kind: kind, Count: 1, Parameters: params, FullBytes: m.FullRecomputeBytes()}
	if m.Net != nil {
		k.Bytes = m.Net[i].SavedBytes(models.Rectangle(1, 1, seq)) / float64(seq)
	}
	for _, a := range m.Activations(i) {
		k.Bytes += a.BytesPerToken
	}
	return append(kinds, k)
}
