package actions

import (
	"slices"

	"orrery/schedules/pipeline"
)

// maxActive is the number of stages whose parameters PyTorch keeps gathered.
const maxActive = 3

// UnshardReshard gathers the parameters of the next three stages that a device
// will run before each pass and drops the others, for FSDP (PyTorch's
// _add_unshard_reshard); all are dropped at the end. Stages are dropped in
// ascending order, where PyTorch goes through a set. Idle cells are dropped.
func UnshardReshard(row []pipeline.Cell) []pipeline.Cell {
	var out []pipeline.Cell
	whole := func(op pipeline.Op, stage int32) {
		out = append(out, pipeline.Cell{{Op: op, Stage: stage, Microbatch: pipeline.Absent, Slice: pipeline.Absent}})
	}
	var active []int32 // ascending
	for i, cell := range row {
		if len(cell) == 0 {
			continue
		}
		next := nextStages(row[i:], maxActive)
		kept := active[:0]
		for _, stage := range active {
			if slices.Contains(next, stage) {
				kept = append(kept, stage)
			} else {
				whole(pipeline.OpReshard, stage)
			}
		}
		active = kept
		for _, stage := range next {
			if at, there := slices.BinarySearch(active, stage); !there {
				whole(pipeline.OpUnshard, stage)
				active = slices.Insert(active, at, stage)
			}
		}
		out = append(out, cell)
	}
	for _, stage := range active {
		whole(pipeline.OpReshard, stage)
	}
	return out
}

// nextStages is the first n stages that a row runs, each once.
func nextStages(row []pipeline.Cell, n int) []int32 {
	var next []int32
	for _, cell := range row {
		for _, a := range cell {
			if !slices.Contains(next, a.Stage) {
				next = append(next, a.Stage)
			}
			if len(next) == n {
				return next
			}
		}
	}
	return next
}

// ReduceGrad reduces a stage's gradients right after its last weight gradient,
// which is its backwards-th B or W: one a microbatch, or one a slice of each
// (PyTorch's _add_reduce_grad). Idle cells are dropped.
func ReduceGrad(row []pipeline.Cell, backwards int) []pipeline.Cell {
	done := map[int32]int{}
	var out []pipeline.Cell
	for _, cell := range row {
		if len(cell) == 0 {
			continue
		}
		out = append(out, cell)
		for _, a := range cell {
			if a.Op != pipeline.OpB && a.Op != pipeline.OpW {
				continue
			}
			if done[a.Stage]++; done[a.Stage] == backwards {
				out = append(out, pipeline.Cell{{Op: pipeline.OpReduceGrad, Stage: a.Stage, Microbatch: pipeline.Absent, Slice: pipeline.Absent}})
			}
		}
	}
	return out
}
