package main

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/calibrate"
	"orrery/sim/cost"
	"orrery/sim/report"
)

// priceCmd is `sim price`: one kernel, its price and the roofline beside it.
type priceCmd struct {
	Kernel  string   `arg:"" help:"One of gemm, grouped_gemm, attention, moe, memory, all_reduce, all_gather, reduce_scatter, all_to_all, p2p, ep_dispatch, ep_combine."`
	Sizes   []string `arg:"" optional:"" name:"key=value" help:"Sizes of the kernel, e.g. m=8192 n=8192 k=8192 dtype=bf16; a wrong key lists them all."`
	Profile string   `default:"h100" help:"Profile that prices the kernel: a GPU, or a profile file (*.json)."`
	JSON    bool     `name:"json" help:"Print one JSON document and nothing else."`
}

// priceReport is what `sim price --json` prints.
type priceReport struct {
	Kernel     string      `json:"kernel"`
	Profile    string      `json:"profile"`
	Micros     float64     `json:"time_us"`
	RelErr     float64     `json:"rel_err_90"` // half width of the 90 % interval
	Low        float64     `json:"low_us"`
	High       float64     `json:"high_us"`
	Source     cost.Source `json:"source"`
	Note       string      `json:"note,omitempty"`
	TFLOPS     float64     `json:"tflops,omitempty"`
	GBps       float64     `json:"gbps"` // of the least bytes that the kernel moves
	RooflineUS float64     `json:"roofline_us,omitempty"`
	OfRoofline float64     `json:"share_of_roofline,omitempty"`
}

func (c *priceCmd) Run(std *streams) error {
	k, err := calibrate.ParseKernel(c.Kernel, c.Sizes)
	if err != nil {
		return badInput(err)
	}
	p, err := calibrate.Profile(c.Profile)
	if err != nil {
		return badInput(err)
	}
	e, err := p.Price(k)
	if err != nil {
		return badInput(err)
	}
	us := e.Time.Micros()
	r := priceReport{Kernel: k.String(), Profile: p.Name, Micros: us, RelErr: e.RelErr, Low: us * max(0, 1-e.RelErr), High: us * (1 + e.RelErr),
		Source: e.Source, Note: e.Note}
	if us > 0 {
		r.TFLOPS, r.GBps = k.FLOPs()/us/1e6, k.HBMBytes()/us/1e3
		if roof, err := cost.RooflineOf(k, p.Hardware()); err == nil { // no peak for the format: no roofline to show
			r.RooflineUS = roof.Time.Micros()
			r.OfRoofline = r.RooflineUS / us
		}
	}
	if c.JSON {
		return writeJSON(std.out, r)
	}
	return r.print(std)
}

func (r *priceReport) print(std *streams) error {
	rows := []table.Row{
		{"price", fmt.Sprintf("%.4g us", r.Micros)},
		{"90 % interval", fmt.Sprintf("%.4g to %.4g us (± %.0f %%)", r.Low, r.High, 100*r.RelErr)},
		{"source", r.Source},
	}
	if r.TFLOPS > 0 {
		rows = append(rows, table.Row{"rate", fmt.Sprintf("%.4g TFLOP/s", r.TFLOPS)})
	}
	if r.GBps > 0 {
		rows = append(rows, table.Row{"traffic", fmt.Sprintf("%.4g GB/s", r.GBps)})
	}
	if r.RooflineUS > 0 {
		rows = append(rows, table.Row{"roofline", fmt.Sprintf("%.4g us; the price is %.0f %% of its speed", r.RooflineUS, 100*r.OfRoofline)})
	}
	if _, err := fmt.Fprintf(std.out, "%s on %s\n", r.Kernel, r.Profile); err != nil {
		return err
	}
	if err := report.Table(std.out, table.Row{"", ""}, rows); err != nil {
		return err
	}
	if r.Note != "" {
		if _, err := fmt.Fprintln(std.out, strings.ToUpper(r.Note[:1])+r.Note[1:]+"."); err != nil {
			return err
		}
	}
	return nil
}
