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
	if err := q.transfers(c, params); err != nil {
		return err
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
		q.run = func() (*pipeline.Timing, error) { return q.simulate(q.order) }
	}
	return nil
}

// transfers understands what is said of transfers.
func (q *scheduleRequest) transfers(c *scheduleCmd, params map[string]string) error {
	q.blocking = c.Blocking
	if q.blocking && (q.name == vocabName || q.name == bw2Name) {
		return fmt.Errorf("--blocking: the transfers of %s are not known to block; those of sim list schedules, zb_auto and file can", q.name)
	}
	switch mode, ok := params["transfers"]; {
	case !ok || mode == "batched":
	case mode != "unbatched":
		return fmt.Errorf("--param transfers is %q, must be batched or unbatched", mode)
	case !q.blocking:
		return fmt.Errorf("--param transfers=unbatched is a way to block: it needs --blocking")
	default:
		q.options.Unbatched = true
	}
	return nil
}

// simulate times an order with transfers that block or not.
func (q *scheduleRequest) simulate(s pipeline.Schedule) (*pipeline.Timing, error) {
	if q.blocking {
		return pipeline.SimulateBlocking(s, q.shape, q.costs, q.options)
	}
	return pipeline.Simulate(s, q.shape, q.costs)
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
		return q.simulate(s)
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
