package actions

import (
	"fmt"

	"orrery/schedules/pipeline"
)

// SendRecv puts a send behind every pass whose output goes to another device and
// its receive at once at the end of that device's program so far: sends and
// receives of two devices come in the same order, at the price of receives
// posted early (PyTorch's _add_send_recv). Devices go in turn, a cell a round; an
// idle cell passes its round and is dropped. device is the device of each stage.
// Where passes wait for each other's output no program exists: the error names
// the circle.
func SendRecv(rows [][]pipeline.Cell, device []int) ([][]pipeline.Cell, error) {
	if err := checkStages(rows, device); err != nil {
		return nil, err
	}
	out, done := make([][]pipeline.Cell, len(rows)), make([]set, len(rows))
	for d := range rows {
		done[d] = set{}
	}
	emit := func(d int, cell pipeline.Cell) {
		out[d] = append(out[d], cell)
		for _, a := range cell {
			done[d][a] = true
		}
	}
	at := make([]int, len(rows))
	for progress := true; progress; {
		progress = false
		for d, row := range rows { // one cell a device and round: the rounds are part of the result
			if at[d] == len(row) || !ready(row[at[d]], done[d], len(device)) {
				continue
			}
			cell := row[at[d]]
			if len(cell) > 0 {
				emit(d, cell)
			}
			for _, a := range cell {
				to, ok := target(a, len(device))
				if !ok || !computes(a.Op) || device[to] == d {
					continue
				}
				send, recv := pipeline.OpSendF, pipeline.OpRecvF
				if a.Op != pipeline.OpF {
					send, recv = pipeline.OpSendB, pipeline.OpRecvB
				}
				emit(d, pipeline.Cell{with(a, send, a.Stage)})
				emit(device[to], pipeline.Cell{with(a, recv, to)})
			}
			at[d]++
			progress = true
		}
	}
	for d, row := range rows {
		if at[d] < len(row) {
			s := stuck{rows: rows, at: at, device: device, done: done}
			return nil, s.circle(d, s.producer)
		}
	}
	return out, nil
}

// InOrder returns what is wrong with the transfers of a program, or nil: the two
// devices of a pair must have them in the same order in each direction, since
// transfers of one communicator have no tags.
func InOrder(rows [][]pipeline.Cell, device []int) error {
	if err := checkStages(rows, device); err != nil {
		return err
	}
	p := len(rows)
	sent, received := make([][]pipeline.Action, p*p), make([][]pipeline.Action, p*p) // by sender*p + receiver
	for d, row := range filled(rows) {
		for _, cell := range row {
			a := cell[0]
			if send, ok := origin(a, len(device)); ok {
				received[device[send.Stage]*p+d] = append(received[device[send.Stage]*p+d], send)
			} else if to, ok := target(a, len(device)); ok && !computes(a.Op) {
				sent[d*p+device[to]] = append(sent[d*p+device[to]], a)
			}
		}
	}
	for pair := range sent {
		from, to := pair/p, pair%p
		s, r := sent[pair], received[pair]
		for i := range min(len(s), len(r)) {
			if s[i] != r[i] {
				return fmt.Errorf("transfer %d from device %d to device %d is %v for the sender, but the receiver expects %v", i, from, to, s[i], r[i])
			}
		}
		if len(s) != len(r) {
			return fmt.Errorf("device %d sends %d times to device %d, which receives %d times", from, len(s), to, len(r))
		}
	}
	return nil
}

// ready reports whether the inputs of all passes of a cell are on their device.
func ready(cell pipeline.Cell, done set, stages int) bool {
	for _, a := range cell {
		if from := sources(a, stages); len(from) > 0 && !done.any(from) {
			return false
		}
	}
	return true
}

// checkStages refuses actions on stages without a device.
func checkStages(rows [][]pipeline.Cell, device []int) error {
	for stage, d := range device {
		if d < 0 || d >= len(rows) {
			return fmt.Errorf("stage %d is on device %d, but there are %d devices", stage, d, len(rows))
		}
	}
	for d, row := range rows {
		for _, cell := range row {
			for _, a := range cell {
				if a.Stage < 0 || int(a.Stage) >= len(device) {
					return fmt.Errorf("%v on device %d: there are %d stages", a, d, len(device))
				}
				if device[a.Stage] != d {
					return fmt.Errorf("%v on device %d: the stage is on device %d", a, d, device[a.Stage])
				}
			}
		}
	}
	return nil
}

// filled is rows without idle cells.
func filled(rows [][]pipeline.Cell) [][]pipeline.Cell {
	out := make([][]pipeline.Cell, len(rows))
	for d, row := range rows {
		out[d] = make([]pipeline.Cell, 0, len(row))
		for _, cell := range row {
			if len(cell) > 0 {
				out[d] = append(out[d], cell)
			}
		}
	}
	return out
}
