package report

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"orrery/sim"
)

// experts prints what uneven loads of experts cost, and balancers side by side.
func (p *printer) experts(r *sim.Result) {
	x := r.Experts
	if x == nil {
		return
	}
	row := func(k, v string) table.Row { return table.Row{k, v} }
	rows := []table.Row{
		row("imbalance", fmt.Sprintf("%.2f before, %.3f after; %.3f over the bound", x.ImbalanceBefore, x.ImbalanceAfter, x.OverBound)),
		row("speed", fmt.Sprintf("%.1f %% of an ideal router's", 100*x.FractionOfIdeal)),
		row("exchange", fmt.Sprintf("%s a step exposed, %.1f %% leaves its rank", seconds(x.ExchangeExposedS), 100*x.RemoteFraction)),
		row("balancing", fmt.Sprintf("planning %s, weights %s a step exposed", seconds(x.PlanningS), seconds(x.WeightsExposedS))),
		row("replicas", fmt.Sprintf("%.1f a layer, %.3g GiB moved a step, slots %.2f GiB", x.Replicas, x.MovedGiB, x.ReplicaMemoryGiB)),
		row("largest load", fmt.Sprintf("%.2f x even: layer %d, microbatch %d, group %d, rank %d", x.Worst.OverMean, x.Worst.Layer, x.Worst.Microbatch, x.Worst.Group, x.Worst.Rank)),
		row("activations", fmt.Sprintf("%.2f of an ideal router's at the peak", x.ActivationOverIdeal)),
	}
	if x.DroppedFraction+x.PaddedFraction > 0 {
		rows = append(rows, row("capacity", fmt.Sprintf("%.1f %% of pairs dropped, %.1f %% padding", 100*x.DroppedFraction, 100*x.PaddedFraction)))
	}
	p.table(nil, table.Row{"experts under " + clip(x.Balancer, 50), ""}, rows)
	if len(x.Compared) == 0 {
		return
	}
	rows = nil
	for _, c := range balancers(r) {
		rows = append(rows, balancerRow(&c))
	}
	cols := []table.ColumnConfig{{Number: 1, WidthMax: 18}}
	for n := 2; n <= 7; n++ {
		cols = append(cols, table.ColumnConfig{Number: n, Align: text.AlignRight})
	}
	p.table(cols, table.Row{"on the same loads", "max/mean", "over", "step", "of ideal", "a layer", "memory"}, rows)
	p.para("over: largest load over its certified bound; a layer: planning and sending weights, forward; memory: GiB of the fullest rank, ! where it does not fit.")
	p.printf("\n")
}

// balancers are the scenario's own and those beside it; none where loads are even.
func balancers(r *sim.Result) []sim.ComparedBalancer {
	x := r.Experts
	if x == nil {
		return nil
	}
	own := sim.ComparedBalancer{StepTimeS: r.StepTimeS, ModelTFLOPSPerGPU: r.ModelTFLOPSPerGPU, PeakMemoryGiB: r.PeakMemoryGiB, Fits: r.Fits, Experts: *x}
	return append([]sim.ComparedBalancer{own}, x.Compared...)
}

func balancerRow(c *sim.ComparedBalancer) table.Row {
	name, _, _ := strings.Cut(c.Balancer, ":")
	memory := fmt.Sprintf("%.1f", c.PeakMemoryGiB)
	if !c.Fits {
		memory += " !"
	}
	return table.Row{name, fmt.Sprintf("%.3f", c.ImbalanceAfter), fmt.Sprintf("%.3f", c.OverBound), seconds(c.StepTimeS), fmt.Sprintf("%.1f %%", 100*c.FractionOfIdeal), seconds(c.BalancingSPerLayer), memory}
}
