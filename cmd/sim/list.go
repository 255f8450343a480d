package main

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/calibrate"
	"orrery/models"
	"orrery/scenarios"
	"orrery/schedules/balance"
	"orrery/schedules/pipeline"
	"orrery/sim/hw"
	"orrery/sim/net"
	"orrery/sim/report"
	"orrery/sim/sweep"
)

// listCmd is `sim list`: what is in the catalogues.
type listCmd struct {
	What string `arg:"" enum:"models,gpus,nodes,topologies,schedules,balancers,profiles,scenarios,sweeps" help:"One of models, gpus, nodes, topologies, schedules, balancers, profiles, scenarios, sweeps."`
}

func (c *listCmd) Run(std *streams) error {
	var head table.Row
	var rows []table.Row
	switch c.What {
	case "models":
		head = table.Row{"model", "parameters", "active", "layers", "source"}
		for _, n := range models.Names() {
			m, err := models.Lookup(n)
			if err != nil {
				return err
			}
			rows = append(rows, table.Row{n, billions(m.Params()), billions(m.ActiveParams()), m.Layers, m.Source})
		}
	case "gpus":
		head = table.Row{"gpu", "bf16 TF/s", "memory", "HBM GB/s", "NVLink", "title"}
		for _, n := range hw.GPUNames() {
			g, err := hw.LookupGPU(n)
			if err != nil {
				return err
			}
			rows = append(rows, table.Row{n, fmt.Sprintf("%.0f", g.PeakTFLOPS["bf16"]), g.HBM.String(), g.HBMGBps, g.NVLinkGBps, g.Title})
		}
	case "nodes":
		head = table.Row{"node", "gpu", "GPUs", "NVLink", "NIC GB/s", "title"}
		for _, n := range hw.NodeNames() {
			d, err := hw.LookupNode(n)
			if err != nil {
				return err
			}
			rows = append(rows, table.Row{n, d.GPU, d.GPUsPerNode, d.NVLinkDomain, d.NICGBps, d.Title})
		}
	case "topologies":
		head = table.Row{"topology"}
		for _, n := range net.Topologies() {
			rows = append(rows, table.Row{n})
		}
	case "schedules":
		head = table.Row{"schedule", "what"}
		for _, s := range pipeline.All() {
			rows = append(rows, table.Row{s.Name(), s.Describe()})
		}
	case "balancers":
		head = table.Row{"balancer", "what"}
		for _, b := range balance.All() {
			rows = append(rows, table.Row{b.Name(), b.Describe()})
		}
	case "scenarios":
		head = table.Row{"scenario", "what"}
		for _, n := range scenarios.Names() {
			res, err := scenarios.Load(n, nil)
			if err != nil {
				return err
			}
			rows = append(rows, table.Row{n, res.Scenario.Name})
		}
	case "sweeps":
		head = table.Row{"sweep", "what"}
		for _, n := range scenarios.SweepNames() {
			s, err := sweep.Load(n)
			if err != nil {
				return err
			}
			rows = append(rows, table.Row{n, s.Description})
		}
	case "profiles":
		head = table.Row{"profile", "gpu", "families", "derived from"}
		for _, n := range calibrate.ProfileNames() {
			p, err := calibrate.Profile(n)
			if err != nil {
				return err
			}
			rows = append(rows, table.Row{n, p.GPU, len(p.Families()), p.DerivedFrom})
		}
	}
	return report.Table(std.out, head, rows)
}

func billions(n int64) string { return fmt.Sprintf("%.2f B", float64(n)/1e9) }
