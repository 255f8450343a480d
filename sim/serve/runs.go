package serve

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"orrery/scenarios"
	"orrery/sim"
)

// State is how far a run is.
type State string

// States of a run. The last three are final.
const (
	Queued    State = "queued"
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

func (s State) final() bool { return s != Queued && s != Running }

// Asked is what a client wants run: a scenario of the catalogue by name, or a text.
type Asked struct {
	Name string   `json:"name,omitempty"` // of the catalogue; of a text what stands for its file
	TOML string   `json:"toml,omitempty"`
	Sets []string `json:"sets,omitempty"` // overrides, "path.to.key=value"
}

// View is a run as clients see it.
type View struct {
	ID       string    `json:"id"`
	Scenario string    `json:"scenario"` // its name
	Sets     []string  `json:"sets"`
	State    State     `json:"state"`
	Phase    string    `json:"phase,omitempty"` // of one that runs
	Error    string    `json:"error,omitempty"`
	Created  time.Time `json:"created"`
	Summary  *Summary  `json:"summary,omitempty"` // of one that is done
	NoReport string    `json:"no_report,omitempty"`
	NoTrace  string    `json:"no_trace,omitempty"` // why there is none
}

// Summary is what a list of runs shows of a result.
type Summary struct {
	GPUs             int64   `json:"gpus"`
	Schedule         string  `json:"schedule"`
	StepTimeS        float64 `json:"step_time_s"`
	StepTimeRelError float64 `json:"step_time_rel_error"`
	TokensPerSPerGPU float64 `json:"tokens_per_s_per_gpu"`
	MFU              float64 `json:"mfu"`
	BubbleFraction   float64 `json:"bubble_fraction"`
	PeakMemoryGiB    float64 `json:"peak_memory_gib"`
	Fits             bool    `json:"fits"`
}

func summary(r *sim.Result) *Summary {
	return &Summary{r.GPUs, r.Schedule, r.StepTimeS, r.StepTimeRelError, r.TokensPerSPerGPU, r.MFU, r.BubbleFraction, r.PeakMemoryGiB, r.Fits}
}

// run is one that was asked for. The store's lock guards what is not set at the start.
type run struct {
	number   int
	name     string // that stands for the scenario's file
	text     []byte // of the scenario
	resolved *scenarios.Resolved
	cancel   context.CancelFunc

	view    View
	version int64 // of the store, when the view changed last
	outcome
}

// outcome is what a run that is done leaves.
type outcome struct {
	result *sim.Result
	json   []byte // as `sim run --json` prints it
	report blob
	trace  blob
}

func (r *run) bytes() int { return len(r.text) + len(r.json) + len(r.report.data) + len(r.trace.data) }

// store holds the runs and tells when they change.
type store struct {
	mu      sync.Mutex
	keep    int // finished runs
	next    int
	list    []*run // oldest first
	evicted int
	version int64
	changed chan struct{} // closed at the next change
}

func (s *store) init(keep int) {
	s.keep, s.next, s.changed = keep, 1, make(chan struct{})
}

// touch notes a change of a run, or with nil of the list; the lock is held.
func (s *store) touch(r *run) {
	s.version++
	if r != nil {
		r.version = s.version
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// add takes a run in, unless too many wait.
func (s *store) add(r *run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := 0
	for _, o := range s.list {
		if o.view.State == Queued {
			waiting++
		}
	}
	if waiting >= queueLength {
		return false
	}
	r.number = s.next
	s.next++
	r.view.ID = strconv.Itoa(r.number)
	r.view.State = Queued
	s.list = append(s.list, r)
	s.touch(r)
	return true
}

// enter notes what a run does next, unless it was cancelled.
func (s *store) enter(r *run, phase string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.view.State.final() {
		r.view.State, r.view.Phase = Running, phase
		s.touch(r)
	}
}

// finish takes an outcome in, unless the run was cancelled, and returns the runs that
// go to make room for it.
func (s *store) finish(r *run, o outcome, change func(*View)) (kept bool, evicted []*run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.view.State.final() {
		return false, nil
	}
	r.outcome = o
	change(&r.view)
	s.touch(r)
	return true, s.evict()
}

// cancel makes a run that is not over one that was cancelled, and reports whether it
// did, with the runs that make room for it.
func (s *store) cancel(r *run) (was bool, evicted []*run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.view.State.final() {
		return false, nil
	}
	r.view.State, r.view.Phase = Cancelled, ""
	s.touch(r)
	return true, s.evict()
}

// evict drops the oldest finished runs beyond what is kept, never the newest; the lock
// is held.
func (s *store) evict() (gone []*run) {
	finished, bytes := 0, 0
	for i := len(s.list) - 1; i >= 0; i-- {
		r := s.list[i]
		if !r.view.State.final() {
			continue
		}
		finished++
		bytes += r.bytes()
		if finished > s.keep || bytes > keepBytes && finished > 1 {
			s.list = slices.Delete(s.list, i, i+1)
			gone = append(gone, r)
		}
	}
	if len(gone) > 0 {
		s.evicted += len(gone)
		s.touch(nil)
	}
	return gone
}

// remove takes a finished run out.
func (s *store) remove(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.list, r); i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
		s.touch(nil)
	}
}

// has reports whether a run is kept.
func (s *store) has(r *run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.list, r)
}

// find is the run of a number in a request; was reports whether there was one.
func (s *store) find(id string) (r *run, was bool) {
	n, err := strconv.Atoi(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.list {
		if r.view.ID == id {
			return r, true
		}
	}
	return nil, err == nil && n > 0 && n < s.next && id == strconv.Itoa(n)
}

// Runs is a state of the list.
type Runs struct {
	Runs    []View `json:"runs"` // newest first
	Keep    int    `json:"keep"`
	Evicted int    `json:"evicted"` // that were kept and made room for others
}

// look returns the runs that changed after a version, the numbers of all, the version,
// and a channel that is closed at the next change.
func (s *store) look(after int64) (runs Runs, ids []string, version int64, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs = Runs{Runs: []View{}, Keep: s.keep, Evicted: s.evicted}
	for _, r := range slices.Backward(s.list) {
		ids = append(ids, r.view.ID)
		if r.version > after {
			runs.Runs = append(runs.Runs, r.view)
		}
	}
	return runs, ids, s.version, s.changed
}

// see is a run's view and outcome now, and a channel that is closed at the next change.
func (s *store) see(r *run) (View, outcome, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.view, r.outcome, s.changed
}
