package main

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/calibrate"
	"orrery/models"
	"orrery/scenarios"
	"orrery/schedules/balance"
	"orrery/schedules/packing"
	"orrery/sim/hw"
	"orrery/sim/net"
	"orrery/sim/report"
	"orrery/sim/sweep"
)

// listCmd is `sim list`: what is in the catalogues.
type listCmd struct {
	What string `arg:"" enum:"models,encoders,generators,gpus,nodes,topologies,schedules,packers,distributions,balancers,profiles,scenarios,plans,sweeps" help:"One of models, encoders, generators, gpus, nodes, topologies, schedules, packers, distributions, balancers, profiles, scenarios, plans, sweeps."`
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
	case "encoders", "generators":
		head = table.Row{strings.TrimSuffix(c.What, "s"), "parameters", "layers", "hidden", "source"}
		for _, n := range models.TowerNames(c.What == "generators") {
			t, err := models.LookupTower(n)
			if err != nil {
				return err
			}
			_, connector := t.EndParams(0)
			rows = append(rows, table.Row{n, billions(t.Params(0) - connector), t.Body.Layers, t.Body.Hidden, t.Source})
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
		for _, s := range scenarios.Schedules() {
			rows = append(rows, table.Row{s.Name(), s.Describe()})
		}
	case "balancers":
		head = table.Row{"balancer", "what"}
		for _, b := range balance.All() {
			rows = append(rows, table.Row{b.Name(), b.Describe()})
		}
	case "packers":
		head = table.Row{"packer", "what"}
		for _, p := range packing.All() {
			rows = append(rows, table.Row{p.Name(), p.Describe()})
		}
	case "distributions":
		head = table.Row{"distribution", "", "what"}
		for _, d := range packing.Distributions() {
			rows = append(rows, table.Row{d.Name, d.Kind, d.Describe})
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
	case "plans":
		head = table.Row{"capacity plan", "what"}
		for _, n := range scenarios.CapacityNames() {
			plan, err := scenarios.LoadCapacity(n)
			if err != nil {
				return err
			}
			rows = append(rows, table.Row{n, plan.Name})
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

// billions is a number of parameters, of small ones in millions.
func billions(n int64) string {
	if n < 1e8 {
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f B", float64(n)/1e9)
}
