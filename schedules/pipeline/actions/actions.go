// Package actions lowers the orders of package pipeline to programs that say
// every transfer, gathering and reduction, by the passes that PyTorch has for it
// (torch/distributed/pipelining/schedules.py). Each pass is a pure function of
// device rows in the grammar of [pipeline.ParseOrder]; what comes out is what
// PyTorch's runtime loads as "compute_comms".
//
// Slices, which PyTorch has not, go through all passes like microbatches of
// their own. A stage is on one device, as in PyTorch: [Place] finds it.
package actions

import (
	"fmt"
	"slices"

	"orrery/schedules/pipeline"
)

// Place is the device of every stage, 0 to the highest: the row that has its
// passes. A stage without passes or on two rows, as in bidirectional schedules,
// is an error.
func Place(rows [][]pipeline.Cell) ([]int, error) {
	stages := 0
	for _, row := range rows {
		for _, cell := range row {
			for _, a := range cell {
				stages = max(stages, int(a.Stage)+1)
			}
		}
	}
	var device []int
	for d, row := range rows {
		for _, cell := range row {
			for _, a := range cell {
				if !computes(a.Op) {
					continue
				}
				if device == nil {
					if n := count(rows); stages > n { // before a number of the text sizes a table
						return nil, fmt.Errorf("%d passes, which cannot be on all of the stages 0 to %d", n, stages-1)
					}
					device = slices.Repeat([]int{-1}, stages)
				}
				switch on := &device[a.Stage]; {
				case *on < 0:
					*on = d
				case *on != d:
					return nil, fmt.Errorf("stage %d is on device %d and on device %d: PyTorch's passes place a stage once", a.Stage, *on, d)
				}
			}
		}
	}
	if missing := slices.Index(device, -1); missing >= 0 {
		return nil, fmt.Errorf("stage %d of 0 to %d has no passes", missing, stages-1)
	}
	return device, nil
}

// Compute is what is left of rows without communication, reduction and idle
// cells: the order that they were lowered from.
func Compute(rows [][]pipeline.Cell) [][]pipeline.Cell {
	out := make([][]pipeline.Cell, len(rows))
	for d, row := range rows {
		out[d] = make([]pipeline.Cell, 0, len(row))
		for _, cell := range row {
			if len(cell) > 0 && computes(cell[0].Op) {
				out[d] = append(out[d], cell)
			}
		}
	}
	return out
}

// count is the number of passes.
func count(rows [][]pipeline.Cell) int {
	n := 0
	for _, row := range rows {
		for _, cell := range row {
			for _, a := range cell {
				if computes(a.Op) {
					n++
				}
			}
		}
	}
	return n
}

// computes reports whether an op is a pass.
func computes(op pipeline.Op) bool {
	switch op {
	case pipeline.OpF, pipeline.OpB, pipeline.OpI, pipeline.OpW:
		return true
	}
	return false
}

// passesGradient reports whether the stage before gets its gradient from op.
func passesGradient(op pipeline.Op) bool { return op == pipeline.OpB || op == pipeline.OpI }

// with is the action of another op and stage on the same microbatch and slice.
func with(a pipeline.Action, op pipeline.Op, stage int32) pipeline.Action {
	a.Op, a.Stage = op, stage
	return a
}

// sources is the actions of which one, done on the same device, brings a pass
// what it needs from another stage; none where it needs nothing. The receive is
// the first.
func sources(a pipeline.Action, stages int) []pipeline.Action {
	switch {
	case a.Op == pipeline.OpF && a.Stage > 0:
		return []pipeline.Action{with(a, pipeline.OpRecvF, a.Stage), with(a, pipeline.OpF, a.Stage-1)}
	case passesGradient(a.Op) && int(a.Stage) < stages-1:
		return []pipeline.Action{with(a, pipeline.OpRecvB, a.Stage), with(a, pipeline.OpI, a.Stage+1), with(a, pipeline.OpB, a.Stage+1)}
	}
	return nil
}

// target is the stage that a pass's output, or what a send has, goes to; false
// where it goes nowhere.
func target(a pipeline.Action, stages int) (int32, bool) {
	switch a.Op {
	case pipeline.OpF, pipeline.OpSendF:
		return a.Stage + 1, int(a.Stage) < stages-1
	case pipeline.OpB, pipeline.OpI, pipeline.OpSendB:
		return a.Stage - 1, a.Stage > 0
	}
	return 0, false
}

// origin is the send that a receive waits for; false where a has no sender.
func origin(a pipeline.Action, stages int) (pipeline.Action, bool) {
	switch {
	case a.Op == pipeline.OpRecvF && a.Stage > 0:
		return with(a, pipeline.OpSendF, a.Stage-1), true
	case a.Op == pipeline.OpRecvB && int(a.Stage) < stages-1:
		return with(a, pipeline.OpSendB, a.Stage+1), true
	}
	return a, false
}

// set is the actions that a device has done.
type set map[pipeline.Action]bool

func (s set) any(of []pipeline.Action) bool {
	return slices.ContainsFunc(of, func(a pipeline.Action) bool { return s[a] })
}
