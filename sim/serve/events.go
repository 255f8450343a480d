package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	beat      = 15 * time.Second // between signs of life, which find clients that are gone
	eventTime = 10 * time.Second // for a client to take an event
)

// stream writes server-sent events.
type stream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	return &stream{w, http.NewResponseController(w)}
}

func (s *stream) write(text string) error {
	_ = s.c.SetWriteDeadline(time.Now().Add(eventTime)) // a recorder has none
	if _, err := fmt.Fprint(s.w, text); err != nil {
		return err
	}
	return s.c.Flush()
}

func (s *stream) event(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write("event: " + name + "\ndata: " + string(data) + "\n\n")
}

// wait waits for a change and reports whether there may be more; it shows signs of life.
func (s *Server) wait(r *http.Request, out *stream, changed <-chan struct{}) bool {
	for {
		select {
		case <-changed:
			return true
		case <-r.Context().Done():
			return false
		case <-s.stopping.Done():
			return false
		case <-time.After(beat):
			if out.write(": still here\n\n") != nil {
				return false
			}
		}
	}
}

// follow tells the changes of one run to its end. What changes while an event is sent is
// told by one event.
func (s *Server) follow(w http.ResponseWriter, r *http.Request) {
	named := s.named(w, r.PathValue("id"))
	if named == nil {
		return
	}
	out := newStream(w)
	last := View{}
	for {
		view, _, changed := s.runs.see(named)
		if view.State != last.State || view.Phase != last.Phase {
			if out.event("run", view) != nil || view.State.final() {
				return
			}
			last = view
		}
		if !s.wait(r, out, changed) {
			return
		}
	}
}

// followAll tells what changes in the list of runs.
func (s *Server) followAll(w http.ResponseWriter, r *http.Request) {
	out := newStream(w)
	for last := int64(-1); ; {
		runs, ids, version, changed := s.runs.look(last)
		if version > last {
			if out.event("runs", map[string]any{"changed": runs.Runs, "ids": ids, "evicted": runs.Evicted}) != nil {
				return
			}
			last = version
		}
		if !s.wait(r, out, changed) {
			return
		}
	}
}
