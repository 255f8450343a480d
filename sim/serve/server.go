// Package serve is the local page of `sim serve`: edit a scenario, run it, compare runs,
// browse sweeps. docs/serve.md lists its routes; page/ is what the browser loads.
//
// Whatever a request asks costs bounded memory: bodies, texts and nesting have limits,
// a step is sized before it is laid out (sim.Options.MaxOps), runs wait in a queue of
// bounded length for a bounded pool, and of those that are done the latest are kept.
package serve

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
)

//go:embed page
var pageFiles embed.FS

// DefaultMaxOps bounds a step; all of the catalogue have less. A step, what is tried
// beside it and its trace take up to 0.5 kB an op.
const DefaultMaxOps = 6e6

// Limits that are the same everywhere.
const (
	maxBody     = 2 << 20 // bytes of a request; a scenario has up to 1 MiB
	maxSets     = 200     // overrides of a request
	maxRequests = 64      // in flight at a time
	maxStreams  = 32      // of events
	queueLength = 64      // runs that wait
	keepBytes   = 256 << 20
	drain       = 5 * time.Second // for what is in flight when the server stops
)

// Config is what a server is started with.
type Config struct {
	Dir     string  // runs are kept there and sweeps found; "": runs are forgotten at the end
	Token   string  // that requests must carry; "": the server is for this machine's loopback
	Workers int     // runs at a time; 0 is one a core
	Keep    int     // finished runs that are kept
	MaxOps  float64 // of a step (sim.Options.MaxOps)
	Log     io.Writer
}

// Server answers the page's requests.
type Server struct {
	cfg     Config
	log     *log.Logger
	routes  *http.ServeMux
	pages   fs.FS
	root    *os.Root // of Dir; nil without
	lock    *flock.Flock
	saving  sync.Mutex // of the runs' folders
	runs    store
	pool    chan struct{} // a slot for each run that runs
	turns   sync.Mutex
	last    chan struct{} // closed when the run that was asked for last has had its turn
	checks  chan struct{} // a slot for each scenario that is checked
	flight  chan struct{} // a slot for each request
	streams chan struct{} // a slot for each stream of events
	panics  atomic.Int64

	stopping context.Context // done once the server stops: runs and streams end
	stop     context.CancelFunc
	running  sync.WaitGroup // goroutines of runs
}

// New makes a server; Close ends it.
func New(cfg Config) (*Server, error) {
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Keep <= 0 {
		return nil, fmt.Errorf("keep is %d, must be 1 or more", cfg.Keep)
	}
	pages, err := fs.Sub(pageFiles, "page")
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log.New(cfg.Log, "sim serve: ", log.LstdFlags), pages: pages,
		pool: make(chan struct{}, cfg.Workers), checks: make(chan struct{}, cfg.Workers),
		flight: make(chan struct{}, maxRequests), streams: make(chan struct{}, maxStreams)}
	s.last = make(chan struct{})
	close(s.last)
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.runs.init(cfg.Keep)
	if cfg.Dir != "" {
		if err := s.open(); err != nil {
			return nil, err
		}
	}
	s.routes = s.mux()
	return s, nil
}

// Serve answers on a listener until the context is done, then cancels the runs, lets
// requests in flight end and closes the port.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second, // streams and downloads set their own
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          s.log,
	}
	stopped := make(chan error, 1)
	release := context.AfterFunc(ctx, func() {
		s.stop()
		late, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		stopped <- errors.Join(h.Shutdown(late), h.Close())
	})
	err := h.Serve(l)
	if !release() { // the context is done
		if err := <-stopped; err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return nil
	}
	return err
}

// Close cancels all runs and waits for them; one ends with the phase that it is in.
func (s *Server) Close() error {
	s.stop()
	s.running.Wait()
	if s.root == nil {
		return nil
	}
	return errors.Join(s.root.Close(), s.lock.Close())
}
