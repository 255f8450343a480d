package actions

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/schedules/pipeline"
)

// sharedSchedules is ../shared/data/schedules beside the repository.
func sharedSchedules(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "..", "shared", "data", "schedules"))
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("../shared/data/schedules is not here (%v): PyTorch's goldens are not checked", err)
	}
	return path
}

// row is cells of the grammar, as PyTorch's tests write them.
func row(t require.TestingT, cells ...string) []pipeline.Cell {
	rows, err := pipeline.ParseOrder(strings.Join(cells, ","))
	require.NoError(t, err)
	if len(rows) == 0 {
		return nil
	}
	return rows[0]
}

// text is a row as it is written.
func text(row []pipeline.Cell) string {
	return strings.TrimSuffix(pipeline.FormatOrder([][]pipeline.Cell{row}), "\n")
}

func read(t *testing.T, path ...string) [][]pipeline.Cell {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	rows, err := pipeline.ParseOrder(string(content))
	require.NoError(t, err)
	return rows
}

// TestPyTorchGoldens reproduces every case of pytorch_lowering.json, which has
// the expectations of PyTorch's own test, test_schedule.py.
func TestPyTorchGoldens(t *testing.T) {
	dir := filepath.Join(sharedSchedules(t), "golden")
	content, err := os.ReadFile(filepath.Join(dir, "pytorch_lowering.json"))
	require.NoError(t, err)
	type rowCase struct {
		Microbatches int `json:"n_microbatches"`
		Compute, Out []string
	}
	var golden struct {
		UnshardReshard []rowCase `json:"unshard_reshard"`
		ReduceGrad     []rowCase `json:"reduce_grad"`
		MergeBW        []rowCase `json:"merge_bw"`
		SendRecv       []struct {
			Name           string
			Device         []int `json:"stage_to_rank"`
			Compute, Comms map[string][]string
			Steps          int `json:"simulated_steps"`
		} `json:"send_recv"`
		CSV []struct {
			Compute, Comms string
			Steps          int `json:"simulated_steps"`
		}
	}
	require.NoError(t, json.Unmarshal(content, &golden))
	cases := 0
	for _, c := range golden.UnshardReshard {
		require.Equal(t, text(row(t, c.Out...)), text(UnshardReshard(row(t, c.Compute...))))
		cases++
	}
	for _, c := range golden.ReduceGrad {
		require.Equal(t, text(row(t, c.Out...)), text(ReduceGrad(row(t, c.Compute...), c.Microbatches)))
		cases++
	}
	for _, c := range golden.MergeBW {
		require.Equal(t, text(row(t, c.Out...)), text(MergeBackward(row(t, c.Compute...))))
		cases++
	}
	for _, c := range golden.SendRecv {
		compute, comms := make([][]pipeline.Cell, len(c.Compute)), make([][]pipeline.Cell, len(c.Compute))
		for d := range compute {
			compute[d], comms[d] = row(t, c.Compute[strconv.Itoa(d)]...), row(t, c.Comms[strconv.Itoa(d)]...)
		}
		got, err := SendRecv(compute, c.Device)
		require.NoError(t, err, c.Name)
		require.Equal(t, comms, got, c.Name)
		run, err := DryRun(got, c.Device)
		require.NoError(t, err, c.Name)
		require.Equal(t, c.Steps, Steps(run), c.Name)
		cases++
	}
	for _, c := range golden.CSV {
		want, err := os.ReadFile(filepath.Join(dir, c.Comms))
		require.NoError(t, err)
		got, err := Lower(read(t, dir, c.Compute), []string{"merge_bw", "send_recv"})
		require.NoError(t, err)
		require.Equal(t, string(want), pipeline.FormatOrder(got), c.Comms)
		require.Equal(t, c.Steps, stepsOf(t, got), c.Comms)
		cases++
	}
	require.Equal(t, 8, cases)
}

// stepsOf is the number of steps of a program's dry run.
func stepsOf(t *testing.T, rows [][]pipeline.Cell) int {
	t.Helper()
	device, err := Place(rows)
	require.NoError(t, err)
	run, err := DryRun(rows, device)
	require.NoError(t, err)
	return Steps(run)
}

// lowered is a schedule's order after the named passes.
func lowered(t *testing.T, name string, shape pipeline.Shape, passes ...string) [][]pipeline.Cell {
	t.Helper()
	s, err := pipeline.Lookup(name)
	require.NoError(t, err)
	order, err := s.Order(shape)
	require.NoError(t, err)
	rows, err := Lower(pipeline.Cells(order, shape.Slices > 1), passes)
	require.NoError(t, err)
	return rows
}

func actionsIn(rows [][]pipeline.Cell) int {
	n := 0
	for _, row := range rows {
		n += len(row)
	}
	return n
}

// TestPyTorchSteps compares every row of torch_sim_steps.csv: actions after
// lowering, and steps of the dry run with receives as early as possible and as
// late. PyTorch's dry run has no pairs, so DualPipeV's rows have no steps; they
// are of its order as it is, the others of merged backwards.
func TestPyTorchSteps(t *testing.T) {
	f, err := os.Open(filepath.Join(sharedSchedules(t), "torch_sim_steps.csv"))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"schedule", "p", "m", "v", "total_actions_with_comms", "simulated_steps", "simulated_steps_deferred_recv"}, rows[0])
	for _, row := range rows[1:] {
		var n [3]int
		for i := range n {
			n[i], err = strconv.Atoi(row[1+i])
			require.NoError(t, err)
		}
		shape := pipeline.Shape{Devices: n[0], Microbatches: n[1], Virtual: n[2]}
		if row[5] == "" {
			require.Equal(t, "dualpipev", row[0])
			require.Equal(t, row[4], strconv.Itoa(actionsIn(lowered(t, row[0], shape, "send_recv"))), "%v", row)
			continue
		}
		early := lowered(t, row[0], shape, "merge_bw", "send_recv")
		require.Equal(t, row[4], strconv.Itoa(actionsIn(early)), "%v", row)
		late := lowered(t, row[0], shape, "merge_bw", "send_recv", "defer_recv")
		require.Equal(t, actionsIn(early), actionsIn(late), "%v", row)
		require.Equal(t, row[5], strconv.Itoa(stepsOf(t, early)), "%v", row)
		require.Equal(t, row[6], strconv.Itoa(stepsOf(t, late)), "%v", row)
	}
	require.Len(t, rows[1:], 55)
}
