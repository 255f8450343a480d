//go:build !invariants

package report_test

import (
	"bytes"
	"cmp"
	"flag"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"orrery/sim"
	"orrery/sim/report"
)

var update = flag.Bool("update", false, "draw docs/report.png again")

const picture = "../../docs/report.png"

// The README's picture is a report with a pass of the second stage under the pointer:
//
//	go test ./sim/report -run Picture -update
//
// draws it again. Fonts differ between machines, so that it is not compared; it is held
// to what the README has room for.
func TestPicture(t *testing.T) {
	if *update {
		var html bytes.Buffer
		require.NoError(t, report.HTML(&html, simulateScenario(t, "deepseek-v3-dualpipev-h800", sim.Options{})))
		p := open(t, html.Bytes(), 1400, 1010)
		p.run(chromedp.Click("#lanes-all", chromedp.ByQuery), chromedp.Evaluate("orrery.gantt.show(0, orrery.tl.makespan * 0.36)", nil))
		slice := js[int](p, `(() => { const t = orrery.tl, l = t.lanes.find(l => l.rank === 4); for (let i = l.from; ; i++) if (t.kindName(i) === "backward" && t.laneOf(t.blocker[i]) !== t.laneOf(i) && t.start[i] > t.makespan * 0.13) return i; })()`)
		p.mouse(input.MouseMoved, p.slicePoint(slice))
		p.until(`!$("tip").hidden`)
		small, err := quantised(p.shot("picture", false))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(picture, small, 0o644))
	}
	b, err := os.ReadFile(picture)
	require.NoError(t, err)
	require.LessOrEqual(t, len(b), 250<<10)
	c, err := png.DecodeConfig(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, 1400, c.Width)
}

// quantised keeps the 256 commonest colours of a picture, of those that look alike one.
func quantised(b []byte) ([]byte, error) {
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	type shade [3]uint32
	count := map[shade]map[shade]int{} // of colours, by their upper five bits
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			alike := shade{r >> 11, g >> 11, b >> 11}
			if count[alike] == nil {
				count[alike] = map[shade]int{}
			}
			count[alike][shade{r >> 8, g >> 8, b >> 8}]++
		}
	}
	byCount := func(of map[shade]int) []shade {
		return slices.SortedFunc(maps.Keys(of), func(a, b shade) int { return cmp.Or(of[b]-of[a], slices.Compare(a[:], b[:])) })
	}
	commonest := map[shade]int{}
	for _, of := range count {
		sum := 0
		for _, n := range of {
			sum += n
		}
		commonest[byCount(of)[0]] = sum
	}
	var palette color.Palette
	for _, s := range byCount(commonest) {
		if len(palette) < 256 {
			palette = append(palette, color.RGBA{uint8(s[0]), uint8(s[1]), uint8(s[2]), 255})
		}
	}
	out := image.NewPaletted(img.Bounds(), palette)
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			out.Set(x, y, img.At(x, y))
		}
	}
	var small bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, out)
	return small.Bytes(), err
}
