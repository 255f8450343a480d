package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"orrery/sim/serve"
)

// serveCmd is `sim serve`: a page to edit, run and compare scenarios.
type serveCmd struct {
	Addr    string  `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where to listen; port 0 takes a free one. An address that others can reach needs a token."`
	Dir     string  `placeholder:"DIR" help:"Keep runs there, in runs/, and show the sweeps in it. Without it runs are forgotten at the end."`
	Workers int     `default:"0" help:"Runs at a time; 0 is one a core. Results do not depend on it."`
	Keep    int     `default:"50" help:"Runs kept that are over; the oldest go first."`
	MaxOps  float64 `default:"6e6" help:"Largest step that is run, in estimated ops; memory is up to 0.5 kB an op and run."`
	Token   string  `env:"ORRERY_TOKEN" placeholder:"TEXT" help:"Ask for this token, of 16 characters or more; without it one is made where it is needed."`
}

// patience is how long runs that were cancelled have to end.
const patience = 5 * time.Second

// minToken is the shortest token that nobody guesses.
const minToken = 16

func (c *serveCmd) Run(ctx context.Context, std *streams) (err error) {
	switch {
	case c.Workers < 0:
		return badInput(fmt.Errorf("--workers is %d, must be 0 or more", c.Workers))
	case c.Keep < 1:
		return badInput(fmt.Errorf("--keep is %d, must be 1 or more", c.Keep))
	case !(c.MaxOps >= 1):
		return badInput(fmt.Errorf("--max-ops is %g, must be 1 or more", c.MaxOps))
	case c.Token != "" && len(c.Token) < minToken:
		return badInput(fmt.Errorf("--token has %d characters, must have %d or more", len(c.Token), minToken))
	}
	// Whoever stops a service does so with SIGTERM. A second signal kills.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return badInput(fmt.Errorf("--addr %s: %w", c.Addr, err))
	}
	defer func() {
		if closing := l.Close(); err == nil && !errors.Is(closing, net.ErrClosed) {
			err = closing
		}
	}()
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("%s is no TCP address", l.Addr())
	}
	if !at.IP.IsLoopback() && c.Token == "" {
		c.Token = rand.Text()
	}
	s, err := serve.New(serve.Config{Dir: c.Dir, Token: c.Token, Workers: c.Workers, Keep: c.Keep, MaxOps: c.MaxOps, Log: std.err})
	if err != nil {
		return badInput(err)
	}
	defer func() {
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		select {
		case closing := <-closed:
			err = errors.Join(err, closing)
		case <-time.After(patience): // a run is in a long phase: it ends with the process
		}
	}()
	if _, err := fmt.Fprintf(std.out, "open %s (Ctrl-C stops it)\n", address(at, c.Token)); err != nil {
		return err
	}
	if err := s.Serve(ctx, l); err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, "stopped")
	return err
}

// address is what a browser on this machine opens; elsewhere the host's name stands for
// one that listens on all addresses.
func address(at *net.TCPAddr, token string) string {
	host := at.IP.String()
	if at.IP.IsUnspecified() {
		host = "localhost"
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, fmt.Sprint(at.Port)), Path: "/"}
	if token != "" {
		u.RawQuery = url.Values{"token": {token}}.Encode()
	}
	return u.String()
}
