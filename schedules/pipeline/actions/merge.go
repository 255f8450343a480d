package actions

import "orrery/schedules/pipeline"

// MergeBackward makes one fused backward B of each I that is followed, but for
// idle cells, by its own W (PyTorch's _merge_bw). Idle cells are dropped.
func MergeBackward(row []pipeline.Cell) []pipeline.Cell {
	var out []pipeline.Cell
	for _, cell := range row {
		if len(cell) == 0 {
			continue
		}
		if last := len(out) - 1; last >= 0 && len(out[last]) == 1 && len(cell) == 1 &&
			out[last][0].Op == pipeline.OpI && cell[0] == with(out[last][0], pipeline.OpW, out[last][0].Stage) {
			out[last] = pipeline.Cell{with(cell[0], pipeline.OpB, cell[0].Stage)}
			continue
		}
		out = append(out, cell)
	}
	return out
}
