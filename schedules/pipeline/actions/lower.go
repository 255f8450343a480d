package actions

import (
	"fmt"
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// passes is the passes of [Lower] in the order in which PyTorch applies them.
var passes = []string{"merge_bw", "unshard_reshard", "reduce_grad", "send_recv", "defer_recv"}

// Passes is the names of the passes that [Lower] knows, in the order in which it
// applies them: PyTorch's.
func Passes() []string { return slices.Clone(passes) }

// Lower applies the named passes, in the order of [Passes] whatever theirs, to
// an order of passes.
func Lower(rows [][]pipeline.Cell, names []string) ([][]pipeline.Cell, error) {
	for _, name := range names {
		if slices.Contains(passes, name) {
			continue
		}
		return nil, unit.UnknownName("pass", name, passes)
	}
	if slices.Contains(names, "defer_recv") && !slices.Contains(names, "send_recv") {
		return nil, fmt.Errorf("defer_recv moves the receives that send_recv puts in: name both")
	}
	device, err := Place(rows)
	if err != nil {
		return nil, err
	}
	backwards := 0 // of a stage: as many as forwards
	for _, row := range rows {
		for _, cell := range row {
			for _, a := range cell {
				if a.Op == pipeline.OpF && a.Stage == 0 {
					backwards++
				}
			}
		}
	}
	each := func(pass func([]pipeline.Cell) []pipeline.Cell) {
		out := make([][]pipeline.Cell, len(rows))
		for d, row := range rows {
			out[d] = pass(row)
		}
		rows = out
	}
	for _, name := range passes {
		if !slices.Contains(names, name) {
			continue
		}
		switch name {
		case "merge_bw":
			each(MergeBackward)
		case "unshard_reshard":
			each(UnshardReshard)
		case "reduce_grad":
			each(func(row []pipeline.Cell) []pipeline.Cell { return ReduceGrad(row, backwards) })
		case "send_recv":
			rows, err = SendRecv(rows, device)
		case "defer_recv":
			rows, err = DeferRecv(rows, device)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return rows, nil
}
