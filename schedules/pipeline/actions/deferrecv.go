package actions

import (
	"fmt"
	"slices"

	"orrery/schedules/pipeline"
)

// DeferRecv moves each receive to right before the pass that needs it, so that a
// device does not wait for what it needs later (PyTorch's _defer_recv_ops). To
// keep two devices from both sending first, the one with the lower number posts
// all receives from the other that are still due before it sends to it. Where
// devices hold more than one stage, receives from a device can come in another
// order than its sends, which needs a communicator for each edge between stages:
// [InOrder] says so. rows are [SendRecv]'s, device is the device of each stage.
func DeferRecv(rows [][]pipeline.Cell, device []int) ([][]pipeline.Cell, error) {
	if err := checkStages(rows, device); err != nil {
		return nil, err
	}
	out := make([][]pipeline.Cell, len(rows))
	for d, row := range filled(rows) {
		var due []pipeline.Action
		post := func(which func(pipeline.Action) bool) {
			rest := due[:0]
			for _, recv := range due {
				if which(recv) {
					out[d] = append(out[d], pipeline.Cell{recv})
				} else {
					rest = append(rest, recv)
				}
			}
			due = rest
		}
		for _, cell := range row {
			if _, received := origin(cell[0], len(device)); received {
				due = append(due, cell[0])
				continue
			}
			for _, a := range cell {
				if to, ok := target(a, len(device)); ok && !computes(a.Op) && d < device[to] {
					post(func(recv pipeline.Action) bool {
						from, _ := origin(recv, len(device))
						return device[from.Stage] == device[to]
					})
				}
				from := sources(a, len(device))
				post(func(recv pipeline.Action) bool { return slices.Contains(from, recv) })
			}
			out[d] = append(out[d], cell)
		}
		if len(due) > 0 {
			return nil, fmt.Errorf("no pass of device %d behind %v needs what it receives", d, due[0])
		}
	}
	return out, nil
}
