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
	if q.auto != nil {
		return q.planAuto(c, params)
	}
	switch q.name {
	case vocabName:
		return q.planVocabulary(params)
	case bw2Name:
		batches, err := whole(params, "batches")
		if err != nil {
			return err
		}
		batches = max(batches, 1)
		q.notes = append(q.notes, fmt.Sprintf("%d batches of %d microbatches without a flush; two versions of the weights are kept.", batches, q.shape.Microbatches))
		q.run = func() (*pipeline.Timing, error) { return pipeline.PipeDream2BW(q.shape, batches, q.costs) }
	case mepipeName:
		return q.planMEPipe(c, params)
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
	limit := c.MemoryLimit / float64(q.shape.Virtual) // of a chunk's activations
	if text, ok := params["limit"]; ok {
		var err error
		if limit, err = strconv.ParseFloat(text, 64); err != nil || !(limit >= 1) {
			return fmt.Errorf("--param limit is %q, must be a number of microbatches of 1 or more", text)
		}
	}
	q.run = func() (*pipeline.Timing, error) {
		s, err := q.auto.Order(q.shape, q.costs, limit)
		if err != nil {
			return nil, err
		}
		return q.simulate(s)
	}
	return nil
}

func (q *scheduleRequest) planMEPipe(c *scheduleCmd, params map[string]string) error {
	pieces, err := whole(params, "pieces")
	if err != nil {
		return err
	}
	limit, err := whole(params, "limit")
	switch {
	case err != nil:
		return err
	case pieces == 0 && limit > 0:
		return fmt.Errorf("--param limit: %s has an order of its own without --param pieces; --memory-limit checks it", q.name)
	case pieces == 0:
		q.run = func() (*pipeline.Timing, error) { return pipeline.Simulate(q.order, q.shape, q.costs) }
		return nil
	case limit == 0 && c.MemoryLimit > 0:
		limit = max(1, int(min(c.MemoryLimit, math.MaxInt32)))
	}
	q.alien = "no pieces of weight gradients"
	q.notes = append(q.notes, fmt.Sprintf("A W is one of the %d pieces of a weight gradient, which holds its slice's activations to the last.", pieces))
	q.run = func() (*pipeline.Timing, error) { return pipeline.MEPipePieces(q.shape, pieces, limit, q.costs) }
	return nil
}

func (q *scheduleRequest) planVocabulary(params map[string]string) error {
	q.alien = "no pass S"
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
