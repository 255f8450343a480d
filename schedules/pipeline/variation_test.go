package pipeline

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// TestCausalVectors compares vectors_causal.csv: equal slices of growing cost,
// and the same work spread evenly, as a perfect context exchange would.
// SlimPipe's rows were reconstructed before its artifact was found; those whose
// warm-up the artifact refuses or whose chunks take turns are left out, and
// counted.
func TestCausalVectors(t *testing.T) {
	refused := 0
	compared := map[string]int{}
	for _, row := range table(t, filepath.Join(sharedSchedules(t), "vectors_causal.csv")) {
		s, err := Lookup(row["schedule"])
		require.NoError(t, err)
		shape := Shape{Devices: number(t, row, "p"), Virtual: number(t, row, "v"), Microbatches: number(t, row, "m"), Slices: number(t, row, "n")}
		if s.Name() == "slimpipe" && (s.Check(shape) != nil || shape.Virtual > 1) {
			refused++
			continue
		}
		// A unit of time is 1/n, so that slices cost whole units.
		n := unit.Time(shape.Slices)
		a, q := unit.Time(number(t, row, "a"))*n, unit.Time(number(t, row, "q"))*n
		costs, err := Costs{F: a, I: 2 * a}.Varied(Variation{Attention: Costs{F: q, I: 2 * q}}, shape, Stages(s, shape))
		require.NoError(t, err)
		r, err := Simulate(s, shape, costs)
		require.NoError(t, err, "%v", row)
		require.Equal(t, row["makespan_uniform_slices_no_exchange"], fmt.Sprintf("%.6f", float64(r.Makespan)/float64(n)), "%v", row)
		require.Equal(t, row["ideal_busy"], fmt.Sprintf("%.6f", float64(r.Busy[0])/float64(n)), "%v", row)
		require.Equal(t, row["bubble_no_exchange"], fmt.Sprintf("%.6f", r.Bubble()), "%v", row)
		even, err := Simulate(s, shape, Costs{F: a + q, I: 2 * (a + q)})
		require.NoError(t, err)
		require.Equal(t, row["makespan_perfect_exchange"], fmt.Sprintf("%.6f", float64(even.Makespan)/float64(n)), "%v", row)
		require.Equal(t, row["bubble_perfect_exchange"], fmt.Sprintf("%.6f", even.Bubble()), "%v", row)
		compared[s.Name()]++
	}
	t.Logf("rows compared: %v, %d left out", compared, refused)
	require.NotZero(t, compared["seq1f1b"])
	require.NotZero(t, compared["terapipe"])
	require.NotZero(t, compared["slimpipe"])
}

// Costs that are told pass by pass are those told phase by phase where they are
// the same, and work is conserved where they are not.
func TestVariedCosts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom([]Schedule{seq1F1B{}, teraPipe{}, mePipe{}}).Draw(t, "schedule")
		shape := Shape{Devices: rapid.IntRange(1, 5).Draw(t, "p"), Virtual: 1, Microbatches: rapid.IntRange(1, 6).Draw(t, "m"), Slices: rapid.IntRange(1, 5).Draw(t, "n")}
		c := drawCosts(t)
		plain, err := Simulate(s, shape, c)
		require.NoError(t, err)
		same, err := c.Varied(Variation{}, shape, shape.Devices)
		require.NoError(t, err)
		told, err := Simulate(s, shape, same)
		require.NoError(t, err)
		require.Equal(t, plain, told)

		n := unit.Time(shape.Slices)
		grown, err := c.Varied(Variation{Attention: Costs{F: n * c.F, I: n * c.I, W: n * c.W}}, shape, shape.Devices)
		require.NoError(t, err)
		causal, err := Simulate(s, shape, grown)
		require.NoError(t, err)
		for d := range causal.Busy {
			require.Equal(t, (1+n)*plain.Busy[d], causal.Busy[d], "the mean of the slices is the cost that was given")
		}
		require.GreaterOrEqual(t, causal.Makespan, plain.Makespan)
	})
}

func TestVariedFactors(t *testing.T) {
	shape := Shape{Devices: 2, Virtual: 1, Microbatches: 2, Slices: 1}
	c, err := Costs{F: 10, I: 10, W: 10}.Varied(Variation{Stage: []float64{1, 2}, Microbatch: []float64{1, 3}, Slice: []float64{0.5}}, shape, 2)
	require.NoError(t, err)
	require.EqualValues(t, 30, c.Vary(Slot{Phase: F, Stage: 1, Microbatch: 1}))
	require.EqualValues(t, 10, c.Vary(Slot{Phase: B}))
	for want, v := range map[string]Variation{
		"1 factors by stage, want 2":      {Stage: []float64{1}},
		"3 factors by microbatch, want 2": {Microbatch: []float64{1, 1, 1}},
		"factor of slice 0 is -1":         {Slice: []float64{-1}},
		"factor of slice 0 is NaN":        {Slice: []float64{math.NaN()}},
	} {
		_, err := Costs{}.Varied(v, shape, 2)
		require.ErrorContains(t, err, want)
	}
	huge, err := Costs{F: 1 << 40}.Varied(Variation{Slice: []float64{1e30}}, shape, 2)
	require.NoError(t, err)
	_, err = Simulate(oneFOneB{}, shape, huge)
	require.ErrorContains(t, err, "range of time")
}

// TestBalancedSlicesVectors compares vectors_balanced_slices.csv to its last digit.
func TestBalancedSlicesVectors(t *testing.T) {
	rows := table(t, filepath.Join(sharedSchedules(t), "vectors_balanced_slices.csv"))
	for _, row := range rows {
		var x [3]float64
		for i, column := range []string{"A", "Q", "seq"} {
			var err error
			x[i], err = strconv.ParseFloat(row[column], 64)
			require.NoError(t, err)
		}
		got, err := BalancedSlices(x[0], x[1], x[2], number(t, row, "n"))
		require.NoError(t, err)
		var text []string
		for _, l := range got {
			text = append(text, fmt.Sprintf("%.4f", l))
		}
		require.Equal(t, row["slice_lengths"], strings.Join(text, " "))
	}
	require.Len(t, rows, 5)
}

// Slices add up to the sequence and take the same work.
func TestBalancedSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Float64Range(0, 10).Draw(t, "a")
		q := rapid.Float64Range(1e-6, 1).Draw(t, "q")
		length := rapid.Float64Range(1, 1e6).Draw(t, "length")
		n := rapid.IntRange(1, 64).Draw(t, "n")
		out, err := BalancedSlices(a, q, length, n)
		require.NoError(t, err)
		x, total := 0.0, a*length+q*length*length
		for i, l := range out {
			require.Positive(t, l)
			x += l
			require.InEpsilon(t, float64(i+1)/float64(n), (a*x+q*x*x)/total, 1e-9)
		}
	})
	for _, x := range [][3]float64{{-1, 0, 1}, {0, 0, 1}, {1, 1, 0}, {math.NaN(), 1, 1}, {1, math.Inf(1), 1}} {
		_, err := BalancedSlices(x[0], x[1], x[2], 4)
		require.Error(t, err, "%v", x)
	}
}

// No cut of the sequence at all beats the one found.
func TestTeraPipeSlicesAreBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units, p := rapid.IntRange(1, 8).Draw(t, "units"), rapid.IntRange(1, 8).Draw(t, "p")
		launch, linear, quadratic := rapid.IntRange(0, 50).Draw(t, "launch"), rapid.IntRange(0, 20).Draw(t, "linear"), rapid.IntRange(0, 5).Draw(t, "quadratic")
		time := func(length, prefix int) unit.Time {
			return unit.Time(launch + linear*length + quadratic*length*(2*prefix+length))
		}
		of := func(cut []int) unit.Time {
			prefix, sum, longest := 0, unit.Time(0), unit.Time(0)
			for _, l := range cut {
				t := time(l, prefix)
				sum, longest, prefix = sum+t, max(longest, t), prefix+l
			}
			return sum + unit.Time(p-1)*longest
		}
		cut, least, err := TeraPipeSlices(units, p, time)
		require.NoError(t, err)
		require.Equal(t, least, of(cut))
		for bits := range 1 << (units - 1) { // bit i cuts after unit i
			var other []int
			l := 1
			for i := range units - 1 {
				if bits>>i&1 == 1 {
					other, l = append(other, l), 0
				}
				l++
			}
			require.LessOrEqual(t, least, of(append(other, l)))
		}
	})
	_, _, err := TeraPipeSlices(0, 1, nil)
	require.ErrorContains(t, err, "0 units")
	_, _, err = TeraPipeSlices(2, 1, func(int, int) unit.Time { return -1 })
	require.ErrorContains(t, err, "out of range")
}
