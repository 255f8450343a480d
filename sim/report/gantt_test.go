package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawGantt(t *rapid.T) Gantt {
	g := Gantt{Title: rapid.StringMatching(`[a-z <&"]{0,20}`).Draw(t, "title")}
	for d := range rapid.IntRange(1, 4).Draw(t, "lanes") {
		lane, at := GanttLane{Name: fmt.Sprint("device ", d)}, 0.0
		for i := range rapid.IntRange(0, 30).Draw(t, "bars") {
			at += float64(rapid.IntRange(0, 3).Draw(t, "idle"))
			end := at + float64(rapid.IntRange(0, 5).Draw(t, "length"))
			lane.Bars = append(lane.Bars, GanttBar{at, end, rapid.SampledFrom([]string{"F", "B", "I", "W", "S"}).Draw(t, "kind"), fmt.Sprint(i), d, false})
			if rapid.Bool().Draw(t, "pair") {
				lane.Bars = append(lane.Bars, GanttBar{at, end, "B", fmt.Sprint(i), d, true})
			}
			at = end
		}
		g.End = max(g.End, at)
		g.Lanes = append(g.Lanes, lane)
	}
	return g
}

// Every line fits, lanes are as wide as each other, and without colour nothing
// but text is printed.
func TestTextGantt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGantt(t)
		var b bytes.Buffer
		require.NoError(t, TextGantt(&b, g, false))
		require.NotContains(t, b.String(), "\x1b")
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if g.End == 0 {
			require.Contains(t, lines[0], "nothing to draw")
			return
		}
		for i := range g.Lanes {
			require.LessOrEqual(t, len(lines[i]), Width)
			require.Len(t, lines[i], len(lines[0]))
		}
	})
}

// Where a column is at most a unit, a column idles exactly where the device does.
func TestTextGanttColumns(t *testing.T) {
	lane := GanttLane{Bars: []GanttBar{{0, 2, "F", "0", 0, false}, {3, 4, "B", "0", 0, false}}}
	require.Equal(t, []int{0, 0, 0, 0, -1, -1, 1, 1}, columnsOf(lane, 4, 8))
	require.Equal(t, []int{0, 1}, columnsOf(lane, 4, 2), "half a column of a pass is drawn")
	var b bytes.Buffer
	require.NoError(t, TextGantt(&b, Gantt{Lanes: []GanttLane{lane}, End: 4}, true))
	require.Contains(t, b.String(), "\x1b[")
}

// The passes of a pair share their columns, and a picture their height.
func TestGanttPairs(t *testing.T) {
	g := Gantt{End: 12, Lanes: []GanttLane{{Name: "d", Bars: []GanttBar{
		{Start: 0, End: 4, Kind: "F", Label: "7"}, {Start: 0, End: 4, Kind: "B", Label: "0", Paired: true},
		{Start: 6, End: 12, Kind: "F", Label: "123"}, {Start: 6, End: 12, Kind: "B", Label: "456", Paired: true},
	}}}}
	require.Equal(t, []int{0, 0, -1, 2, 2, 2}, columnsOf(g.Lanes[0], g.End, 6))
	p := &printer{}
	require.Equal(t, "F7B0--", p.cell(g.Lanes[0].Bars[:2], 6))
	require.Equal(t, "FBFBF", p.cell(g.Lanes[0].Bars[2:], 5))
	var b bytes.Buffer
	require.NoError(t, SVGGantt(&b, g))
	require.Equal(t, 4, strings.Count(b.String(), `height="10.00" fill=`))
}

// The picture is well-formed XML whatever the title, with a rectangle a pass
// that takes time.
func TestSVGGantt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGantt(t)
		var b bytes.Buffer
		require.NoError(t, SVGGantt(&b, g))
		want := 0
		for _, lane := range g.Lanes {
			for _, bar := range lane.Bars {
				if bar.End > bar.Start {
					want++
				}
			}
		}
		require.Equal(t, want, strings.Count(b.String(), "fill-opacity"))
		for d := xml.NewDecoder(&b); ; {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
		}
	})
}
