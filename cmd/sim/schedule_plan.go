package main

import (
	"fmt"
	"math"
	"strconv"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// plan chooses what times the schedule.
func (q *scheduleRequest) plan(c *scheduleCmd, params map[string]string) error {
	if c.Blocking && q.name != "1f1b" {
		return fmt.Errorf("--blocking: the blocking transfers of 1f1b are known, not those of %s", q.name)
	}
	switch q.name {
	case vocabName:
		return q.planVocabulary(params)
	case autoName:
		return q.planAuto(c, params)
	case bw2Name:
		batches, err := whole(params, "batches")
		if err != nil {
			return err
		}
		batches = max(batches, 1)
		q.notes = append(q.notes, fmt.Sprintf("%d batches of %d microbatches without a flush; two versions of the weights are kept.", batches, q.shape.Microbatches))
		q.run = func() (*pipeline.Timing, error) { return pipeline.PipeDream2BW(q.shape, batches, q.costs) }
	default:
		if n := pipeline.Replicas(q.order); n > 1 {
			q.notes = append(q.notes, fmt.Sprintf("%d copies of every stage are held; summing their gradients is not timed.", n))
		}
		q.run = func() (*pipeline.Timing, error) { return pipeline.Simulate(q.order, q.shape, q.costs) }
		if c.Blocking {
			if err := q.order.Check(q.shape); err != nil {
				return fmt.Errorf("schedule %s: %w", q.name, err)
			}
			q.run = func() (*pipeline.Timing, error) { return pipeline.SimulateBlocking(q.shape, q.costs) }
		}
	}
	return nil
}

func (q *scheduleRequest) planAuto(c *scheduleCmd, params map[string]string) error {
	limit := c.MemoryLimit
	if text, ok := params["limit"]; ok {
		var err error
		if limit, err = strconv.ParseFloat(text, 64); err != nil || !(limit >= 1) {
			return fmt.Errorf("--param limit is %q, must be a number of microbatches of 1 or more", text)
		}
	}
	q.run = func() (*pipeline.Timing, error) {
		s, err := pipeline.ZBAuto{Limit: limit}.Order(q.shape, q.costs)
		if err != nil {
			return nil, err
		}
		return pipeline.Simulate(s, q.shape, q.costs)
	}
	return nil
}

func (q *scheduleRequest) planVocabulary(params map[string]string) error {
	if _, ok := params["S"]; !ok {
		return fmt.Errorf("schedule %s needs --param S=TIME, the time of a device's share of the output layer", vocabName)
	}
	barriers, err := whole(params, "barriers")
	if err != nil {
		return err
	}
	s, err := strconv.ParseFloat(params["S"], 64)
	if err != nil {
		return fmt.Errorf("--param S is %q, not a number", params["S"])
	}
	q.run = func() (*pipeline.Timing, error) {
		return pipeline.VocabularyParallel(q.shape, max(barriers, 1), q.costs, unit.Time(math.Round(s*float64(q.scale))))
	}
	return nil
}
