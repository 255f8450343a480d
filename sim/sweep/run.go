package sweep

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"orrery/scenarios"
	"orrery/sim"
)

// Options tell how a sweep is run, never what comes out.
type Options struct {
	Dir     string // of journals and results
	Shard   Shard  // the zero value is the whole
	Workers int    // 0: one for each thread that may run Go code
	Restart bool   // discard what earlier runs computed
	// Progress is called after every point that is done, one call at a time.
	Progress func(Progress)

	simulate func(context.Context, *scenarios.Scenario, sim.Options) (*sim.Run, error) // sim.Simulate but in tests
}

// Progress is how far a run is.
type Progress struct {
	Done, Total int // of the points that this run computes
	Status      Status
}

// Report is what a run did.
type Report struct {
	Points   int            `json:"points"`   // of the sweep
	Distinct int            `json:"distinct"` // of them, by identity
	Own      int            `json:"own"`      // distinct ones of this shard
	Reused   int            `json:"reused"`   // own ones that were done before
	Computed int            `json:"computed"`
	Counts   map[Status]int `json:"counts"` // of own ones that are done
	Excluded []Excluded     `json:"excluded"`
	Damaged  int            `json:"damaged_lines"` // of journals
	Results  string         `json:"results"`       // path; "" where a merge writes them
}

// Names of a folder's files beside the journals.
const (
	PointsFile  = "points.jsonl"
	ResultsFile = "results.jsonl"
)

// named is a point with its identity.
type named struct {
	Point  int            `json:"point"`
	ID     identity       `json:"id"`
	Values map[string]any `json:"values"`
	point  Point
}

// ErrInterrupted is the cause of a run's end before all was done.
var ErrInterrupted = errors.New("interrupted")

// Run computes the points of a sweep that no journal of the folder has, and
// writes the results of a whole sweep. It ends early, with an error that is
// ErrInterrupted and a Report of what is done, when ctx does: points in flight
// are finished first.
func Run(ctx context.Context, s *Spec, opt Options) (*Report, error) {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.simulate == nil {
		opt.simulate = sim.Simulate
	}
	points, err := s.Points()
	if err != nil {
		return nil, err
	}
	prof := &profiles{}
	all, refused := s.name(points.List, prof, opt.Workers)
	if err := os.MkdirAll(opt.Dir, 0o755); err != nil {
		return nil, err
	}
	j, err := openJournal(opt.Dir, opt.Shard, opt.Restart)
	if err != nil {
		return nil, err
	}
	rep, err := s.compute(ctx, opt, all, refused, prof, j)
	if err = errors.Join(err, j.close()); err != nil {
		return rep, err
	}
	rep.Excluded = points.Excluded
	if opt.Shard.Of <= 1 {
		rep.Results = filepath.Join(opt.Dir, ResultsFile)
		m, err := Merge(opt.Dir)
		if err == nil && m.Missing > 0 {
			err = fmt.Errorf("%d points are missing from the journals just written", m.Missing)
		}
		return rep, err
	}
	return rep, nil
}

// name finds the identity of every point; refused has why the language refuses
// some, by point.
func (s *Spec) name(points []Point, prof *profiles, workers int) ([]named, map[int]string) {
	out := make([]named, len(points))
	reasons := make([]string, len(points))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(points); i = int(next.Add(1)) - 1 {
				out[i], reasons[i] = s.nameOne(i, points[i], prof)
			}
		})
	}
	wg.Wait()
	refused := map[int]string{}
	for i, r := range reasons {
		if r != "" {
			refused[i] = r
		}
	}
	return out, refused
}

func (s *Spec) nameOne(i int, p Point, prof *profiles) (n named, refused string) {
	n = named{Point: i, Values: p.Map(), point: p}
	sc, err := s.resolve(p)
	if err == nil {
		n.ID, err = identify(sc, prof)
	}
	if err != nil {
		refused = scenarios.Reason(err)
		n.ID = refusal(p, refused)
	}
	return n, refused
}

// compute runs what is missing of the shard's points.
func (s *Spec) compute(ctx context.Context, opt Options, all []named, refused map[int]string, prof *profiles, j *journal) (*Report, error) {
	known, err := readJournals(opt.Dir)
	if err != nil {
		return nil, err
	}
	if err := writePoints(opt.Dir, all); err != nil {
		return nil, err
	}
	rep := &Report{Points: len(all), Counts: map[Status]int{}, Damaged: known.Damaged}
	var todo []named
	seen := map[identity]bool{}
	for _, n := range all {
		if seen[n.ID] {
			continue
		}
		seen[n.ID] = true
		own := opt.Shard.owns(rep.Distinct)
		rep.Distinct++
		switch {
		case !own:
		case known.done(n.ID):
			rep.Own++
			rep.Reused++
			rep.Counts[known.at[n.ID].status]++
		default:
			rep.Own++
			todo = append(todo, n)
		}
	}
	work := make(chan named)
	done := make(chan *Entry, opt.Workers)
	var wg sync.WaitGroup
	for range min(opt.Workers, max(len(todo), 1)) {
		wg.Go(func() {
			for n := range work {
				done <- s.run(n, refused, prof, opt)
			}
		})
	}
	go func() {
		defer func() { close(work); wg.Wait(); close(done) }()
		for _, n := range todo {
			if ctx.Err() != nil {
				return
			}
			select {
			case work <- n:
			case <-ctx.Done():
				return
			}
		}
	}()
	for e := range done {
		if err == nil { // else the points in flight are still drained
			err = j.line(e)
		}
		if err != nil {
			continue
		}
		rep.Computed++
		rep.Counts[e.Status]++
		if opt.Progress != nil {
			opt.Progress(Progress{rep.Computed, len(todo), e.Status})
		}
	}
	if err == nil && rep.Computed < len(todo) {
		err = ErrInterrupted
	}
	return rep, err
}

// run computes one point.
func (s *Spec) run(n named, refused map[int]string, prof *profiles, opt Options) (e *Entry) {
	e = &Entry{ID: n.ID, Values: n.Values}
	defer func() {
		if r := recover(); r != nil {
			e.Status, e.Reason, e.Result = Failed, fmt.Sprintf("internal error: %v", r), nil
		}
	}()
	if reason, ok := refused[n.Point]; ok {
		e.Status, e.Reason = Refused, reason
		return e
	}
	sc, err := s.resolve(n.point)
	if err != nil {
		e.Status, e.Reason = Failed, "refused only the second time: "+scenarios.Reason(err)
		return e
	}
	// Not the run's context: a point that was begun is finished.
	run, err := opt.simulate(context.Background(), sc, sim.Options{NoAdvice: true, Profile: prof.find})
	if err != nil {
		e.Status, e.Reason = Refused, scenarios.Reason(err)
		return e
	}
	e.Status = OK
	if !run.Result.Fits {
		e.Status, e.Reason = DoesNotFit, run.Result.FitAdvice
	}
	if e.Result, err = json.Marshal(run.Result); err != nil {
		e.Status, e.Reason, e.Result = Failed, err.Error(), nil
	}
	return e
}

// writePoints writes the list of a sweep's points, which a merge needs. All
// shards write the same. Results of another list are removed.
func writePoints(dir string, all []named) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	for _, n := range all {
		if err := enc.Encode(n); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, PointsFile)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text.Bytes()) {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, ResultsFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return writeWhole(path, func(w io.Writer) error {
		_, err := w.Write(text.Bytes())
		return err
	})
}

// writeWhole writes a file under a temporary name and renames it once it is whole.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tmp.Close() // again at worst
			_ = os.Remove(tmp.Name())
		}
	}()
	buf := bufio.NewWriterSize(tmp, 1<<20)
	for _, step := range []func() error{
		func() error { return write(buf) }, buf.Flush, func() error { return tmp.Chmod(0o644) }, tmp.Close,
	} {
		if err = step(); err != nil {
			return err
		}
	}
	return os.Rename(tmp.Name(), path)
}
