package serve

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"orrery/sim/sweep"
)

// browse opens a headless Chromium with the flags of .ci/report-smoke. What it logs to
// its console, which the page does nothing to, fails the test at the end.
func browse(t *testing.T) context.Context {
	t.Helper()
	name := os.Getenv("CHROMIUM")
	if name == "" {
		name = "chromium"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s to open the page with; install chromium or set CHROMIUM", name)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WindowSize(1400, 1000),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	chromedp.ListenTarget(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page threw: %s", ev.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			t.Errorf("the console says: %s %s", ev.Entry.Text, ev.Entry.URL)
		}
	})
	return ctx
}

// shoot writes a screenshot to the folder of SHOTS, for people to look at.
func shoot(name string) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		dir := os.Getenv("SHOTS")
		if dir == "" {
			return nil
		}
		var png []byte
		if err := chromedp.FullScreenshot(&png, 100).Do(ctx); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	})
}

// text waits until an element has a text with a part in it.
func text(selector, part string) chromedp.Action {
	return chromedp.PollFunction(`(s, p) => document.querySelector(s)?.textContent.includes(p)`, nil, chromedp.WithPollingArgs(selector, part), chromedp.WithPollingTimeout(30*time.Second))
}

// With real clicks and keys: a scenario is picked and broken, the error stands at its
// line, is mended, run and shown; two runs are compared; a sweep is filtered.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a browser takes long to start")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "small.toml"), []byte(small), 0o600))
	spec := "name = \"s\"\nscenario = \"small.toml\"\n[[axis]]\nkey = \"parallel.tp\"\nvalues = [1, 2, 4, 8]\n[[axis]]\nkey = \"training.micro_batch\"\nvalues = [1, 2]\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "s.toml"), []byte(spec), 0o600))
	sp, err := sweep.Load(filepath.Join(dir, "s.toml"))
	require.NoError(t, err)
	_, err = sweep.Run(context.Background(), sp, sweep.Options{Dir: filepath.Join(dir, "s.sweep"), Workers: 1})
	require.NoError(t, err)

	c := start(t, func(cfg *Config) { cfg.Dir = dir })
	ctx := browse(t)
	var mark, problem, step, report, change, points string
	var bands int
	light := func(scheme string) chromedp.Action {
		return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}})
	}
	require.NoError(t, chromedp.Run(ctx,
		light("light"),
		chromedp.Navigate(c.web.URL+"/"),
		text("#verdict", "valid · 64 GPUs"), // the quickstart's
		text("#origins", "derived: gpus / (tp x cp x pp)"),

		// A key that is not there: the error stands at its line.
		chromedp.Evaluate(`(() => { const t = document.getElementById('toml'); t.focus(); const at = t.value.indexOf('[parallel]\n') + 11; t.setSelectionRange(at, at); })()`, nil),
		chromedp.KeyEvent("tpp = 4\n"),
		text("#verdict", "1 problem"),
		chromedp.Text(".mark span", &mark),
		chromedp.Text("#problems li", &problem),
		chromedp.Evaluate(`document.querySelectorAll('.mark').length`, &bands),
		shoot("error"),
		chromedp.Click("#problems button"),
		chromedp.Evaluate(`(() => { const t = document.getElementById('toml'); t.setSelectionRange(t.selectionStart, t.value.indexOf('\n', t.selectionStart) + 1); })()`, nil),
		chromedp.KeyEvent("\b"),
		text("#verdict", "valid"),

		// Help of the key at the cursor.
		chromedp.Evaluate(`(() => { const t = document.getElementById('toml'); const at = t.value.indexOf('global_batch'); t.setSelectionRange(at, at); t.dispatchEvent(new Event('keyup')); })()`, nil),
		text("#help", "Sequences of one step."),

		// Run it, look at the result and the report.
		chromedp.Click("#run"),
		text("#now .state", "done"),
		chromedp.Text("#now .card b", &step),
		shoot("light"),
		chromedp.Evaluate(`document.querySelector('#now a').href`, &report),

		// Run it with an override, compare.
		chromedp.SendKeys("#set-key", "training.recompute"),
		chromedp.SendKeys("#set-value", "full\r"),
		text("#sets", "training.recompute=full"),
		text("#origins", "--set"),
		chromedp.Click("#run"),
		text("#now", "run 2"),
		text("#now .state", "done"),
		chromedp.Click(`nav a[href="#runs"]`),
		text("#list", "training.recompute=full"),
		shoot("runs"),
		chromedp.Click(`#list a[href="#compare?a=1&b=2"]`),
		text("#inputs", "training.recompute"),
		chromedp.Text("#step", &change),
		shoot("compare"),

		// Sweeps, each with a page of its own.
		chromedp.Click(`nav a[href="#sweeps"]`),
		text("#sweep-list", "s.sweep"),
		chromedp.AttributeValue("#sweep-list a", "href", &points, nil),
		shoot("sweeps"),

		// As it is in the dark, and on a phone.
		light("dark"),
		chromedp.Click(`nav a[href="#scenario"]`),
		shoot("dark"),
		chromedp.Click(`nav a[href="#compare"]`),
		text("#inputs", "training.recompute"),
		shoot("compare-dark"),
		light("light"),
		chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile),
		shoot("phone-compare"),
		chromedp.Click(`nav a[href="#runs"]`),
		shoot("phone-runs"),
		chromedp.Click(`nav a[href="#scenario"]`),
		shoot("phone"),
	))
	require.Contains(t, mark, "unknown key — did you mean parallel.tp?")
	require.Contains(t, problem, "parallel.tpp: unknown key")
	require.Equal(t, 1, bands)
	require.Regexp(t, `^\d+(\.\d+)? (m?s)$`, step)
	require.Contains(t, change, "memory saved")
	var wide bool
	require.NoError(t, chromedp.Run(ctx, chromedp.Evaluate(`document.documentElement.scrollWidth > innerWidth`, &wide)))
	require.False(t, wide, "a phone scrolls down only")

	// The report is the run's own, and runs apart from the page.
	var title, origin string
	require.NoError(t, chromedp.Run(ctx, chromedp.EmulateReset(), chromedp.Navigate(report), chromedp.Text("#step-time", &title),
		chromedp.Evaluate(`self.origin`, &origin)))
	require.True(t, strings.HasPrefix(title, strings.Fields(step)[0]), "%s in the report, %s beside the scenario", title, step)
	require.Equal(t, "null", origin)

	var about string
	require.NoError(t, chromedp.Run(ctx, chromedp.Navigate(c.web.URL+points), chromedp.Text(".sub", &about), chromedp.Evaluate(`self.origin`, &origin), shoot("points")))
	require.Contains(t, about, "A sweep of 8 points")
	require.Equal(t, "null", origin)
}
