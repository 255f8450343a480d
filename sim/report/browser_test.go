//go:build !invariants

// What is tested in a browser does not depend on the engine's own checks, so that it is
// left out where they are on.

package report_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/report"
)

// browser is one headless Chromium for all tests; CHROMIUM names another binary.
var browser = sync.OnceValues(func() (context.Context, error) {
	binary := os.Getenv("CHROMIUM")
	if binary == "" {
		binary = "chromium"
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		return nil, err
	}
	options := append([]chromedp.ExecAllocatorOption{chromedp.ExecPath(path)}, chromedp.DefaultExecAllocatorOptions[:]...)
	for _, flag := range []string{"no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic", "disable-component-update"} { // as .ci/report-smoke
		options = append(options, chromedp.Flag(flag, true))
	}
	all, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(all)
	closeBrowser = func() { _ = chromedp.Cancel(ctx); stop() }
	return ctx, chromedp.Run(ctx)
})

var closeBrowser = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	closeBrowser()
	os.Exit(code)
}

// tab is a page that is open.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// open writes a page to a file and opens it, w pixels wide. The test fails if the page
// logs anything or asks for anything beyond its file.
func open(t *testing.T, html []byte, w, h int64) *tab {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no browser")
	}
	root, err := browser()
	if err != nil {
		t.Skipf("no headless chromium (set CHROMIUM): %v", err)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	require.NoError(t, os.WriteFile(file, html, 0o600))
	ctx, stop := chromedp.NewContext(root)
	t.Cleanup(stop)
	ctx, stopTime := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(stopTime)
	var mu sync.Mutex
	var said []string
	chromedp.ListenTarget(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventConsoleAPICalled:
			for _, a := range ev.Args {
				said = append(said, string(a.Value)+a.Description)
			}
		case *runtime.EventExceptionThrown:
			said = append(said, ev.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			said = append(said, ev.Entry.Text)
		case *network.EventRequestWillBeSent:
			if u := ev.Request.URL; u != "file://"+file && !strings.HasPrefix(u, "data:") {
				said = append(said, "asks for "+u)
			}
		}
	})
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		require.Empty(t, said)
	})
	p := &tab{t, ctx}
	p.run(network.Enable(), log.Enable(), chromedp.EmulateViewport(w, h), chromedp.Navigate("file://"+file))
	return p
}

func (p *tab) run(actions ...chromedp.Action) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Run(p.ctx, actions...))
}

// js evaluates an expression of the page.
func js[T any](p *tab, expression string) (out T) {
	p.t.Helper()
	p.run(chromedp.Evaluate(expression, &out, func(e *runtime.EvaluateParams) *runtime.EvaluateParams { return e.WithAwaitPromise(true) }))
	return out
}

// until waits for an expression to be true.
func (p *tab) until(expression string) {
	p.t.Helper()
	p.run(chromedp.Poll(expression, nil, chromedp.WithPollingTimeout(20*time.Second)))
}

type point struct{ X, Y float64 }

func (p *tab) mouse(kind input.MouseType, at point, more ...func(*input.DispatchMouseEventParams)) {
	p.t.Helper()
	m := input.DispatchMouseEvent(kind, at.X, at.Y)
	for _, f := range more {
		f(m)
	}
	p.run(m)
}

func left(m *input.DispatchMouseEventParams) { m.Button, m.ClickCount = input.Left, 1 }
func held(m *input.DispatchMouseEventParams) { m.Button, m.Buttons = input.Left, 1 }
func wheel(dy float64) func(*input.DispatchMouseEventParams) {
	return func(m *input.DispatchMouseEventParams) { m.DeltaY = dy }
}

func (p *tab) click(at point) {
	p.t.Helper()
	p.mouse(input.MousePressed, at, left)
	p.mouse(input.MouseReleased, at, left)
}

func (p *tab) keys(keys string) { p.t.Helper(); p.run(chromedp.KeyEvent(keys)) }

// slicePoint is the middle of a slice on the screen.
func (p *tab) slicePoint(i int) point {
	p.t.Helper()
	return js[point](p, fmt.Sprintf(`(() => { const g = orrery.gantt, b = g.box(%d), c = g.canvas.getBoundingClientRect();
		return { X: c.left + b.x + b.w / 2, Y: c.top + AXIS + b.y + b.h / 2 - g.scroller.scrollTop }; })()`, i))
}

func simulate(t testing.TB, options sim.Options, sets ...string) *sim.Run {
	t.Helper()
	return simulateScenario(t, "quickstart", options, sets...)
}

func simulateScenario(t testing.TB, scenario string, options sim.Options, sets ...string) *sim.Run {
	t.Helper()
	res, err := scenarios.Load(scenario, sets)
	require.NoError(t, err)
	run, err := sim.Simulate(context.Background(), &res.Scenario, options)
	require.NoError(t, err)
	return run
}

func stepPage(t testing.TB, options sim.Options, sets ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, report.HTML(&b, simulate(t, options, sets...)))
	return b.Bytes()
}

// What a person does with the timeline: points at an op, pins it, goes to what it waited
// for, zooms, drags, searches, follows the critical path, walks with the keys.
func TestTimelineInBrowser(t *testing.T) {
	p := open(t, stepPage(t, sim.Options{}), 1400, 1000)
	run := simulate(t, sim.Options{})
	require.Equal(t, run.Program.Len(), js[int](p, "orrery.tl.n"))
	require.Regexp(t, `\d`, js[string](p, `$("step-time").textContent`))

	p.run(chromedp.Focus(".scroller", chromedp.ByQuery)) // keyboard first: nothing is selected yet
	p.keys(kb.ArrowRight)
	require.Equal(t, 0, js[int](p, "orrery.explorer.selected"))
	p.keys(kb.ArrowRight)
	p.keys(kb.ArrowDown)
	require.Equal(t, 1, js[int](p, "orrery.tl.laneOf(orrery.explorer.selected)"))
	p.keys("-")
	p.keys("0")
	long := js[int](p, `(() => { const t = orrery.tl, l = t.lanes[0]; let best = l.from; for (let i = l.from; i < l.to; i++) if (t.end[i] - t.start[i] > t.end[best] - t.start[best] && t.blocker[i] >= 0 && t.laneOf(t.blocker[i]) > 0) best = i; return best; })()`)
	p.mouse(input.MouseMoved, p.slicePoint(long))
	p.until(`!$("tip").hidden`)
	tip := js[string](p, `$("tip").innerText`)
	for _, want := range []string{"backward of microbatch", "stage 0, compute (stands for 16 GPUs)", "±", "fitted", "waited for", "class"} {
		require.Contains(t, tip, want)
	}

	p.click(p.slicePoint(long))
	p.until(fmt.Sprintf(`orrery.gantt.pinned === %d && !$("detail").hidden`, long))
	detail := js[string](p, `$("detail").innerText`)
	require.Contains(t, detail, "gemm") // kernels with their shapes
	p.run(chromedp.Click(`#detail button:nth-child(2)`, chromedp.ByQuery))
	p.until("orrery.gantt.stats.kernels > 10") // near enough to see them
	p.mouse(input.MouseMoved, p.slicePoint(long))
	p.until(`$("tip").innerText.startsWith($("detail").querySelector("h3").innerText + "\nkernel\n")`)
	p.shot("pinned", false)
	p.run(chromedp.Click(`#detail button`, chromedp.ByQuery))
	p.until(fmt.Sprintf(`orrery.gantt.pinned === orrery.tl.blocker[%d]`, long))

	p.run(chromedp.Click("#zoom-all", chromedp.ByQuery))
	middle := js[point](p, `(() => { const c = orrery.gantt.canvas.getBoundingClientRect(); return { X: c.left + c.width / 2, Y: c.top + 60 }; })()`)
	span := `orrery.gantt.t1 - orrery.gantt.t0`
	whole, under := js[float64](p, span), js[float64](p, fmt.Sprintf("orrery.gantt.t(%v - orrery.gantt.canvas.getBoundingClientRect().left)", middle.X))
	p.mouse(input.MouseWheel, middle, wheel(-400))
	p.until(fmt.Sprintf("%s < %v", span, 0.7*whole))
	require.InEpsilon(t, under, js[float64](p, fmt.Sprintf("orrery.gantt.t(%v - orrery.gantt.canvas.getBoundingClientRect().left)", middle.X)), 1e-6, "what is under the pointer stays there")

	from := js[float64](p, "orrery.gantt.t0")
	p.mouse(input.MousePressed, middle, left)
	p.mouse(input.MouseMoved, point{middle.X - 150, middle.Y}, held)
	p.mouse(input.MouseMoved, point{middle.X - 200, middle.Y}, held)
	p.mouse(input.MouseReleased, point{middle.X - 200, middle.Y}, left)
	require.InEpsilon(t, from+200/js[float64](p, "orrery.gantt.plot")*js[float64](p, span), js[float64](p, "orrery.gantt.t0"), 1e-6)

	p.run(chromedp.SendKeys("#search", "pipeline send mb:3", chromedp.ByQuery))
	hits := js[int](p, "orrery.tl.hits[orrery.tl.n]")
	require.Equal(t, 2*19, hits, "forwards and backwards of microbatch 3 over 20 stages")
	p.keys("\r")
	p.until(fmt.Sprintf(`$("hits").textContent.endsWith(" of %d")`, hits))
	require.True(t, js[bool](p, "orrery.tl.isHit(orrery.explorer.selected)"))
	nth := `parseInt($("hits").textContent)`
	first := js[int](p, nth)
	p.run(chromedp.Click("#hit-next", chromedp.ByQuery))
	require.Equal(t, first%hits+1, js[int](p, nth))
	for range hits {
		p.run(chromedp.Evaluate(`$("hit-prev").click()`, nil))
	}
	require.Equal(t, first%hits+1, js[int](p, nth), "all the way round")

	p.run(chromedp.Focus(".scroller", chromedp.ByQuery))
	before := js[int](p, "orrery.explorer.selected")
	p.keys("b")
	require.Equal(t, js[int](p, fmt.Sprintf("orrery.tl.blocker[%d]", before)), js[int](p, "orrery.explorer.selected"))
	p.keys("]")
	require.True(t, js[bool](p, "orrery.tl.isOnPath(orrery.explorer.selected)"))
	require.NotEmpty(t, js[string](p, `$("spoken").textContent`))
	at := js[int](p, "orrery.tl.path.indexOf(orrery.explorer.selected)")
	p.run(chromedp.Click("#path-next", chromedp.ByQuery))
	require.Equal(t, at+1, js[int](p, "orrery.tl.path.indexOf(orrery.explorer.selected)"))
	p.run(chromedp.Focus(".scroller", chromedp.ByQuery))
	p.keys("0")
	require.InEpsilon(t, whole, js[float64](p, span), 1e-9)
}

// Memory: the tip's total is the run's, at the peak of the rank chosen.
func TestMemoryInBrowser(t *testing.T) {
	p := open(t, stepPage(t, sim.Options{}), 1400, 1400)
	run := simulate(t, sim.Options{})
	for rank := range run.Step.Lanes {
		most := int64(0)
		for _, pt := range run.MemoryCurve(rank) {
			most = max(most, pt.Bytes)
		}
		p.run(chromedp.SetValue("#memory-rank", fmt.Sprint(rank), chromedp.ByQuery), chromedp.Evaluate(`$("memory-rank").dispatchEvent(new Event("change"))`, nil))
		require.InDelta(t, float64(most), js[float64](p, `orrery.memory.shown.peak + orrery.memory.parts.reduce((s, q) => s + (q.bytes || 0), 0)`), 8, "fractions of bytes that the ledger has")
	}
	p.run(chromedp.ScrollIntoView("#memory", chromedp.ByQuery))
	p.mouse(input.MouseMoved, js[point](p, `(() => { const c = $("memory").getBoundingClientRect(); return { X: c.left + c.width / 2, Y: c.top + 100 }; })()`))
	p.until(`!$("tip").hidden`)
	require.Regexp(t, `GiB\n[^$]*activations`, js[string](p, `$("tip").innerText`))
}

// A step of more than 200,000 slices: a frame draws at most a band for each kind, pixel
// and row.
func TestManySlicesInBrowser(t *testing.T) {
	html := stepPage(t, sim.Options{}, "training.global_batch=6400")
	p := open(t, html, 1400, 1000)
	n := js[int](p, "orrery.tl.n")
	require.Greater(t, n, 200_000)
	require.Less(t, len(html), 5<<20)
	p.until("orrery.gantt.stats.frames > 0")
	bound := js[float64](p, "orrery.gantt.rows.reduce((s, r) => s + orrery.gantt.plot * orrery.tl.lanes[r.lane].kinds.length, 0)")
	drawn := func() float64 { return js[float64](p, "orrery.gantt.stats.rects") }
	require.Less(t, drawn(), bound)
	require.Less(t, drawn(), float64(n)/4)
	frames := js[map[string]float64](p, `new Promise(done => {
		const g = orrery.gantt, begin = performance.now(), first = g.stats.frames;
		let k = 0, most = 0;
		g.show(0, g.tl.makespan / 2);
		const step = () => { most = Math.max(most, g.stats.rects); if (++k > 40) return done({ ms: (performance.now() - begin) / k, frames: g.stats.frames - first, most }); g.pan(12); requestAnimationFrame(step); };
		requestAnimationFrame(step);
	})`)
	t.Logf("%d slices, page of %.1f MiB; panning %v frames at %.1f ms, at most %v rectangles a frame (bound %v)", n, float64(len(html))/(1<<20), frames["frames"], frames["ms"], frames["most"], bound)
	require.GreaterOrEqual(t, frames["frames"], 35.0)
	require.Less(t, frames["most"], bound)
	p.run(chromedp.SendKeys("#search", "send", chromedp.ByQuery))
	require.Positive(t, js[int](p, "orrery.tl.hits[orrery.tl.n]"))
}
