package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
)

// Many at once run, wait, are cancelled, deleted, watched, compared and checked; what is
// done is the same every time, and each stream tells states in their order.
func TestManyAtOnce(t *testing.T) {
	c := start(t, func(cfg *Config) { cfg.Workers, cfg.Keep, cfg.Dir = 3, 10, t.TempDir() })
	want := simulated(t, small, []string{"parallel.tp=2"})
	watching, watched := context.WithCancel(context.Background())
	var watchers, all sync.WaitGroup
	for range 3 { // streams that are cut off
		watchers.Go(func() {
			r, err := http.NewRequestWithContext(watching, "GET", c.web.URL+"/api/events", nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := c.web.Client().Do(r)
			if err != nil {
				return // cut off before it began
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		})
	}
	order := map[State]int{Queued: 0, Running: 1, Done: 2, Cancelled: 2}
	for i := range 24 {
		all.Go(func() {
			id := c.submit(Asked{TOML: small, Sets: []string{"parallel.tp=2"}})
			switch i % 4 {
			case 0: // cancelled while it waits or runs, or deleted where it was faster
				status, _, _ := c.do("DELETE", "/api/runs/"+id, nil)
				if status != http.StatusNoContent && status != http.StatusGone {
					t.Errorf("run %s: %d", id, status)
				}
			case 1:
				if status, _, _ := c.do("POST", "/api/check", Asked{TOML: small}); status != http.StatusOK {
					t.Errorf("check: %d", status)
				}
			}
			status, text, _ := c.do("GET", "/api/runs/"+id+"/events", nil)
			if status == http.StatusGone {
				return // deleted, or made room for others
			}
			last := 0
			for line := range strings.Lines(text) {
				data, ok := strings.CutPrefix(line, "data: ")
				if !ok {
					continue
				}
				var v View
				if err := json.Unmarshal([]byte(data), &v); err != nil {
					t.Error(err)
				}
				at, known := order[v.State]
				if !known || at < last {
					t.Errorf("run %s is %s after state %d: %s", id, v.State, last, v.Error)
				}
				last = at
			}
			if last != 2 {
				t.Errorf("run %s: its events end before it does:\n%s", id, text)
			}
			if status, got, _ := c.do("GET", "/api/runs/"+id+"/result", nil); status == http.StatusOK && got != want {
				t.Errorf("run %s gives another result", id)
			}
		})
	}
	all.Wait()
	watched()
	watchers.Wait()
	var runs Runs
	c.get("/api/runs", &runs)
	require.LessOrEqual(t, len(runs.Runs), 10)
	require.Eventually(t, func() bool { return len(c.s.pool) == 0 && len(c.s.flight) == 0 && len(c.s.streams) == 0 }, 10*time.Second, time.Millisecond, "what ended holds no slot")
}

// FuzzRequests: whatever a body says, the answer is JSON that says what is wrong or what
// was asked for, and the server goes on. Large steps are not run here: the limit is low.
func FuzzRequests(f *testing.F) {
	quick, _ := scenarios.Text("quickstart")
	for _, a := range []Asked{{Name: "quickstart"}, {TOML: small, Sets: []string{"parallel.tp=2", "a=["}}, {TOML: string(quick)}, {TOML: "[cluster]\ngpus = 1e9"}} {
		text, err := json.Marshal(a)
		require.NoError(f, err)
		f.Add("/api/check", text)
		f.Add("/api/runs", text)
	}
	f.Add("/api/runs", []byte(`{"toml": "a={a={a={", "sets": ["x"]}`))
	f.Add("/api/compare?a=1&b=%zz", []byte("{"))
	f.Add("/runs/1/report", []byte(nil))
	f.Add("/sweeps/../x", []byte("[]"))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		var log strings.Builder
		s, err := New(Config{Workers: 1, Keep: 1, MaxOps: 12000, Log: &log})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/events") {
			return
		}
		for _, method := range []string{"GET", "POST", "DELETE"} {
			r, err := http.NewRequestWithContext(context.Background(), method, "http://localhost/", strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			if r.URL, err = r.URL.Parse(path); err != nil || r.URL.Host != "localhost" {
				return
			}
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code == http.StatusInternalServerError {
				t.Fatalf("%s %s: %s\n%s", method, path, w.Body, &log)
			}
			if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s %s: %d %q", method, path, w.Code, w.Body)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), "internal error") {
			t.Fatal(fmt.Sprint("a run panicked: ", log.String()))
		}
	})
}
