package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSimulateForeignOrders runs the orders of schedules that this package need
// not have (sliced, split, V-shaped, both ways) and compares with their rows of
// vectors.csv: it is the simulator that is under test.
func TestSimulateForeignOrders(t *testing.T) {
	dir := sharedSchedules(t)
	byShape := map[string][]map[string]string{}
	for _, row := range table(t, filepath.Join(dir, "vectors.csv")) {
		key := fmt.Sprintf("%s_p%s_m%s_v%s_n%s", row["schedule"], row["p"], row["m"], row["v"], row["n_slices"])
		if row["params"] != "" {
			key += "_" + strings.ReplaceAll(row["params"], "=", "")
		}
		byShape[key] = append(byShape[key], row)
	}
	files, err := filepath.Glob(filepath.Join(dir, "orders", "*.csv"))
	require.NoError(t, err)
	compared, orders := 0, map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		name := strings.TrimSuffix(filepath.Base(file), ".csv")
		if strings.HasSuffix(orderFile.FindStringSubmatch(name + ".csv")[1], "_auto") {
			continue // an auto order depends on the costs
		}
		s, err := ReadOrder(string(text))
		require.NoError(t, err, name)
		for _, row := range byShape[name] {
			shape := Shape{Devices: number(t, row, "p"), Virtual: number(t, row, "v"), Microbatches: number(t, row, "m"), Slices: number(t, row, "n_slices")}
			r, err := Simulate(s, shape, rowCosts(t, row))
			require.NoError(t, err, name)
			require.Equal(t, row["makespan"], strconv.FormatInt(int64(r.Makespan), 10), "%s %v", name, row)
			require.Equal(t, row["bubble_fraction"], fmt.Sprintf("%.6f", r.Bubble()), name)
			require.Equal(t, row["peak_activations_per_stage"], strings.Trim(fmt.Sprint(r.Peak), "[]"), name)
			require.Equal(t, row["peak_if_freed_after_B"], strings.Trim(fmt.Sprint(r.PeakInputOnly), "[]"), name)
			compared++
			orders[row["schedule"]] = true
		}
	}
	t.Logf("%d rows of %d schedules", compared, len(orders))
	for _, name := range []string{"seq1f1b", "slimpipe", "mepipe_svpp", "terapipe", "zb_h1", "zbv", "vhalf", "dualpipe", "chimera"} {
		require.True(t, orders[name], "no row of %s compared", name)
	}
}
