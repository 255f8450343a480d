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

// TestVocabularyVectors compares every row of vectors_vocab.csv; the fourth of a
// unit of time is the finest cost there.
func TestVocabularyVectors(t *testing.T) {
	rows := table(t, filepath.Join(sharedSchedules(t), "vectors_vocab.csv"))
	quarters := func(row map[string]string, column string) unit.Time {
		x, err := strconv.ParseFloat(row[column], 64)
		require.NoError(t, err)
		require.Equal(t, math.Trunc(4*x), 4*x)
		return unit.Time(4 * x)
	}
	for _, row := range rows {
		shape := Shape{Devices: number(t, row, "p"), Virtual: 1, Microbatches: number(t, row, "m")}
		r, err := VocabularyParallel(shape, number(t, row, "barriers"), Costs{F: quarters(row, "F"), I: quarters(row, "B")}, quarters(row, "S"))
		require.NoError(t, err, "%v", row)
		require.Equal(t, quarters(row, "makespan"), r.Makespan, "%v", row)
		// S runs once more than there are microbatches.
		require.Equal(t, quarters(row, "m*(F+B+S)")+quarters(row, "S"), r.Busy[0], "%v", row)
		require.Equal(t, row["peak_microbatches_per_stage"], strings.Trim(fmt.Sprint(r.Peak), "[]"), "%v", row)
	}
	t.Logf("%d rows compared", len(rows))
}

// T = m(F+B+S) + (p-1)(F+B) + S where F : B is 1 : 2 and S at most F, and
// p-d plus a microbatch a barrier are held: the paper's p+1 and p+2.
func TestVocabularyClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.IntRange(2, 12).Draw(t, "p")
		m := rapid.IntRange(2*p+2, 4*p+2).Draw(t, "m")
		barriers := rapid.IntRange(1, 2).Draw(t, "barriers")
		f := rapid.IntRange(1, 20).Draw(t, "F")
		s := rapid.IntRange(1, f).Draw(t, "S")
		r, err := VocabularyParallel(Shape{Devices: p, Virtual: 1, Microbatches: m}, barriers, Costs{F: unit.Time(f), I: unit.Time(f), W: unit.Time(f)}, unit.Time(s))
		require.NoError(t, err)
		require.EqualValues(t, m*(3*f+s)+(p-1)*3*f+s, r.Makespan)
		for d, peak := range r.Peak {
			require.Equal(t, p-d+barriers, peak)
		}
	})
}

// Whatever the size and the costs, no pass is left out, none deadlocks.
func TestVocabularyRunsToItsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := Shape{Devices: rapid.IntRange(2, 9).Draw(t, "p"), Virtual: 1, Microbatches: rapid.IntRange(1, 20).Draw(t, "m")}
		c := drawCosts(t)
		s := unit.Time(rapid.IntRange(0, 60).Draw(t, "S"))
		r, err := VocabularyParallel(shape, rapid.IntRange(1, 2).Draw(t, "barriers"), c, s)
		require.NoError(t, err)
		for d, slots := range r.Order {
			require.Len(t, slots, 3*shape.Microbatches+1)
			require.EqualValues(t, unit.Time(shape.Microbatches)*(c.F+c.I+c.W)+unit.Time(shape.Microbatches+1)*s, r.Busy[d])
		}
	})
}

func TestVocabularyRefuses(t *testing.T) {
	good := Shape{Devices: 2, Virtual: 1, Microbatches: 4}
	for want, run := range map[string]func() (*Timing, error){
		"barriers: 3": func() (*Timing, error) { return VocabularyParallel(good, 3, Costs{}, 1) },
		"negative":    func() (*Timing, error) { return VocabularyParallel(good, 1, Costs{}, -1) },
		"one device": func() (*Timing, error) {
			return VocabularyParallel(Shape{Devices: 1, Virtual: 1, Microbatches: 4}, 1, Costs{}, 1)
		},
		"range of time": func() (*Timing, error) { return VocabularyParallel(good, 1, Costs{}, 1<<62) },
	} {
		_, err := run()
		require.ErrorContains(t, err, want)
	}
}
