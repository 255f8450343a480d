package report

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// At every instant the stream of merged curves has what each curve has then.
func TestMergedCurves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		curves := make([][]timeline.MemoryPoint, rapid.IntRange(1, 3).Draw(t, "classes"))
		for c := range curves {
			at := unit.Time(0)
			for range rapid.IntRange(0, 12).Draw(t, "points") {
				at += unit.Time(rapid.IntRange(1, 4).Draw(t, "after"))
				curves[c] = append(curves[c], timeline.MemoryPoint{At: at, Bytes: rapid.Int64Range(0, 1<<40).Draw(t, "bytes")})
			}
		}
		buf, n := mergeCurves(curves)
		r := newReader(t, base64.StdEncoding.EncodeToString(buf))
		held := make([]int64, len(curves))
		now := unit.Time(0)
		for range n {
			next := now + unit.Time(r.u())
			for at := now + 1; at < next; at++ {
				require.Equal(t, at0(curves, at), held, "a change at %d is missing", at)
			}
			now = next
			for c := range held {
				held[c] += r.z()
			}
			require.Equal(t, at0(curves, now), held)
		}
		require.Empty(t, r.b)
		require.Equal(t, at0(curves, 1<<40), held)
	})
}

// at0 is what curves that start at nothing hold at a time.
func at0(curves [][]timeline.MemoryPoint, at unit.Time) []int64 {
	out := make([]int64, len(curves))
	for c, curve := range curves {
		for _, pt := range curve {
			if pt.At <= at {
				out[c] = pt.Bytes
			}
		}
	}
	return out
}
