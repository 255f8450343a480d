package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// autoShape is a shape that an automatic schedule takes.
func autoShape(a Auto, p, m int) Shape {
	shape := Shape{Devices: p, Virtual: 1, Microbatches: m, Slices: 1}
	if a.Check(shape) != nil {
		shape.Virtual = 2
	}
	return shape
}

// TestAutoVectors compares every row of vectors.csv of the automatic schedules.
func TestAutoVectors(t *testing.T) {
	compared := map[string]int{}
	for _, row := range table(t, filepath.Join(sharedSchedules(t), "vectors.csv")) {
		a, ok := LookupAuto(row["schedule"])
		if !ok {
			continue
		}
		limit := 0.0
		if text, ok := strings.CutPrefix(row["params"], "limit="); ok {
			var err error
			limit, err = strconv.ParseFloat(text, 64)
			require.NoError(t, err)
		}
		shape := Shape{Devices: number(t, row, "p"), Virtual: number(t, row, "v"), Microbatches: number(t, row, "m"), Slices: number(t, row, "n_slices")}
		s, err := a.Order(shape, rowCosts(t, row), limit)
		require.NoError(t, err, "%v", row)
		r, err := Simulate(s, shape, rowCosts(t, row))
		require.NoError(t, err)
		compareRow(t, row, r)
		compared[a.Name()]++
	}
	t.Logf("rows compared: %v", compared)
	for _, a := range Autos() {
		require.NotZero(t, compared[a.Name()], a.Name())
	}
}

// TestAutoOrders compares the automatic schedules' files of orders/, which are for
// F = I = W = 1 without transfers.
func TestAutoOrders(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sharedSchedules(t), "orders", "*_auto_*.csv"))
	require.NoError(t, err)
	compared := map[string]int{}
	for _, file := range files {
		m := orderFile.FindStringSubmatch(filepath.Base(file))
		require.NotNil(t, m, "name of %s", file)
		a, ok := LookupAuto(m[1])
		require.True(t, ok, file)
		limit := 0.0
		if _, text, ok := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".csv"), "_limit"); ok {
			limit, err = strconv.ParseFloat(text, 64)
			require.NoError(t, err)
		}
		p, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		mb, err := strconv.Atoi(m[3])
		require.NoError(t, err)
		shape := autoShape(a, p, mb)
		s, err := a.Order(shape, Costs{F: 1, I: 1, W: 1}, limit)
		require.NoError(t, err, file)
		order, err := s.Order(shape)
		require.NoError(t, err)
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), FormatOrder(Cells(order, false)), filepath.Base(file))
		compared[a.Name()]++
	}
	t.Logf("files compared: %v", compared)
	for _, a := range Autos() {
		require.NotZero(t, compared[a.Name()], a.Name())
	}
}

// Rows of vectors.csv, transcribed so that they are tested everywhere: what
// sail-sg's heuristics find.
var autoSample = []struct {
	name           string
	p, m           int
	limit          float64
	costs          Costs
	makespan, span unit.Time
	peak           []int
}{
	{"zb_auto", 4, 8, 4, Costs{F: 1, I: 1, W: 1, Comm: 0}, 27, 27, []int{4, 4, 4, 4}},
	{"zb_auto", 4, 8, 8, Costs{F: 1, I: 1, W: 1, Comm: 0}, 27, 24, []int{8, 8, 8, 8}},
	{"zbv_auto", 4, 8, 0, Costs{F: 1, I: 1, W: 1, Comm: 0}, 51, 48, []int{8, 8, 8, 8}},
	{"zb_auto", 4, 8, 4, Costs{F: 10, I: 12, W: 8, Comm: 1}, 294, 294, []int{4, 4, 4, 4}},
	{"zb_auto", 4, 8, 8, Costs{F: 10, I: 12, W: 8, Comm: 1}, 273, 256, []int{8, 8, 8, 8}},
	{"zbv_auto", 4, 8, 0, Costs{F: 10, I: 12, W: 8, Comm: 1}, 531, 514, []int{8, 8, 8, 8}},
}

func TestAutoSample(t *testing.T) {
	for _, row := range autoSample {
		a, ok := LookupAuto(row.name)
		require.True(t, ok, row.name)
		shape := autoShape(a, row.p, row.m)
		s, err := a.Order(shape, row.costs, row.limit)
		require.NoError(t, err, "%+v", row)
		r, err := Simulate(s, shape, row.costs)
		require.NoError(t, err, "%+v", row)
		require.Equal(t, row.makespan, r.Makespan, "%+v", row)
		require.Equal(t, row.span, slices.Max(r.Span), "%+v", row)
		require.Equal(t, row.peak, r.Peak, "%+v", row)
	}
}

// Whatever the costs, the order is whole, can be run, and holds its limit.
func TestAuto(t *testing.T) {
	for _, a := range Autos() {
		t.Run(a.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				shape := autoShape(a, size(t, "p", 1, 6), size(t, "m", 1, 20))
				limit := float64(size(t, "limit", shape.Devices, 3*shape.Devices))
				c := drawCosts(t)
				c.F, c.I, c.W = c.F+1, c.I+1, c.W+1 // ties would be ordered by phase
				s, err := a.Order(shape, c, limit)
				require.NoError(t, err)
				r, err := Simulate(s, shape, c)
				require.NoError(t, err)
				for _, slots := range r.Order {
					held := 0.0 // as the reference counts: half is freed by I
					for _, slot := range slots {
						held += memoryOf(slot.Phase)
						require.LessOrEqual(t, held, limit*autoForward*float64(shape.Virtual))
					}
					require.Zero(t, held)
				}
			})
		})
	}
}

func TestAutoRefuses(t *testing.T) {
	for _, a := range Autos() {
		shape, c := autoShape(a, 4, 8), Costs{F: 1, I: 1, W: 1}
		_, err := a.Order(shape, c, 0.5)
		require.ErrorContains(t, err, "at least one is held")
		varied, err := c.Varied(Variation{}, shape, shape.chunks())
		require.NoError(t, err)
		_, err = a.Order(shape, varied, 0)
		require.ErrorContains(t, err, "one cost for each phase")
		_, err = a.Order(Shape{Devices: 4, Virtual: 3, Microbatches: 8}, c, 0)
		require.ErrorContains(t, err, "a device holds")
	}
	_, err := zbvAuto{}.Order(Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 1, I: 1, W: 1}, 2)
	require.ErrorContains(t, err, "a limit of 2 microbatches is too tight")
	_, ok := LookupAuto("1f1b")
	require.False(t, ok)
}
