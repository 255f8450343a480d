package results

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/sweep"
)

// swept computes a sweep with a refused point, a number, a name and a list
// among its axes.
func swept(t *testing.T) (dir string) {
	const text = `
scenario = "quickstart"
[set]
training.global_batch = 64
parallel.vp = 1
[[axis]]
key = "cluster.override.nic_gbps"
values = [25, 50.5]
[[axis]]
key = "parallel.layers_per_stage"
values = [[20, 20, 20, 20], [21, 20, 20, 19]]
[[axis]]
key = "training.precision"
values = ["bf16", "fp8", "nvfp4"]
`
	s, err := sweep.Parse("s.toml", []byte(text), os.ReadFile, scenarios.Open)
	require.NoError(t, err)
	dir = t.TempDir()
	_, err = sweep.Run(context.Background(), s, sweep.Options{Dir: dir})
	require.NoError(t, err)
	return dir
}

// The database holds what the results hold: every axis, every single value and
// every part, of every point.
func TestImport(t *testing.T) {
	dir, ctx := swept(t), context.Background()
	db, err := Import(ctx, dir)
	require.NoError(t, err)
	all, err := Query(ctx, db, "SELECT * FROM results ORDER BY point")
	require.NoError(t, err)
	parts, err := Query(ctx, db, "SELECT point, field, part, value FROM parts")
	require.NoError(t, err)
	memory, err := Query(ctx, db, "SELECT point, stage, peak_gib, at FROM memory ORDER BY point, stage")
	require.NoError(t, err)
	require.Equal(t, []string{"point", "id", "status", "reason", "cluster_override_nic_gbps", "parallel_layers_per_stage", "training_precision", "step_time_s"}, all.Columns[:8])
	nParts, nStages, statuses := 0, 0, map[sweep.Status]bool{}
	points, err := sweep.Rows(dir, func(r *sweep.Row) error {
		row := all.Rows[r.Point]
		statuses[r.Status] = true
		require.Equal(t, []any{int64(r.Point), r.ID, string(r.Status)}, row[:3])
		require.Equal(t, r.Reason, Text(row[3]))
		require.Equal(t, Text(r.Values["cluster.override.nic_gbps"]), Text(row[4]))
		list, err := json.Marshal(r.Values["parallel.layers_per_stage"])
		require.NoError(t, err)
		require.Equal(t, string(list), row[5])
		require.Equal(t, r.Values["training.precision"], row[6])
		if r.Result == nil {
			require.Nil(t, row[7])
			return nil
		}
		var res sim.Result
		require.NoError(t, json.Unmarshal(r.Result, &res))
		for i, name := range all.Columns {
			switch name {
			case "step_time_s":
				require.Equal(t, res.StepTimeS, row[i])
			case "gpus":
				require.Equal(t, res.GPUs, row[i])
			case "fits":
				require.Equal(t, res.Fits, row[i] == int64(1))
			case "schedule":
				require.Equal(t, res.Schedule, row[i])
			}
		}
		for _, m := range []map[string]float64{res.BreakdownS, res.PhasesS, res.HiddenCommS, res.CriticalPath, res.Sources} {
			nParts += len(m)
		}
		for _, m := range res.MemoryGiBByStage {
			require.Equal(t, []any{int64(r.Point), int64(m.Stage), m.PeakGiB, m.At}, memory.Rows[nStages])
			nStages++
		}
		return nil
	})
	require.NoError(t, err)
	require.Len(t, all.Rows, points)
	require.Len(t, parts.Rows, nParts)
	require.Len(t, memory.Rows, nStages)
	require.True(t, statuses[sweep.OK] && statuses[sweep.Refused])

	// The parts of a step add up to it.
	sums, err := Query(ctx, db, "SELECT max(abs(s - step_time_s)) FROM (SELECT step_time_s, sum(value) AS s FROM results JOIN parts USING (point) WHERE field = 'breakdown_s' GROUP BY point)")
	require.NoError(t, err)
	require.Less(t, sums.Rows[0][0], 1e-9)
}

// The database is made anew when, and only when, there is something new.
func TestImportIsCurrent(t *testing.T) {
	dir, ctx := swept(t), context.Background()
	db, err := Import(ctx, dir)
	require.NoError(t, err)
	before, err := os.Stat(db)
	require.NoError(t, err)
	_, err = Import(ctx, dir)
	require.NoError(t, err)
	same, err := os.Stat(db)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, same))

	// Half a journal is half a table.
	path := filepath.Join(dir, "journal.jsonl")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	require.NoError(t, os.WriteFile(path, bytes.Join(lines[:4], nil), 0o644))
	_, err = Import(ctx, dir)
	require.NoError(t, err)
	n, err := Query(ctx, db, "SELECT count(*) FROM results")
	require.NoError(t, err)
	require.Equal(t, int64(3), n.Rows[0][0])
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestQueryReadsOnly(t *testing.T) {
	dir, ctx := swept(t), context.Background()
	db, err := Import(ctx, dir)
	require.NoError(t, err)
	for _, q := range []string{"DELETE FROM results", "DROP TABLE results", "CREATE TABLE x (y)", "", "SELECT nothing_there FROM results"} {
		_, err := Query(ctx, db, q)
		require.Error(t, err, q)
	}
}

// CSV, JSON and Parquet give back the cells that were written.
func TestFormats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := &Table{Columns: []string{"n", "x", "s", "z", "a"}}
		for i := range rapid.IntRange(0, 20).Draw(t, "rows") {
			row := []any{rapid.Int64().Draw(t, "n"), any(rapid.Float64Range(-1e30, 1e30).Draw(t, "x")), rapid.StringMatching(`[a-z,"\n]{0,5}`).Draw(t, "s"), nil, nil}
			if i%3 == 0 {
				row[1] = int64(i) // SQLite has no types of columns
			}
			if i%4 == 0 {
				row[2] = nil
			}
			tab.Rows = append(tab.Rows, row)
		}

		var b bytes.Buffer
		require.NoError(t, tab.CSV(&b))
		records, err := csv.NewReader(&b).ReadAll()
		require.NoError(t, err)
		require.Equal(t, tab.Columns, records[0])
		require.Len(t, records, len(tab.Rows)+1)
		for i, row := range tab.Rows {
			for j, v := range row {
				require.Equal(t, Text(v), records[i+1][j])
			}
		}

		b.Reset()
		require.NoError(t, tab.JSON(&b))
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		for i, row := range tab.Rows {
			var m map[string]any
			require.NoError(t, json.Unmarshal([]byte(lines[i]), &m))
			require.Equal(t, row[2], m["s"])
		}

		b.Reset()
		require.NoError(t, tab.Parquet(&b))
		file, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
		require.NoError(t, err)
		for i, f := range file.Schema().Fields() {
			require.Equal(t, tab.Columns[i], f.Name())
		}
		require.Equal(t, int64(len(tab.Rows)), file.NumRows())
		rows := make([]parquet.Row, len(tab.Rows))
		if len(rows) == 0 {
			return
		}
		in := parquet.NewReader(file)
		n, _ := in.ReadRows(rows) // io.EOF at the end
		require.Equal(t, len(rows), n)
		for i, row := range tab.Rows {
			require.Equal(t, row[0], rows[i][0].Int64())
			x, isFloat := row[1].(float64)
			if k, ok := row[1].(int64); ok {
				x = float64(k)
			}
			if tab.kind(1).String() == "float64" {
				require.Equal(t, x, rows[i][1].Double())
			} else {
				require.False(t, isFloat)
				require.Equal(t, row[1], rows[i][1].Int64())
			}
			if row[2] == nil {
				require.True(t, rows[i][2].IsNull())
			} else {
				require.Equal(t, row[2], string(rows[i][2].ByteArray()))
			}
			require.True(t, rows[i][3].IsNull())
		}
	})
	bad := &Table{Columns: []string{"a", "a"}}
	require.ErrorContains(t, bad.Parquet(&bytes.Buffer{}), "name them with AS")
	bad.Columns = []string{"max(a, b)"}
	require.ErrorContains(t, bad.Parquet(&bytes.Buffer{}), "name it with AS")
}
