package main

import (
	"reflect"
	"testing"

	"orrery/sim/search"
)

// searchDocs describes the fields of `sim search --json`.
var searchDocs = []fieldDocs{
	{reflect.TypeFor[search.Result](), [][2]string{
		{"name", "the scenario's file"}, {"objective", "what is least: `step_time` (s), `cost` (USD per 1e12 tokens), `memory` (GiB), `energy` (MWh per 1e12 tokens)"},
		{"counts", "points: `enumerated`, `refused` by the scenario language, `valid`; of these `pruned_by_memory`, `pruned_by_bound`, `simulated` (of which `do_not_fit` and `cannot_be_run`), `not_considered` where the search ended early"},
		{"best", "a point, see below; null where nothing fits"}, {"bound", "nothing in the space is below, in the objective's unit"}, {"gap", "(best - bound) / best; 0 is proven"},
		{"stopped", "why it ended early: `interrupted`, `out of time`, `out of simulations`"},
		{"as_it_stands", "the scenario's own layout, as a point, with `parts` and `rest_s` as of a reason"},
		{"front", "points that no other one is as good as in time, memory and money, fastest first"}, {"front_complete", "whether every other point is provably covered by one of them"},
		{"reasons", "of each value of each axis, see below"}, {"points", "all that were simulated, best first"},
		{"loose_bounds", "why some points have no bound"}, {"assumptions", "`usd_per_gpu_hour`, `usd_per_kwh`, `host_w_per_gpu`, `load`, `pue`"}}},
	{reflect.TypeFor[search.Point](), [][2]string{
		{"set", "overrides that make it of the scenario, as `sim run --set` takes them"}, {"values", "of the axes, by key"}, {"step_time_s", "s"}, {"bound_s", "the bound of its step time, s"},
		{"peak_memory_gib", "GiB"}, {"fits", "the GPU and the limits of the search"}, {"gpus", ""}, {"mfu", "model FLOP/s over the peak"},
		{"usd_per_1e12_tokens", "rent and electricity"}, {"mwh_per_1e12_tokens", "with the building's share"}, {"schedule", "that ran"}}},
	{reflect.TypeFor[search.Reason](), [][2]string{
		{"key", "the axis"}, {"value", "as `--set` takes it"}, {"best", "the best point has it"}, {"valid", "points with it"}, {"why", "where no point with it was simulated that fits"},
		{"least_memory_gib", "that one needs, where none fits"}, {"objective", "of the best simulated point with it"}, {"bound", "no point with it is below"}, {"over", "objective over that of the best of all, less 1"},
		{"parts", "`name`, `change_s`: rows of the step's breakdown, the largest changes from the best point to that one"}, {"rest_s", "the other rows together"}, {"set", "what else differs from the best point"}}},
}

// The tables of docs/search.md are generated: run this test with -update.
func TestSearchDocsAreCurrent(t *testing.T) {
	holdPage(t, "search.md", func(have string) string { return between(t, have, "result", fieldTables(t, searchDocs)) })
}
