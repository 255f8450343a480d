package serve

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/compare"
)

// Route is a method and a path that the server answers, with what it does.
type Route struct{ Pattern, Doc string }

// Routes are the server's, as docs/serve.md lists them.
func Routes() []Route {
	var out []Route
	for _, r := range (*Server)(nil).table() {
		out = append(out, Route{r.pattern, r.doc})
	}
	return out
}

type route struct {
	pattern string
	answer  http.HandlerFunc
	doc     string
}

func (s *Server) table() []route {
	return []route{
		{"GET /", s.page, "the page"},
		{"GET /api/about", s.about, "limits of this server"},
		{"GET /api/keys", s.keys, "reference of the scenario's keys"},
		{"GET /api/scenarios", s.catalogue, "names of the catalogue"},
		{"GET /api/scenarios/{name...}", s.scenario, "text of a scenario of the catalogue"},
		{"POST /api/check", s.check, "`{toml or name, sets}`: problems with line and column, or every value with its origin"},
		{"GET /api/runs", s.all, "runs, the newest first"},
		{"POST /api/runs", s.submit, "`{toml or name, sets}`: queues a run and answers its `id`"},
		{"GET /api/runs/{id}", s.one, "state of a run, and its result once it is done"},
		{"DELETE /api/runs/{id}", s.remove, "cancels a run that waits or runs, deletes one that is over"},
		{"GET /api/runs/{id}/result", s.result, "the result, the bytes of `sim run --json`"},
		{"GET /api/runs/{id}/scenario", s.text, "the scenario's text"},
		{"GET /api/runs/{id}/events", s.follow, "server-sent events: `run` at every change, to the end"},
		{"GET /api/events", s.followAll, "server-sent events: `runs`, those that changed and the numbers of all"},
		{"GET /api/compare", s.compare, "`?a=ID&b=ID`: what changed from A to B, as `sim compare --json`"},
		{"GET /api/sweeps", s.sweeps, "folders of sweeps below --dir"},
		{"GET /runs/{id}/report", s.report, "the report"},
		{"GET /sweeps/{path...}", s.sweep, "a page of a sweep's points, as `sim results --html`"},
		{"GET /runs/{id}/trace", s.trace, "the timeline for ui.perfetto.dev"},
	}
}

func (s *Server) mux() *http.ServeMux {
	m := http.NewServeMux()
	for _, r := range s.table() {
		m.HandleFunc(r.pattern, r.answer)
	}
	return m
}

// page answers with the files of the page; any other path is none.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	if f, err := s.pages.Open(name); err != nil || strings.Contains(name, "/") {
		fail(w, http.StatusNotFound, "there is no %s here", clip(r.URL.Path))
		return
	} else if err := f.Close(); err != nil {
		s.log.Print(err)
	}
	http.ServeFileFS(w, r, s.pages, name)
}

func (s *Server) about(w http.ResponseWriter, _ *http.Request) {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	answer(w, http.StatusOK, map[string]any{"version": version, "workers": cap(s.pool), "max_ops": s.cfg.MaxOps, "keep": s.cfg.Keep, "dir": s.root != nil})
}

func (s *Server) keys(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, scenarios.Reference())
}

func (s *Server) catalogue(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, scenarios.Names())
}

func (s *Server) scenario(w http.ResponseWriter, r *http.Request) {
	text, ok := scenarios.Text(r.PathValue("name"))
	if !ok {
		fail(w, http.StatusNotFound, "%q is not a scenario of the catalogue", clip(r.PathValue("name")))
		return
	}
	plain(w, text)
}

func plain(w http.ResponseWriter, text []byte) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(text) // the client may be gone
}

// Checked is the answer to a check.
type Checked struct {
	OK     bool      `json:"ok"`
	Errors []Problem `json:"errors"`
	Name   string    `json:"name,omitempty"`
	GPUs   int64     `json:"gpus,omitempty"`
	Ops    float64   `json:"ops,omitempty"` // estimated
	Values []Value   `json:"values,omitempty"`
}

// Value is a resolved one with where it is from.
type Value struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	var a Asked
	if !read(w, r, &a) {
		return
	}
	select {
	case s.checks <- struct{}{}:
		defer func() { <-s.checks }()
	case <-r.Context().Done():
		return
	case <-time.After(10 * time.Second):
		busy(w, "%d scenarios are being checked", cap(s.checks))
		return
	}
	res, err := s.lay(a)
	if err != nil {
		answer(w, http.StatusOK, Checked{Errors: problems(err)})
		return
	}
	out := Checked{OK: true, Errors: []Problem{}, Name: res.Scenario.Name, GPUs: res.Scenario.Cluster.GPUs, Ops: sim.Ops(&res.Scenario)}
	for _, o := range res.Origins {
		out.Values = append(out.Values, Value(o))
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) all(w http.ResponseWriter, _ *http.Request) {
	runs, _, _, _ := s.runs.look(0)
	answer(w, http.StatusOK, runs)
}

func (s *Server) submit(w http.ResponseWriter, r *http.Request) {
	var a Asked
	if !read(w, r, &a) {
		return
	}
	text, res, err := s.resolve(a)
	if err != nil {
		answer(w, http.StatusUnprocessableEntity, refusal{err.Error(), problems(err)})
		return
	}
	ctx, cancel := context.WithCancel(s.stopping)
	made := &run{name: a.Name, text: text, resolved: res, cancel: cancel,
		view: View{Scenario: res.Scenario.Name, Sets: append([]string{}, a.Sets...), Created: time.Now().UTC().Truncate(time.Second)}}
	if !s.runs.add(made) {
		cancel()
		busy(w, "%d runs are waiting already", queueLength)
		return
	}
	s.start(ctx, made)
	view, _, _ := s.runs.see(made)
	w.Header().Set("Location", "/api/runs/"+view.ID)
	answer(w, http.StatusAccepted, view)
}

// named is the run of a request, or nil once the request is answered.
func (s *Server) named(w http.ResponseWriter, id string) *run {
	r, was := s.runs.find(id)
	switch {
	case r != nil:
		return r
	case was:
		fail(w, http.StatusGone, "run %s is not kept any more: it was deleted, did not outlast a restart, or made room for others (the latest %d are kept)", id, s.cfg.Keep)
	default:
		fail(w, http.StatusNotFound, "there is no run %q", clip(id))
	}
	return nil
}

func (s *Server) one(w http.ResponseWriter, r *http.Request) {
	if run := s.named(w, r.PathValue("id")); run != nil {
		view, o, _ := s.runs.see(run)
		answer(w, http.StatusOK, struct {
			View
			Result *sim.Result `json:"result,omitempty"`
		}{view, o.result})
	}
}

// remove cancels or deletes. A run that is cancelled is over for its clients at once;
// its place in the pool is free when the phase that it is in ends.
func (s *Server) remove(w http.ResponseWriter, r *http.Request) {
	named := s.named(w, r.PathValue("id"))
	if named == nil {
		return
	}
	was, gone := s.runs.cancel(named)
	if was {
		named.cancel()
	} else {
		s.runs.remove(named)
		gone = []*run{named}
	}
	s.forget(gone)
	w.WriteHeader(http.StatusNoContent)
}

// finished is a run that is done with its outcome, or false once the request is answered.
func (s *Server) finished(w http.ResponseWriter, id string) (named *run, o outcome, ok bool) {
	if named = s.named(w, id); named == nil {
		return nil, o, false
	}
	view, o, _ := s.runs.see(named)
	if view.State != Done {
		fail(w, http.StatusConflict, "run %s is %s; it has no result", id, view.State)
		return nil, o, false
	}
	return named, o, true
}

func (s *Server) result(w http.ResponseWriter, r *http.Request) {
	if _, o, ok := s.finished(w, r.PathValue("id")); ok {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(o.json) // the client may be gone
	}
}

func (s *Server) text(w http.ResponseWriter, r *http.Request) {
	if run := s.named(w, r.PathValue("id")); run != nil {
		plain(w, run.text)
	}
}

func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	if _, o, ok := s.finished(w, r.PathValue("id")); ok {
		w.Header().Set("Content-Security-Policy", reportPolicy)
		s.send(w, r, o.report, "text/html; charset=utf-8")
	}
}

func (s *Server) trace(w http.ResponseWriter, r *http.Request) {
	if run, o, ok := s.finished(w, r.PathValue("id")); ok {
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=\"run-%d.pftrace\"", run.number))
		s.send(w, r, o.trace, "application/octet-stream")
	}
}

// download is how long a client may take to fetch a document.
const download = 10 * time.Minute

// send sends a zipped document, unzipped to who cannot.
func (s *Server) send(w http.ResponseWriter, r *http.Request, b blob, contentType string) {
	if b.none != "" {
		fail(w, http.StatusNotFound, "%s", b.none)
		return
	}
	doc, err := s.document(b)
	if err != nil {
		fail(w, http.StatusInternalServerError, "cannot read it: %v", err)
		return
	}
	defer doc.Close()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(download)) // a recorder has none
	w.Header().Set("Content-Type", contentType)
	in := io.Reader(doc)
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
	} else if in, err = gzip.NewReader(doc); err != nil {
		fail(w, http.StatusInternalServerError, "cannot unzip it: %v", err)
		return
	}
	if _, err := io.Copy(w, in); err != nil { // the client is gone, or the file is damaged
		s.log.Printf("sending %s: %v", r.URL.Path, err)
	}
}

func (s *Server) compare(w http.ResponseWriter, r *http.Request) {
	ids := []string{r.FormValue("a"), r.FormValue("b")}
	var sides []compare.Side
	for _, id := range ids {
		run, o, ok := s.finished(w, id)
		if !ok {
			return
		}
		side := compare.Side{Result: o.result}
		if run.resolved != nil {
			side.Inputs = slices.Clone(run.resolved.Origins)
		}
		sides = append(sides, side)
	}
	answer(w, http.StatusOK, compare.Compare(sides[0], sides[1]))
}
