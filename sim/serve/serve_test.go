package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/compare"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a scenario that runs in no time.
const small = `cluster = { gpu = "h100", gpus = 8 }
training = { sequence_length = 1024, global_batch = 16 }
[model]
layers = 4
hidden = 1024
heads = 8
vocab = 32000
ffn = 4096
`

// slow is a scenario that takes a while and yet little memory: what it tries to make it
// fit is many runs.
var slow = Asked{Name: "quickstart", Sets: []string{"training.microbatches=20000", "training.global_batch=auto"}}

// client talks to a server of a test.
type client struct {
	t   testing.TB
	s   *Server
	web *httptest.Server
}

func start(t testing.TB, change func(*Config)) *client {
	t.Helper()
	cfg := Config{Workers: 2, Keep: 50, MaxOps: DefaultMaxOps, Log: io.Discard}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	require.NoError(t, err)
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		s.stop()
		web.Close()
		require.NoError(t, s.Close())
	})
	return &client{t, s, web}
}

// do sends a request; a body other than a text is JSON.
func (c *client) do(method, path string, body any, change ...func(*http.Request)) (status int, text string, head http.Header) {
	c.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		require.NoError(c.t, err)
		in = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, c.web.URL+path, in)
	require.NoError(c.t, err)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, f := range change {
		f(r)
	}
	web := *c.web.Client()
	web.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := web.Do(r)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return resp.StatusCode, string(out), resp.Header
}

// get reads an answer of 200 into v.
func (c *client) get(path string, v any) {
	c.t.Helper()
	status, text, _ := c.do("GET", path, nil)
	require.Equal(c.t, http.StatusOK, status, text)
	require.NoError(c.t, json.Unmarshal([]byte(text), v), text)
}

// submit queues a run and returns its number.
func (c *client) submit(a Asked) string {
	c.t.Helper()
	status, text, head := c.do("POST", "/api/runs", a)
	require.Equal(c.t, http.StatusAccepted, status, text)
	var v View
	require.NoError(c.t, json.Unmarshal([]byte(text), &v))
	require.Equal(c.t, "/api/runs/"+v.ID, head.Get("Location"))
	return v.ID
}

// follow reads a run's events to the end and returns them.
func (c *client) follow(id string) (views []View) {
	c.t.Helper()
	status, text, head := c.do("GET", "/api/runs/"+id+"/events", nil)
	require.Equal(c.t, http.StatusOK, status)
	require.Equal(c.t, "text/event-stream", head.Get("Content-Type"))
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var v View
			require.NoError(c.t, json.Unmarshal([]byte(data), &v))
			views = append(views, v)
		}
	}
	require.NotEmpty(c.t, views)
	return views
}

// run runs a scenario to its end.
func (c *client) run(a Asked) View {
	c.t.Helper()
	views := c.follow(c.submit(a))
	return views[len(views)-1]
}

// The same scenario gives the same bytes as `sim run --json`, by its name or its text,
// and a report and a trace.
func TestRun(t *testing.T) {
	c := start(t, nil)
	text, ok := scenarios.Text("quickstart")
	require.True(t, ok)
	for _, a := range []Asked{{Name: "quickstart"}, {TOML: string(text)}, {Name: "quickstart", Sets: []string{"parallel.vp=1"}}, {TOML: small}} {
		views := c.follow(c.submit(a))
		v := views[len(views)-1]
		require.Equal(t, Done, v.State, v.Error)
		for _, v := range views[:len(views)-1] {
			require.Contains(t, []State{Queued, Running}, v.State)
			require.Equal(t, v.State == Running, v.Phase != "")
		}
		source := a.TOML
		if source == "" {
			source = string(text)
		}
		want := simulated(t, source, a.Sets)
		status, got, _ := c.do("GET", "/api/runs/"+v.ID+"/result", nil)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, want, got)

		status, page, head := c.do("GET", "/runs/"+v.ID+"/report", nil)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, page, `id="step-time"`)
		require.Contains(t, head.Get("Content-Security-Policy"), "sandbox allow-scripts")
		require.NotContains(t, head.Get("Content-Security-Policy"), "allow-same-origin")
		status, trace, head := c.do("GET", "/runs/"+v.ID+"/trace", nil)
		require.Equal(t, http.StatusOK, status)
		require.NotEmpty(t, trace)
		require.Contains(t, head.Get("Content-Disposition"), "run-"+v.ID+".pftrace")
		_, back, _ := c.do("GET", "/api/runs/"+v.ID+"/scenario", nil)
		require.Equal(t, source, back)
	}
	var all Runs
	c.get("/api/runs", &all)
	require.Equal(t, []string{"4", "3", "2", "1"}, ids(all))
}

// simulated is what `sim run --json` prints of a text.
func simulated(t testing.TB, text string, sets []string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scenario.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	res, err := scenarios.Load(path, sets)
	require.NoError(t, err)
	run, err := sim.Simulate(context.Background(), &res.Scenario, sim.Options{})
	require.NoError(t, err)
	out, err := encode(run.Result)
	require.NoError(t, err)
	return string(out)
}

func ids(runs Runs) (out []string) {
	for _, r := range runs.Runs {
		out = append(out, r.ID)
	}
	return out
}

// A check tells every problem with its place, or every value with its origin.
func TestCheck(t *testing.T) {
	c := start(t, nil)
	check := func(a Asked) (out Checked) {
		status, text, _ := c.do("POST", "/api/check", a)
		require.Equal(t, http.StatusOK, status, text)
		require.NoError(t, json.Unmarshal([]byte(text), &out))
		return out
	}
	out := check(Asked{TOML: small, Sets: []string{"parallel.tp=2"}})
	require.True(t, out.OK, out.Errors)
	require.Contains(t, out.Values, Value{"parallel.tp", "2", "--set"})
	require.Contains(t, out.Values, Value{"model.layers", "4", "scenario.toml:4"})
	require.Equal(t, int64(8), out.GPUs)
	require.Positive(t, out.Ops)

	out = check(Asked{TOML: small + "hiden = 2\n[parallel]\ntp = \"a\"\n", Sets: []string{"training.precison=fp8"}})
	require.False(t, out.OK)
	require.Len(t, out.Errors, 3)
	require.Equal(t, Problem{File: "scenario.toml", Line: 9, Col: 1, Key: "model.hiden", Msg: "unknown key", Allowed: out.Errors[0].Allowed, Nearest: "model.hidden", Text: out.Errors[0].Text}, out.Errors[0])
	require.Equal(t, []any{11, 6, "parallel.tp"}, []any{out.Errors[1].Line, out.Errors[1].Col, out.Errors[1].Key})
	require.Equal(t, []any{"--set", "training.precision"}, []any{out.Errors[2].File, out.Errors[2].Nearest})

	// Nothing of this machine is read.
	secret := filepath.Join(t.TempDir(), "secret.json")
	require.NoError(t, os.WriteFile(secret, []byte("the secret"), 0o600))
	for _, set := range []string{"cluster.profile=" + secret, "model.config=" + secret, "schedule.file=" + secret, "data.lengths=" + secret, "routing.file=" + secret} {
		out = check(Asked{TOML: small, Sets: []string{set}})
		require.False(t, out.OK, set)
		require.NotContains(t, fmt.Sprint(out.Errors), "the secret")
	}
	out = check(Asked{Name: strings.TrimSuffix(secret, ".json")})
	require.Contains(t, out.Errors[0].Text, "is not a scenario of the catalogue")
}

// What is wrong with a request is said, and the server goes on.
func TestRefusals(t *testing.T) {
	c := start(t, nil)
	post := func(h http.Header) func(*http.Request) {
		return func(r *http.Request) {
			for k := range h {
				r.Header.Set(k, h.Get(k))
			}
		}
	}
	big := `{"toml": "` + strings.Repeat("#", maxBody) + `"}`
	for _, k := range []struct {
		name, method, path string
		body               any
		change             func(*http.Request)
		status             int
		says               string
	}{
		{"not JSON", "POST", "/api/runs", "{", nil, 400, "not the JSON"},
		{"no body", "POST", "/api/runs", "", nil, 400, "no body"},
		{"two documents", "POST", "/api/runs", "{} {}", nil, 400, "text follows"},
		{"unknown field", "POST", "/api/runs", `{"tomll": ""}`, nil, 400, "tomll"},
		{"wrong type", "POST", "/api/check", `{"sets": {}}`, nil, 400, "sets"},
		{"deep JSON", "POST", "/api/check", strings.Repeat("[", 1e5), nil, 400, "depth"},
		{"huge", "POST", "/api/runs", big, nil, 413, "more than 2097152 bytes"},
		{"form", "POST", "/api/runs", "a=b", post(http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}), 415, "must be application/json"},
		{"other site", "POST", "/api/runs", "{}", post(http.Header{"Sec-Fetch-Site": {"cross-site"}}), 403, "another site"},
		{"other origin", "DELETE", "/api/runs/1", nil, post(http.Header{"Origin": {"https://example.com"}}), 403, "another site"},
		{"rebound", "GET", "/api/runs", nil, func(r *http.Request) { r.Host = "example.com:8080" }, 421, "localhost"},
		{"rebound like", "GET", "/", nil, func(r *http.Request) { r.Host = "127.0.0.1.example.com" }, 421, "localhost"},
		{"no scenario", "POST", "/api/runs", "{}", nil, 422, "no scenario"},
		{"no such scenario", "POST", "/api/runs", Asked{Name: "../../etc/passwd"}, nil, 422, "not a scenario of the catalogue"},
		{"bad scenario", "POST", "/api/runs", Asked{TOML: "a = 1"}, nil, 422, "unknown key"},
		{"serving", "POST", "/api/runs", Asked{Name: "quickstart", Sets: []string{"data.samples=1"}}, nil, 422, "data.samples"},
		{"many sets", "POST", "/api/runs", Asked{TOML: small, Sets: make([]string, maxSets+1)}, nil, 422, "at most 200"},
		{"deep TOML", "POST", "/api/runs", Asked{TOML: "a = " + strings.Repeat("{a=", 1e5)}, nil, 422, "nested too deep"},
		{"deep key", "POST", "/api/runs", Asked{TOML: strings.Repeat("a.", 1e5) + "a = 1"}, nil, 422, "nested too deep"},
		{"deep set", "POST", "/api/runs", Asked{TOML: small, Sets: []string{"parallel.tp=" + strings.Repeat("[", 1e6)}}, nil, 422, "nested too deep"},
		{"long TOML", "POST", "/api/runs", Asked{TOML: strings.Repeat("#", 1<<20+1)}, nil, 422, "up to 1 MiB"},
		{"no run", "GET", "/api/runs/7", nil, nil, 404, "no run"},
		{"no number", "DELETE", "/api/runs/x", nil, nil, 404, "no run"},
		{"no page", "GET", "/nothing.js", nil, nil, 404, "nothing.js"},
		{"out of the page", "GET", "/..%2fserver.go", nil, nil, 404, ""},
		{"no scenario text", "GET", "/api/scenarios/..%2f..%2fgo.mod", nil, nil, 404, "catalogue"},
		{"nothing to compare", "GET", "/api/compare?a=1&b=2", nil, nil, 404, "no run"},
		{"no folder", "GET", "/sweeps/a", nil, nil, 404, "--dir"},
		{"no such method", "PUT", "/api/runs", nil, nil, 405, ""},
	} {
		change := []func(*http.Request){}
		if k.change != nil {
			change = append(change, k.change)
		}
		status, text, head := c.do(k.method, k.path, k.body, change...)
		require.Equal(t, k.status, status, "%s: %s", k.name, clip(text))
		require.Contains(t, text, k.says, k.name)
		require.Equal(t, "nosniff", head.Get("X-Content-Type-Options"), k.name)
		require.Contains(t, head.Get("Content-Security-Policy"), "default-src 'none'", k.name)
	}
	require.Equal(t, Done, c.run(Asked{TOML: small}).State)
}

// A step that is too large is refused before anything is laid out, whichever way it is.
func TestTooLarge(t *testing.T) {
	c := start(t, nil)
	moe := []string{"parallel.ep=64", "routing.load=lognormal:imbalance=2"}
	for _, k := range []Asked{
		{Name: "quickstart", Sets: []string{"training.microbatches=1000000", "training.global_batch=auto"}},
		{TOML: strings.Replace(small, "global_batch = 16", "global_batch = 8000000", 1)},
		{TOML: small, Sets: []string{"data.distribution=wikipedia", "training.global_batch=200000000"}},
		{TOML: small, Sets: []string{"data.distribution=wikipedia", "data.samples=60000000"}},
		{TOML: small, Sets: []string{"data.distribution=wikipedia", "cluster.gpus=16777216", "training.global_batch=16777216"}},
		{Name: "deepseek-v3-h100", Sets: append([]string{"training.global_batch=1048576", "cluster.gpus=1048576"}, moe...)},
		{TOML: strings.Replace(small, "layers = 4", "layers = 10000", 1), Sets: []string{"cluster.gpus=10000", "parallel.pp=10000", "training.global_batch=70"}},
		{Name: "multimodal/qwen3-30b-vit-megatron", Sets: []string{"training.global_batch=2000000"}},
	} {
		status, text, _ := c.do("POST", "/api/runs", k)
		require.Equal(t, http.StatusUnprocessableEntity, status, "%v: %s", k.Sets, clip(text))
		require.Contains(t, text, "too large to simulate here", k.Sets)
		require.Contains(t, text, "--max-ops")
	}
	c = start(t, func(cfg *Config) { cfg.MaxOps = 100 })
	status, _, _ := c.do("POST", "/api/runs", Asked{TOML: small})
	require.Equal(t, http.StatusUnprocessableEntity, status)
}

// Cancelled, a run is over at once, whether it waited or ran; what is over is deleted.
func TestCancel(t *testing.T) {
	c := start(t, func(cfg *Config) { cfg.Workers = 1 })
	runs, waits := c.submit(slow), c.submit(Asked{TOML: small})
	for _, id := range []string{waits, runs} {
		status, _, _ := c.do("DELETE", "/api/runs/"+id, nil)
		require.Equal(t, http.StatusNoContent, status)
		views := c.follow(id)
		require.Equal(t, Cancelled, views[len(views)-1].State)
		status, text, _ := c.do("GET", "/api/runs/"+id+"/result", nil)
		require.Equal(t, http.StatusConflict, status)
		require.Contains(t, text, "is cancelled")
	}
	require.Equal(t, Done, c.run(Asked{TOML: small}).State, "the pool is free again")
	status, _, _ := c.do("DELETE", "/api/runs/"+runs, nil)
	require.Equal(t, http.StatusNoContent, status)
	status, text, _ := c.do("GET", "/api/runs/"+runs, nil)
	require.Equal(t, http.StatusGone, status)
	require.Contains(t, text, "not kept any more")
}

// Runs start in the order in which they were asked for; one that is cancelled while it
// waits holds up none.
func TestQueueKeepsItsOrder(t *testing.T) {
	c := start(t, func(cfg *Config) { cfg.Workers = 1 })
	c.s.pool <- struct{}{} // nothing runs
	var ids []string
	for range 6 {
		ids = append(ids, c.submit(Asked{TOML: small}))
	}
	status, _, _ := c.do("DELETE", "/api/runs/"+ids[2], nil)
	require.Equal(t, http.StatusNoContent, status)
	ids = slices.Delete(ids, 2, 3)
	<-c.s.pool
	for _, id := range ids {
		c.follow(id)
	}
	c.s.runs.mu.Lock()
	defer c.s.runs.mu.Unlock()
	ended := map[string]int64{}
	for _, r := range c.s.runs.list {
		ended[r.view.ID] = r.version
	}
	require.IsIncreasing(t, []int64{ended[ids[0]], ended[ids[1]], ended[ids[2]], ended[ids[3]], ended[ids[4]]})
}

// A queue that is full asks to come again.
func TestQueueIsBounded(t *testing.T) {
	c := start(t, func(cfg *Config) { cfg.Workers = 1 })
	c.s.pool <- struct{}{} // nothing runs
	for range queueLength {
		c.submit(Asked{TOML: small})
	}
	status, text, head := c.do("POST", "/api/runs", Asked{TOML: small})
	require.Equal(t, http.StatusServiceUnavailable, status, text)
	require.NotEmpty(t, head.Get("Retry-After"))
	for range maxRequests {
		c.s.flight <- struct{}{}
	}
	status, text, head = c.do("GET", "/api/runs", nil)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, text, "64 requests are open already")
	require.NotEmpty(t, head.Get("Retry-After"))
	for range maxRequests {
		<-c.s.flight
	}
	<-c.s.pool
}

// The oldest runs make room for new ones, and that is said.
func TestEviction(t *testing.T) {
	dir := t.TempDir()
	c := start(t, func(cfg *Config) { cfg.Keep, cfg.Dir = 2, dir })
	for range 4 {
		require.Equal(t, Done, c.run(Asked{TOML: small}).State)
	}
	var all Runs
	c.get("/api/runs", &all)
	require.Equal(t, []string{"4", "3"}, ids(all))
	require.Equal(t, 2, all.Evicted)
	status, text, _ := c.do("GET", "/api/runs/1", nil)
	require.Equal(t, http.StatusGone, status)
	require.Contains(t, text, "the latest 2 are kept")
	c.s.pool <- struct{}{} // those that are cancelled take no more room
	c.s.pool <- struct{}{}
	for range 5 {
		status, _, _ := c.do("DELETE", "/api/runs/"+c.submit(Asked{TOML: small}), nil)
		require.Equal(t, http.StatusNoContent, status)
	}
	<-c.s.pool
	<-c.s.pool
	c.get("/api/runs", &all)
	require.Equal(t, []string{"9", "8"}, ids(all))
	require.Equal(t, Done, c.run(Asked{TOML: small}).State)
	require.NoError(t, c.s.Close())
	require.NoDirExists(t, filepath.Join(dir, "runs", "1"))
	require.NoDirExists(t, filepath.Join(dir, "runs", "4"))
	require.DirExists(t, filepath.Join(dir, "runs", "10"))
}

// With a folder, a restart shows the runs again, with all that they had; nothing is
// written anywhere else, and what is broken is left alone.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	c := start(t, func(cfg *Config) { cfg.Dir = dir })
	first, second := c.run(Asked{Name: "quickstart"}), c.run(Asked{Name: "quickstart", Sets: []string{"parallel.vp=1"}})
	third := c.run(Asked{TOML: small})
	paths := []string{"/api/runs/1/result", "/api/runs/2", "/runs/2/report", "/runs/2/trace", "/api/runs/2/scenario", "/api/compare?a=1&b=2"}
	var before []string
	for _, p := range paths {
		status, text, _ := c.do("GET", p, nil)
		require.Equal(t, http.StatusOK, status, text)
		before = append(before, text)
	}
	_, err := New(Config{Keep: 1, Dir: dir, Log: io.Discard})
	require.ErrorContains(t, err, "used by another sim serve")
	status, _, _ := c.do("DELETE", "/api/runs/"+third.ID, nil)
	require.Equal(t, http.StatusNoContent, status)
	c.web.Close()
	require.NoError(t, c.s.Close())
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "runs", ".new-9"), 0o755)) // of one that was killed
	require.NoError(t, os.Mkdir(filepath.Join(dir, "runs", "5"), 0o755))

	var log bytes.Buffer
	c = start(t, func(cfg *Config) { cfg.Dir, cfg.Log = dir, &log })
	require.Contains(t, log.String(), "run 5 is not shown")
	require.NoDirExists(t, filepath.Join(dir, "runs", ".new-9"))
	var all Runs
	c.get("/api/runs", &all)
	require.Equal(t, []View{second, first}, all.Runs)
	for i, p := range paths {
		status, text, _ := c.do("GET", p, nil)
		require.Equal(t, http.StatusOK, status, text)
		require.Equal(t, before[i], text, p)
	}
	require.Equal(t, "6", c.submit(Asked{TOML: small}), "numbers are not used twice")
}

// Compare is that of package compare, on the runs' inputs.
func TestCompare(t *testing.T) {
	c := start(t, nil)
	a, b := c.run(Asked{TOML: small}), c.run(Asked{TOML: small, Sets: []string{"training.recompute=full"}})
	var out compare.Comparison
	c.get("/api/compare?a="+a.ID+"&b="+b.ID, &out)
	require.Equal(t, []compare.Input{{Key: "training.recompute", A: "none", B: "full", FromA: "default", FromB: "--set"}}, out.Inputs)
	sum := int64(0)
	for _, g := range out.Step.Groups {
		sum += g.Change
	}
	require.Equal(t, out.Step.Change, sum)
	require.Positive(t, sum)
}

// A token is asked for in each of its three ways, and of nothing else.
func TestToken(t *testing.T) {
	const token = "a token of the test"
	c := start(t, func(cfg *Config) { cfg.Token = token })
	bearer := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+v) }
	}
	anyHost := func(r *http.Request) { r.Host = "cluster.example:8080" }
	for _, p := range []string{"/", "/app.js", "/api/runs", "/api/events", "/runs/1/report", "/api/runs?token=wrong", "/api/runs?token="} {
		status, text, head := c.do("GET", p, nil)
		require.Equal(t, http.StatusUnauthorized, status, p)
		require.NotContains(t, text, token)
		require.NotEmpty(t, head.Get("WWW-Authenticate"))
	}
	for _, v := range []string{"", "wrong", token + " "} {
		status, _, _ := c.do("GET", "/api/runs", nil, bearer(v), func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookie, Value: "wrong"}) })
		require.Equal(t, map[bool]int{true: 200, false: 401}[v == token+" "], status, "%q: blanks around a header's value are no part of it", v)
	}
	status, _, _ := c.do("GET", "/api/runs", nil, bearer(token), anyHost)
	require.Equal(t, http.StatusOK, status)
	status, _, head := c.do("GET", "//example.com/..?x=1&token=a+token+of+the+test", nil, anyHost)
	require.Equal(t, http.StatusSeeOther, status)
	require.Regexp(t, `^/[^/]`, head.Get("Location"), "to this server, without the token")
	require.NotContains(t, head.Get("Location"), "token")
	set := head.Get("Set-Cookie")
	require.Contains(t, set, "HttpOnly")
	require.Contains(t, set, "SameSite=Lax")
	with, _, _ := strings.Cut(set, ";")
	status, _, _ = c.do("GET", "/", nil, func(r *http.Request) { r.Header.Set("Cookie", with) })
	require.Equal(t, http.StatusOK, status)
	status, _, _ = c.do("POST", "/api/check?token=a+token+of+the+test", Asked{TOML: small})
	require.Equal(t, http.StatusUnauthorized, status, "an address alone changes nothing")
}

// A panic is an answer with a number, and the log has it.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	c := start(t, func(cfg *Config) { cfg.Log = &log })
	c.s.routes = http.NewServeMux()
	c.s.routes.HandleFunc("/", func(http.ResponseWriter, *http.Request) { panic("a defect") })
	for n := range 2 {
		status, text, _ := c.do("GET", "/x", nil)
		require.Equal(t, http.StatusInternalServerError, status)
		require.Contains(t, text, fmt.Sprintf("internal error %d;", n+1))
		require.NotContains(t, text, "defect")
	}
	require.Contains(t, log.String(), `internal error 2 in "GET /x": a defect`)
	require.Contains(t, log.String(), "serve_test.go")
}

// Served for real: at the end the port is closed, streams end and runs are cancelled.
func TestServeStops(t *testing.T) {
	s, err := New(Config{Workers: 1, Keep: 1, MaxOps: DefaultMaxOps, Log: io.Discard})
	require.NoError(t, err)
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	c := &client{t: t, s: s, web: &httptest.Server{URL: "http://" + l.Addr().String()}}
	web := &http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	resp, err := web.Post(c.web.URL+"/api/runs", "application/json", strings.NewReader(`{"name": "quickstart", "sets": ["training.microbatches=20000", "training.global_batch=auto"]}`))
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
	events, err := web.Get(c.web.URL + "/api/events")
	require.NoError(t, err)
	time.AfterFunc(50*time.Millisecond, stop)
	_, err = io.ReadAll(events.Body) // ends with the server
	require.NoError(t, err)
	require.NoError(t, events.Body.Close())
	require.NoError(t, <-served)
	require.NoError(t, s.Close())
	r, _ := s.runs.find("1")
	view, _, _ := s.runs.see(r)
	require.Contains(t, []State{Cancelled, Done}, view.State, "a run that was done in time stays so")
	_, err = net.DialTimeout("tcp", l.Addr().String(), time.Second)
	require.Error(t, err)
}

// All scenarios of the catalogue are small enough to be run here.
func TestCatalogueIsRun(t *testing.T) {
	c := start(t, nil)
	var names []string
	c.get("/api/scenarios", &names)
	require.Equal(t, scenarios.Names(), names)
	for _, name := range names {
		_, _, err := c.s.resolve(Asked{Name: name})
		require.NoError(t, err, name)
	}
}
