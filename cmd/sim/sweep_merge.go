package main

import (
	"fmt"
	"strings"

	"orrery/sim/report"
	"orrery/sim/sweep"
)

// sweepMergeCmd is `sim sweep merge`: many journals in, one file of results out.
type sweepMergeCmd struct {
	Dir  string `arg:"" help:"Folder of the sweep."`
	JSON bool   `name:"json" help:"Print one JSON document and nothing else."`
}

func (c *sweepMergeCmd) Run(std *streams) error {
	m, err := sweep.Merge(c.Dir)
	if err != nil {
		return badInput(err)
	}
	if c.JSON {
		err = writeJSON(std.out, m)
	} else {
		err = printMerged(std, m)
	}
	if err != nil {
		return err
	}
	switch failed := m.Counts[sweep.Failed]; {
	case m.Missing > 0:
		return checkFailed(fmt.Errorf("%d of %d points are missing", m.Missing, m.Distinct))
	case failed > 0:
		return checkFailed(fmt.Errorf("%d points failed", failed))
	}
	return nil
}

func printMerged(std *streams, m *sweep.Merged) error {
	lines := []string{fmt.Sprintf("%d points, %d of them different: %s", m.Points, m.Distinct, report.SweepCounts(m.Counts))}
	byOf := map[int][]string{} // indices of the shards to run again
	var divisions []int
	for _, s := range m.Shards {
		if s.Done() {
			continue
		}
		why := fmt.Sprintf("%d of %d points missing", s.Missing, s.Own)
		switch {
		case !s.Started:
			why = "has no journal, " + why
		case s.Missing == 0:
			why = fmt.Sprintf("%d of %d points failed", s.Failed, s.Own)
		case s.Failed > 0:
			why += fmt.Sprintf(", %d failed", s.Failed)
		}
		lines = append(lines, fmt.Sprintf("%s: %s", s.Shard, why))
		if byOf[s.Shard.Of] == nil {
			divisions = append(divisions, s.Shard.Of)
		}
		byOf[s.Shard.Of] = append(byOf[s.Shard.Of], fmt.Sprint(s.Shard.Index))
	}
	for _, of := range divisions {
		lines = append(lines, fmt.Sprintf("run again with --shards %d: sbatch --array=%s, or --shard I/%d", of, strings.Join(byOf[of], ","), of))
	}
	if m.Damaged > 0 {
		lines = append(lines, fmt.Sprintf("%d damaged lines of journals are not counted", m.Damaged))
	}
	if m.Results != "" {
		lines = append(lines, "wrote "+m.Results)
	}
	for _, l := range lines {
		if err := report.Para(std.out, l); err != nil {
			return err
		}
	}
	return nil
}
