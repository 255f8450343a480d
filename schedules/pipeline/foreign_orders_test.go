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

// recorded is an order read from a file, with the placement found in it.
type recorded struct {
	device map[int32]int
	order  [][]Slot
}

func (recorded) Name() string                      { return "recorded" }
func (recorded) Describe() string                  { return "for tests" }
func (recorded) Check(s Shape) error               { return s.check() }
func (r recorded) Device(_ Shape, pass Slot) int   { return r.device[pass.Stage] }
func (r recorded) Order(_ Shape) ([][]Slot, error) { return r.order, nil }

// record turns cells into slots; false where the order has overlapped pairs or a
// stage on two devices, which a [Slot] cannot say.
func record(t *testing.T, rows [][]Cell) (recorded, bool) {
	r := recorded{device: map[int32]int{}}
	for d, row := range rows {
		var slots []Slot
		for _, cell := range row {
			if len(cell) == 0 {
				continue
			}
			if on, ok := r.device[cell[0].Stage]; len(cell) > 1 || ok && on != d {
				return r, false
			}
			r.device[cell[0].Stage] = d
			phase := Phase(strings.Index("FBIW", string(cell[0].Op)))
			require.LessOrEqual(t, phase, W)
			slots = append(slots, Slot{Phase: phase, Stage: cell[0].Stage, Microbatch: cell[0].Microbatch, Slice: max(cell[0].Slice, 0)})
		}
		r.order = append(r.order, slots)
	}
	return r, true
}

// TestSimulateForeignOrders runs the orders of schedules that this package need
// not have (sliced, split, V-shaped) and compares with their rows of
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
		cells, err := ParseOrder(string(text))
		require.NoError(t, err)
		s, ok := record(t, cells)
		name := strings.TrimSuffix(filepath.Base(file), ".csv")
		if !ok || strings.HasSuffix(orderFile.FindStringSubmatch(name + ".csv")[1], "_auto") {
			continue // an auto order depends on the costs
		}
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
	for _, name := range []string{"seq1f1b", "slimpipe", "mepipe_svpp", "terapipe", "zb_h1", "zbv", "vhalf"} {
		require.True(t, orders[name], "no row of %s compared", name)
	}
}
