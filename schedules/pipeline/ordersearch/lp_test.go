package ordersearch

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever order there is, no longer than the horizon, it is a solution of the
// program: the program cuts off no optimum. That it has nothing but orders is what
// TestOptimumBySolver shows.
func TestProgramHasEveryOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProblem(t)
		p.Shape.Devices, p.Shape.Microbatches, p.Shape.Slices = min(p.Shape.Devices, 2), min(p.Shape.Microbatches, 3), min(p.Shape.Slices, 2)
		m, err := newModel(p)
		require.NoError(t, err)
		all := rules(m)
		o := newOrder(m)
		require.True(t, o.set(list(m, all[rapid.IntRange(0, len(all)-1).Draw(t, "rule")])))
		var text strings.Builder
		require.NoError(t, WriteLP(&text, p, o.span))

		l := &program{bounder: &bounder{m: m}}
		values := map[string]int64{"makespan": int64(o.span)}
		for x := range pass(len(m.cost)) {
			values[l.start(x)] = int64(o.head[x])
			for _, y := range m.work[m.on[x]] {
				if o.at[x] < o.at[y] {
					values[l.binary(x, y)], values[l.binary(y, x)] = 1, 0
				}
			}
		}
		section, rows, binaries := "", 0, 0
		for _, line := range strings.Split(text.String(), "\n") {
			fields := strings.Fields(line)
			switch {
			case strings.HasPrefix(line, "\\") || len(fields) == 0:
			case !strings.HasPrefix(line, " "):
				section = line
			case section == "Subject To": // name: +c var ... >= right
				rows++
				sum, n := int64(0), len(fields)
				for i := 1; i < n-2; i += 2 {
					value, known := values[fields[i+1]]
					if !known {
						t.Fatalf("%s is no variable", fields[i+1])
					}
					sum += number(t, fields[i]) * value
				}
				if fields[n-2] != ">=" || sum < number(t, fields[n-1]) {
					t.Fatalf("%s: is %d", line, sum)
				}
			case section == "Bounds" && len(fields) == 5: // low <= var <= high
				if v := values[fields[2]]; v < number(t, fields[0]) || v > number(t, fields[4]) {
					t.Fatalf("%s: is %d", line, v)
				}
			case section == "Binaries":
				binaries++
				require.Contains(t, values, fields[0])
			}
		}
		require.Equal(t, "End", section)
		require.GreaterOrEqual(t, rows, len(m.cost))
		if p.Shape.Microbatches > 1 && p.Shape.Slices == 1 {
			require.Positive(t, binaries)
		}
	})
}

func number(t *rapid.T, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
