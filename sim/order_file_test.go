package sim

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/schedules/pipeline"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// fromFile runs a scenario once with a schedule by its name and once with the order
// that `sim schedule --csv` writes of it.
func fromFile(t *testing.T, schedule, keys string) (named, file *Run) {
	t.Helper()
	dir := t.TempDir()
	run := func(sets ...string) *Run {
		path := filepath.Join(dir, "s.toml")
		text := "cluster = { gpu = \"h100\", gpus = 16 }\nmodel.name = \"llama3-8b\"\ntraining = { sequence_length = 4096, global_batch = 32, micro_batch = 1 }\nframework.overlap_p2p = true\n" + keys
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		res, err := scenarios.Load(path, sets)
		require.NoError(t, err)
		r, err := Simulate(context.Background(), &res.Scenario, Options{NoAdvice: true})
		require.NoError(t, err)
		return r
	}
	named = run("schedule.name=" + schedule)
	text := pipeline.FormatOrder(pipeline.Cells(named.Plan.Order, false))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "orders"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "orders", "order.csv"), []byte(text), 0o644))
	return named, run("schedule.name=file", "schedule.file=orders/order.csv")
}

// An order that was written to a file runs as the schedule that it is of: the same
// times, memory and breakdown; pairs overlap, copies are summed.
func TestFileRunsAsItsSchedule(t *testing.T) {
	for schedule, keys := range map[string]string{
		"gpipe": "parallel.pp = 4", "zb_h1": "parallel.pp = 4", "zbv": "parallel = { pp = 4, vp = 2 }", "dualpipev": "parallel = { pp = 4, vp = 2 }",
		"chimera": "parallel = { pp = 4, vp = 2 }", "dualpipe": "parallel = { pp = 4, vp = 2 }",
	} {
		t.Run(schedule, func(t *testing.T) {
			named, file := fromFile(t, schedule, keys)
			require.Equal(t, named.Plan.Order, file.Plan.Order)
			want := *named.Result
			want.Schedule = "file"
			require.Equal(t, &want, file.Result)
			require.Equal(t, named.Timeline.End, file.Timeline.End)
		})
	}
}

// Parameters are gathered before the first pass that needs them, whatever microbatch
// that has, and gradients reduced behind the last.
func TestFileGathersBeforeItsFirstPass(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "order.csv"), []byte("0F1,0F0,0B1,0B0\n1F1,1B1,1F0,1B0\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "s.toml"), []byte("cluster = { gpu = \"h100\", gpus = 8 }\nmodel.name = \"llama3-8b\"\n"+
		"training = { sequence_length = 4096, global_batch = 8 }\nparallel.pp = 2\nschedule = { name = \"file\", file = \"order.csv\" }\n"), 0o644))
	res, err := scenarios.Load(filepath.Join(dir, "s.toml"), nil)
	require.NoError(t, err)
	r, err := Simulate(context.Background(), &res.Scenario, Options{})
	require.NoError(t, err)
	require.Positive(t, r.Makespan())
	gathers, reduces := map[int32]int{}, map[int32]int{}
	for id, w := range r.Program.Work {
		tag := r.Tag(program.OpID(id))
		switch r.Program.Works[w].Kind {
		case program.ParamGather:
			gathers[tag.Microbatch]++
			require.Less(t, r.Timeline.Start[id], unit.Second)
		case program.GradReduce:
			reduces[tag.Microbatch]++
		}
	}
	require.Len(t, gathers, 1)
	require.Positive(t, gathers[1])
	require.Len(t, reduces, 1)
	require.Positive(t, reduces[0])
}
