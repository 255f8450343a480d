package main

import (
	"fmt"
	"slices"
	"strings"

	"orrery/schedules/pipeline"
	"orrery/schedules/pipeline/actions"
)

// lower is the order as PyTorch's passes leave it, in cells; what came out is
// noted.
func (q *scheduleRequest) lower(passes []string, t *pipeline.Timing) ([][]pipeline.Cell, error) {
	rows := pipeline.Cells(t.Order, q.shape.Slices > 1)
	if len(passes) == 0 {
		return rows, nil
	}
	for i, name := range passes {
		passes[i] = strings.TrimSpace(name)
	}
	switch {
	case q.name == vocabName:
		return nil, fmt.Errorf("--lower: PyTorch's grammar has no pass S, which %s consists of", vocabName)
	case q.modules != nil:
		return nil, fmt.Errorf("--lower: PyTorch's grammar has %s, which this order of %s consists of", q.alien, q.name)
	case q.shape.Slices > 1:
		return nil, fmt.Errorf("--lower: PyTorch's grammar has no slices, the order has %d a microbatch", q.shape.Slices)
	}
	program, err := actions.Lower(rows, passes)
	if err != nil {
		return nil, fmt.Errorf("--lower: %w", err)
	}
	n := 0
	for _, row := range program {
		n += len(row)
	}
	note := fmt.Sprintf("Lowered by %s: %d actions", strings.Join(passes, ", "), n)
	if !slices.Contains(passes, "send_recv") {
		q.notes = append(q.notes, note+".")
		return program, nil
	}
	device, err := actions.Place(rows)
	if err != nil {
		return nil, fmt.Errorf("--lower: %w", err)
	}
	run, err := actions.DryRun(program, device)
	if err != nil {
		return nil, fmt.Errorf("--lower: %w", err)
	}
	q.notes = append(q.notes, fmt.Sprintf("%s; its dry run takes %d steps.", note, actions.Steps(run)))
	if err := actions.InOrder(program, device); err != nil {
		q.notes = append(q.notes, fmt.Sprintf("Every edge between two stages needs a communicator of its own: %v.", err))
	}
	return program, nil
}
