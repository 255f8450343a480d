package actions

import (
	"fmt"
	"slices"
	"strings"

	"orrery/schedules/pipeline"
)

// DryRun runs a program in steps in which every device does its next cell if it
// can, and returns what each did in each step; an empty cell is a step in which
// it waited (PyTorch's _simulate_comms_compute, whose number of steps is
// [Steps]). A pass needs its receive, or the pass of the stage beside it on the
// same device; a send needs its pass and a receive its send. Devices go in turn,
// and one that waited tries again at the end of the step. Pairs of passes, which
// PyTorch's dry run refuses, take one step like one pass; so does what concerns
// parameters, which needs nothing. device is the device of each stage.
//
// A program that does not run to its end is an error with the circle of waits.
func DryRun(rows [][]pipeline.Cell, device []int) ([][]pipeline.Cell, error) {
	if err := checkStages(rows, device); err != nil {
		return nil, err
	}
	s := stuck{rows: filled(rows), at: make([]int, len(rows)), device: device, done: make([]set, len(rows))}
	left := 0
	for d, row := range s.rows {
		s.done[d] = set{}
		left += len(row)
	}
	out := make([][]pipeline.Cell, len(rows))
	for left > 0 {
		before := left
		var waited []int
		for d, row := range s.rows {
			if s.at[d] == len(row) {
				continue
			}
			if s.step(d) {
				left--
				out[d] = append(out[d], row[s.at[d]-1])
			} else {
				out[d] = append(out[d], nil)
				waited = append(waited, d)
			}
		}
		for _, d := range waited {
			if s.step(d) {
				left--
				out[d][len(out[d])-1] = s.rows[d][s.at[d]-1]
			}
		}
		if left == before {
			return nil, s.circle(waited[0], s.blocker)
		}
	}
	return out, nil
}

// Steps is how many steps a dry run took.
func Steps(run [][]pipeline.Cell) int {
	n := 0
	for _, row := range run {
		n = max(n, len(row))
	}
	return n
}

// stuck is the state of programs of which some cells have been done.
type stuck struct {
	rows   [][]pipeline.Cell
	at     []int // cells done
	device []int
	done   []set
}

// step does device d's next cell if it can.
func (s *stuck) step(d int) bool {
	if waits, _ := s.blocker(d); len(waits) > 0 {
		return false
	}
	for _, a := range s.rows[d][s.at[d]] {
		s.done[d][a] = true
	}
	s.at[d]++
	return true
}

// blocker is the actions of which one must be done before device d's next cell,
// and the device that is to do it; none if the cell can go.
func (s *stuck) blocker(d int) ([]pipeline.Action, int) {
	for _, a := range s.rows[d][s.at[d]] {
		of, on := sources(a, len(s.device)), d
		switch a.Op {
		case pipeline.OpSendF:
			of = []pipeline.Action{with(a, pipeline.OpF, a.Stage)}
		case pipeline.OpSendB:
			of = []pipeline.Action{with(a, pipeline.OpB, a.Stage), with(a, pipeline.OpI, a.Stage)}
		case pipeline.OpRecvF, pipeline.OpRecvB:
			// The first stage has no sender of activations, the last none of gradients.
			send, received := origin(a, len(s.device))
			if of = []pipeline.Action{send}; received {
				on = s.device[send.Stage]
			}
		}
		if len(of) > 0 && !s.done[on].any(of) {
			return of, on
		}
	}
	return nil, 0
}

// producer is blocker for passes without transfers: the pass that has what
// device d's next cell needs.
func (s *stuck) producer(d int) ([]pipeline.Action, int) {
	for _, a := range s.rows[d][s.at[d]] {
		if from := sources(a, len(s.device)); len(from) > 0 && !s.done[d].any(from) {
			return from[1:], s.device[from[1].Stage]
		}
	}
	return nil, 0
}

// circle is the error of device d, which waits for itself by way of the others,
// or for what no device does.
func (s *stuck) circle(d int, blocker func(int) ([]pipeline.Action, int)) error {
	var devices []int
	var waits []string
	for {
		if i := slices.Index(devices, d); i >= 0 {
			return fmt.Errorf("deadlock: %s", strings.Join(waits[i:], "; "))
		}
		next := s.rows[d][s.at[d]]
		of, on := blocker(d)
		i := slices.IndexFunc(of, func(a pipeline.Action) bool {
			return slices.ContainsFunc(s.rows[on][s.at[on]:], func(c pipeline.Cell) bool { return slices.Contains(c, a) })
		})
		if i < 0 {
			return fmt.Errorf("deadlock: %v on device %d waits for %v, which device %d never does", next, d, of[0], on)
		}
		devices = append(devices, d)
		waits = append(waits, fmt.Sprintf("%v on device %d waits for %v, which device %d does later", next, d, of[i], on))
		d = on
	}
}
