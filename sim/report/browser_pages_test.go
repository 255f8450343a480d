//go:build !invariants

package report_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/report"
)

var shots = flag.String("shots", "", "folder for pictures of the pages, to look at")

// shot writes a picture of the page where -shots says, and returns it.
func (p *tab) shot(name string, whole bool) []byte {
	p.t.Helper()
	var png []byte
	if whole {
		p.run(chromedp.FullScreenshot(&png, 100))
	} else {
		p.run(chromedp.CaptureScreenshot(&png))
	}
	if *shots != "" {
		require.NoError(p.t, os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644))
	}
	return png
}

// noOverflow asserts that nothing is wider than the screen.
func (p *tab) noOverflow() {
	p.t.Helper()
	require.LessOrEqual(p.t, js[float64](p, "document.documentElement.scrollWidth"), js[float64](p, "innerWidth"))
}

func pointsHTML(t testing.TB, page report.PointsPage) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, report.Points(&b, page))
	return b.Bytes()
}

// somePoints trade time for memory; every third does not fit, one was refused.
func somePoints() report.PointsPage {
	p := report.PointsPage{Title: "Some points", About: "Of a test.", Command: "sim run quickstart", X: "memory", Y: "time",
		Columns: []report.Column{{Key: "time", Name: "step time", Unit: "s", Better: report.Lower}, {Key: "memory", Name: "peak memory", Unit: "GiB", Better: report.Lower}, {Key: "mfu", Name: "MFU", Better: report.Higher}}}
	for i := range 60 {
		tp, pp, mode := 1<<(i%4), 1<<(i/4%3), []string{"none", "selective", "full"}[i%3]
		pt := report.Point{Name: fmt.Sprint(i), Status: report.StatusOK, Settings: map[string]string{"parallel.tp": fmt.Sprint(tp), "parallel.pp": fmt.Sprint(pp), "training.recompute": mode, "parallel.layers": "[1, 2]"},
			Values: []float64{10 + float64(i*7%23), 90 - float64(i*5%37) - 2*float64(i*7%23), 0.4}}
		if i%3 == 2 {
			pt.Status, pt.Note = "does not fit", "by 3 GiB"
		}
		if i == 8 {
			pt.Status, pt.Values = "refused", []float64{math.NaN(), math.NaN(), math.NaN()}
		}
		p.Points = append(p.Points, pt)
	}
	return p
}

// front is the definition: the points that none beats on both axes.
func frontOf(points []report.Point, keep func(*report.Point) bool, x, y int) (names []string) {
	for _, a := range points {
		beaten := !keep(&a)
		for _, b := range points {
			if keep(&b) && b.Values[x] <= a.Values[x] && b.Values[y] <= a.Values[y] && (b.Values[x] < a.Values[x] || b.Values[y] < a.Values[y]) {
				beaten = true
			}
		}
		if !beaten {
			names = append(names, a.Name)
		}
	}
	return names
}

// The page of points: its front is the Pareto front, filters change it, a point under
// the pointer tells its settings, a click gives its command.
func TestPointsInBrowser(t *testing.T) {
	some := somePoints()
	p := open(t, pointsHTML(t, some), 1400, 1000)
	names := func() []string {
		return js[[]string](p, "orrery.front.map(i => orrery.d.names[i]).sort((a, b) => a - b)")
	}
	ok := func(pt *report.Point) bool { return pt.Status == report.StatusOK }
	require.Equal(t, frontOf(some.Points, ok, 1, 0), names())
	require.NotEmpty(t, names())
	require.Contains(t, js[string](p, `$("said").textContent`), "40 of 60 points drawn; 20 do not count")

	p.run(chromedp.Click("#others", chromedp.ByQuery))
	p.until("orrery.drawn.length === 59")
	require.Contains(t, js[string](p, `$("said").textContent`), "1 have no value on these axes")
	p.run(chromedp.Click("#others", chromedp.ByQuery), chromedp.Click(`#filters [data-key="parallel.tp"][data-value="1"]`, chromedp.ByQuery))
	no1 := func(pt *report.Point) bool { return ok(pt) && pt.Settings["parallel.tp"] != "1" }
	require.Equal(t, frontOf(some.Points, no1, 1, 0), names())
	require.NotContains(t, js[[]string](p, `orrery.shown.map(i => orrery.d.settings.find(s => s.key === "parallel.tp").values[orrery.d.settings.find(s => s.key === "parallel.tp").at[i] - 1])`), "1")

	p.run(chromedp.Click("#x-log", chromedp.ByQuery), chromedp.Click("#y-log", chromedp.ByQuery))
	p.until("orrery.log.x && orrery.log.y && orrery.px.some(x => x > 0)")
	at := js[point](p, `(() => { const i = orrery.front[0], c = orrery.canvas.getBoundingClientRect(); return { X: c.left + orrery.px[i], Y: c.top + orrery.py[i] }; })()`)
	p.mouse(input.MouseMoved, at)
	p.until(`!$("tip").hidden`)
	tip := js[string](p, `$("tip").innerText`)
	for _, want := range []string{"on the front", "step time", "GiB", "parallel.tp", "training.recompute"} {
		require.Contains(t, tip, want)
	}
	p.click(at)
	p.until(`!$("chosen").hidden`)
	require.Regexp(t, `^sim run quickstart --set 'parallel.layers=\[1, 2\]' --set parallel.pp=\d --set parallel.tp=\d --set training.recompute=\w+$`, js[string](p, `$("command").value`))
	p.run(chromedp.SetValue("#y", "2", chromedp.ByQuery), chromedp.Evaluate(`$("y").dispatchEvent(new Event("change"))`, nil))
	p.until(`orrery.front.length === 1`) // all have the same MFU: the smallest memory it is
	p.run(chromedp.Click("#table th:nth-child(5) button", chromedp.ByQuery))
	require.Equal(t, "ascending", js[string](p, `document.querySelector("#table th:nth-child(5)").getAttribute("aria-sort")`))
	p.shot("points", true)

	empty := open(t, pointsHTML(t, report.PointsPage{Title: "none", Columns: some.Columns}), 1000, 700)
	require.Contains(t, js[string](empty, `$("said").textContent`), "0 of 0 points drawn")
}

// Themes, and a phone: nothing is wider than 390 pixels, a finger moves and pinches.
func TestThemesAndPhoneInBrowser(t *testing.T) {
	step := stepPage(t, sim.Options{})
	for name, html := range map[string][]byte{"step": step, "points": pointsHTML(t, somePoints())} {
		p := open(t, html, 390, 844)
		p.noOverflow()
		paper := `getComputedStyle(document.body).backgroundColor`
		light := js[string](p, paper)
		p.shot("phone-"+name, true)
		p.run(chromedp.Click("#theme", chromedp.ByQuery))
		p.until(paper + ` !== "` + light + `"`)
		p.shot("phone-dark-"+name, true)
		p.run(chromedp.Click("#theme", chromedp.ByQuery))
		p.until(paper + ` === "` + light + `"`)
		p.run(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
		require.Equal(t, light, js[string](p, paper), "who has chosen keeps the choice")
	}
	p := open(t, step, 390, 844)
	p.run(chromedp.ScrollIntoView("#gantt", chromedp.ByQuery))
	c := js[point](p, `(() => { const c = orrery.gantt.canvas.getBoundingClientRect(); return { X: c.left, Y: c.top + 40 }; })()`)
	touch := func(kind input.TouchType, xs ...float64) {
		var points []*input.TouchPoint
		for i, x := range xs {
			points = append(points, &input.TouchPoint{X: c.X + x, Y: c.Y, ID: float64(i + 1)})
		}
		p.run(input.DispatchTouchEvent(kind, points))
	}
	p.run(emulation.SetTouchEmulationEnabled(true))
	span := js[float64](p, "orrery.gantt.t1 - orrery.gantt.t0")
	touch(input.TouchStart, 150)
	touch(input.TouchStart, 150, 200)
	touch(input.TouchMove, 130, 220)
	touch(input.TouchMove, 100, 260)
	touch(input.TouchEnd)
	p.until(fmt.Sprintf("orrery.gantt.t1 - orrery.gantt.t0 < %v", span*0.6))
	from := js[float64](p, "orrery.gantt.t0")
	touch(input.TouchStart, 250)
	touch(input.TouchMove, 220)
	touch(input.TouchMove, 180)
	touch(input.TouchEnd)
	p.until(fmt.Sprintf("orrery.gantt.t0 > %v", from))
	x, y := c.X+200, c.Y
	p.run(input.DispatchTouchEvent(input.TouchStart, []*input.TouchPoint{{X: x, Y: y}}), input.DispatchTouchEvent(input.TouchEnd, nil))
	p.until(`!$("detail").hidden`)
}

// On paper the page is light, the tools are gone, and every rank is there.
func TestPrintInBrowser(t *testing.T) {
	p := open(t, stepPage(t, sim.Options{}, "parallel.pp=16", "parallel.vp=1", "parallel.tp=1", "parallel.cp=1"), 1000, 700)
	const theme = "document.documentElement.dataset.theme"
	for range 2 { // the browser keeps what was chosen before
		if js[string](p, theme+` ?? ""`) != "dark" {
			p.run(chromedp.Click("#theme", chromedp.ByQuery))
		}
	}
	require.Equal(t, "dark", js[string](p, theme))
	require.Less(t, js[float64](p, "orrery.gantt.height"), js[float64](p, "orrery.gantt.full"), "ranks scroll on the screen")
	p.run(chromedp.Evaluate(`window.print_heights = []; addEventListener("beforeprint", () => print_heights.push(orrery.gantt.height, orrery.gantt.full, document.documentElement.dataset.theme))`, nil))
	printed := func() (pdf []byte) {
		p.run(chromedp.ActionFunc(func(ctx context.Context) (err error) {
			pdf, _, err = page.PrintToPDF().WithPrintBackground(true).Do(ctx)
			return err
		}))
		return pdf
	}
	pdf := printed()
	require.True(t, bytes.HasPrefix(pdf, []byte("%PDF")))
	if *shots != "" {
		require.NoError(t, os.WriteFile(filepath.Join(*shots, "print.pdf"), pdf, 0o644))
	}
	got := js[[]any](p, "print_heights")
	require.Len(t, got, 3)
	require.Greater(t, got[0], got[1])
	require.Equal(t, "light", got[2])
	require.Equal(t, "dark", js[string](p, theme), "the screen is as before")

	p.run(chromedp.Evaluate(`orrery.gantt.most = 200; addEventListener("beforeprint", () => { window.print_said = $("printed").hidden ? "" : $("printed").textContent })`, nil))
	printed()
	require.Regexp(t, `^Printed are the first \d of 16 ranks\.$`, js[string](p, "print_said"))
	require.True(t, js[bool](p, `$("printed").hidden`))
}

// Names that would end the page's script or its markup are text.
func TestNamesAreEscaped(t *testing.T) {
	const evil = `</script><script>window.evil = 1</script><img src=x onerror="evil=2"> & 'quoted'`
	res, err := scenarios.Parse("evil.toml", []byte("base = \"quickstart\"\nname = '''"+evil+"'''\n"), nil, nil)
	if err != nil { // the language may refuse such names: then set it past that
		res, err = scenarios.Load("quickstart", nil)
		require.NoError(t, err)
		res.Scenario.Name = evil
	}
	run, err := sim.Simulate(t.Context(), &res.Scenario, sim.Options{})
	require.NoError(t, err)
	run.Program.Works[0].Name = evil
	run.Result.Warnings = append(run.Result.Warnings, evil)
	var step bytes.Buffer
	require.NoError(t, report.HTML(&step, run))
	points := somePoints()
	points.Title, points.About, points.Command = evil, evil, evil
	points.Points[0].Settings[evil], points.Points[0].Note, points.Points[1].Status = evil, evil, evil
	points.Columns[0].Name = evil
	for name, html := range map[string][]byte{"step": step.Bytes(), "points": pointsHTML(t, points)} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, 2, strings.Count(string(html), "<script"), "the data and the script")
			require.Equal(t, 2, strings.Count(string(html), "</script"))
			require.NotContains(t, string(html), "<img")
			require.NotRegexp(t, regexp.MustCompile(`(src|href)="[^d#]`), string(html))
			p := open(t, html, 1000, 700)
			require.Equal(t, evil, js[string](p, `document.querySelector("h1").textContent`))
			require.Equal(t, "undefined", js[string](p, "typeof window.evil"))
		})
	}
}
