package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim/capacity"
)

// capacityDocs describes the fields of `sim capacity --json`: of the result, and
// of each of its options.
var capacityDocs = []fieldDocs{
	{reflect.TypeFor[capacity.Result](), [][2]string{
		{"name", "the plan's name"}, {"scenario", "how a step is run"}, {"tokens", "asked for; 0 where the time decides"},
		{"deadline_days", "0 is none"}, {"options", "the machines, see below"}, {"chosen", "index of the cheapest option in time; -1 if there is none"},
		{"sensitivity", "for each figure: `what`, `value`, `unit`, `step_elasticity`, `days_elasticity` (per cent for one per cent more), `days_rerun` (the same by rerunning with ten per cent more), `days_per_unit`"},
		{"expect", "as in a scenario's result"}, {"assumptions", "values of the plan's keys with where each is from"}}},
	{reflect.TypeFor[capacity.Option](), [][2]string{
		{"gpu", "name in the catalogue"}, {"gpus", "that train"}, {"problem", "why it cannot run the job; then the rest is zero"},
		{"nodes", "servers that train"}, {"spare_nodes", "servers beside them"}, {"dp", "data parallelism"}, {"global_batch", "sequences a step"},
		{"step_time_s", "one step, s"}, {"step_time_rel_error", "half width of its 90 % interval, relative"},
		{"slowest_rank_s", "part of the step: the slowest of all ranks over the mean, s"}, {"steps", "to train"}, {"tokens", "that they are"},
		{"mtbf_hours", "time between failures of the whole job, h; 0 if nothing fails"}, {"interruptions_by_cause", "expected: `gpu`, `node`, `switch`, `software`"},
		{"checkpoint", "`gb`; `block_s` (training waits) and `write_s` (behind training); `every_steps`, `every_s`; optima by rule: `young_s`, `daly_s`, `exact_s`"},
		{"restart_s", "from a failure to the first step, s"}, {"days", "expected, by the closed form"}, {"goodput", "useful steps over all time"},
		{"interruptions", "expected failures"}, {"loss", "shares of the time: `checkpoint`, `straggler`, `restart`, `wait_for_spare`, `redone`; with the goodput they add up to 1"},
		{"simulated", "`runs`; of `goodput`, `days` and `interruptions` the `mean`, `std_err` (of the mean), `p5`, `p50`, `p95`, `min`, `max`; `in_time`, the share of runs that meet the deadline"},
		{"in_time", "whether the expected time meets the deadline"}, {"gpu_hours", "spares included"}, {"cost_usd", "rent and electricity"}, {"energy_mwh", "with the building's share"}}},
}

// The tables of docs/capacity.md are generated: run this test with -update.
func TestCapacityDocsAreCurrent(t *testing.T) {
	var keys bytes.Buffer
	require.NoError(t, scenarios.WriteCapacityDocs(&keys))
	holdPage(t, "capacity.md", func(have string) string {
		return between(t, between(t, have, "keys", "\n"+keys.String()+"\n"), "result", fieldTables(t, capacityDocs))
	})
}

// The page's smallest plan is one that the program takes.
func TestCapacityDocsPlanRuns(t *testing.T) {
	page, err := os.ReadFile("../../docs/capacity.md")
	require.NoError(t, err)
	plan := regexp.MustCompile("(?s)```toml\n(.*?)```").FindSubmatch(page)
	require.NotNil(t, plan)
	file := filepath.Join(t.TempDir(), "plan.toml")
	require.NoError(t, os.WriteFile(file, plan[1], 0o644))
	var out, errs bytes.Buffer
	code := runMain(context.Background(), []string{"capacity", file}, &streams{out: &out, err: &errs})
	require.Zero(t, code, errs.String())
	require.Contains(t, out.String(), "<- cheapest in time")
}
