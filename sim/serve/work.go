package serve

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"

	"orrery/calibrate"
	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/plan"
	"orrery/sim/report"
)

// resolve reads what was asked. A scenario here has no folder: what it names are the
// catalogue's, never files of this machine.
func (s *Server) resolve(a Asked) (text []byte, res *scenarios.Resolved, err error) {
	name := a.Name
	text = []byte(a.TOML)
	switch {
	case len(a.Sets) > maxSets:
		return nil, nil, fmt.Errorf("%d overrides, at most %d", len(a.Sets), maxSets)
	case a.TOML != "" && name == "":
		name = "scenario"
	case a.TOML == "" && name == "":
		return nil, nil, errors.New("no scenario: give toml, its text, or name, one of the catalogue")
	case a.TOML == "":
		var ok bool
		if text, ok = scenarios.Text(name); !ok {
			return nil, nil, fmt.Errorf("%q is not a scenario of the catalogue", clip(name))
		}
	}
	if res, err = scenarios.Parse(clip(name)+".toml", text, a.Sets, nil); err != nil {
		return nil, nil, err
	}
	if p := res.Scenario.Cluster.Profile; !known(p) {
		return nil, nil, &scenarios.Error{File: clip(name) + ".toml", Key: "cluster.profile", Msg: "profiles in files are not read here", Found: fmt.Sprintf("%q", clip(p)), Allowed: "names of `sim list profiles`"}
	}
	if err := s.options(nil).Fits(&res.Scenario); err != nil {
		return nil, nil, fmt.Errorf("%w; sim serve --max-ops raises the limit", err)
	}
	return text, res, nil
}

// known reports whether a profile is built in.
func known(name string) bool {
	_, err := hw.LookupGPU(name)
	return err == nil
}

func profile(name string) (*cost.Profile, error) {
	g, err := hw.LookupGPU(name)
	if err != nil {
		return nil, err
	}
	return calibrate.Profile(g.Name)
}

func (s *Server) options(phase func(sim.Phase)) sim.Options {
	return sim.Options{Profile: profile, MaxOps: s.cfg.MaxOps, Phase: phase}
}

// lay resolves what was asked and lays it out, as sim check does.
func (s *Server) lay(a Asked) (*scenarios.Resolved, error) {
	_, res, err := s.resolve(a)
	if err != nil {
		return nil, err
	}
	if _, err := plan.New(&res.Scenario); err != nil {
		return nil, err
	}
	return res, nil
}

// start runs r in its turn, in a goroutine of its own.
func (s *Server) start(ctx context.Context, r *run) {
	s.turns.Lock()
	before, mine := s.last, make(chan struct{})
	s.last = mine
	s.turns.Unlock()
	s.running.Go(func() {
		defer r.cancel()
		if s.turn(ctx, before, mine) {
			defer func() { <-s.pool }()
		}
		o, err := s.simulate(ctx, r)
		kept, evicted := s.runs.finish(r, o, func(v *View) {
			v.Phase = ""
			switch {
			case ctx.Err() != nil:
				v.State = Cancelled
			case err != nil:
				v.State, v.Error = Failed, err.Error()
			default:
				v.State, v.Summary, v.NoReport, v.NoTrace = Done, summary(o.result), o.report.none, o.trace.none
			}
		})
		if kept && err == nil {
			s.save(r)
		}
		s.forget(evicted)
	})
}

// turn waits for a slot of the pool behind the runs that were asked for earlier, and
// reports whether it got one; a run that is cancelled ends without.
func (s *Server) turn(ctx context.Context, before, mine chan struct{}) bool {
	select {
	case <-before:
	case <-ctx.Done():
		s.running.Go(func() { // its turn goes to the next when it comes
			<-before
			close(mine)
		})
		return false
	}
	defer close(mine)
	select {
	case s.pool <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// simulate makes the outcome of a run. A defect of the simulator fails the run, not the
// server.
func (s *Server) simulate(ctx context.Context, r *run) (o outcome, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("internal error %d; the server's log says more", s.panicked("run "+r.view.ID, v))
		}
	}()
	phase := func(p sim.Phase) { s.runs.enter(r, string(p)) }
	if err := ctx.Err(); err != nil { // while it waited
		return o, err
	}
	done, err := sim.Simulate(ctx, &r.resolved.Scenario, s.options(phase))
	if err != nil {
		return o, err
	}
	o.result = done.Result
	if o.json, err = encode(done.Result); err != nil {
		return o, err
	}
	phase("writing the report")
	o.report = zipped(ctx, "report", func(w io.Writer) error { return report.HTML(w, done) })
	if err := ctx.Err(); err != nil {
		return o, err
	}
	if n := done.Program.Len(); n > maxTraced {
		o.trace.none = fmt.Sprintf("no trace: the step has %d ops, more than %d; sim run --out writes it", n, maxTraced)
		return o, nil
	}
	phase("writing the trace")
	o.trace = zipped(ctx, "trace", func(w io.Writer) error { return report.Perfetto(w, done) })
	return o, ctx.Err()
}

// Bounds of what is kept of a run.
const (
	maxBlob   = 64 << 20  // bytes of a report or a trace, zipped
	maxTraced = 1_000_000 // ops; a trace takes more time and memory than all the rest
)

// blob is a zipped document: in memory, or in a file of the server's folder.
type blob struct {
	data []byte
	path string
	none string // why there is none
}

// limited is a buffer that fails when it is full or nobody wants it any more.
type limited struct {
	bytes.Buffer
	ctx context.Context
}

func (l *limited) Write(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.Len()+len(p) > maxBlob {
		return 0, fmt.Errorf("it has more than %d MiB zipped; sim run --out writes it", maxBlob>>20)
	}
	return l.Buffer.Write(p)
}

func zipped(ctx context.Context, what string, write func(io.Writer) error) blob {
	b := limited{ctx: ctx}
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err == nil {
		if err = write(z); err == nil {
			err = z.Close()
		}
	}
	if err != nil {
		return blob{none: fmt.Sprintf("no %s: %v", what, err)}
	}
	return blob{data: bytes.Clone(b.Bytes())}
}
