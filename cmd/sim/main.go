// Command sim simulates training runs on GPU clusters, priced by measured kernels.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

// Exit codes.
const (
	exitFailed   = 1 // the job does not fit, or a check failed
	exitBadInput = 2
	exitInternal = 3
)

// exitError carries the exit code that an error asks for.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func badInput(err error) error    { return &exitError{exitBadInput, err} }
func checkFailed(err error) error { return &exitError{exitFailed, err} }

// streams are where a command writes.
type streams struct {
	out, err io.Writer
	colour   bool // out is a terminal
	progress bool // err is a terminal
}

// cli is the program's command line: one field and one file a subcommand.
type cli struct {
	Run       runCmd       `cmd:"" help:"Simulate a scenario."`
	Prefill   prefillCmd   `cmd:"" help:"Simulate requests to a served model: time to the first token."`
	Check     checkCmd     `cmd:"" help:"Validate a scenario and print it with the origin of every value."`
	Sweep     sweepCmd     `cmd:"" help:"Simulate a scenario at many points."`
	Search    searchCmd    `cmd:"" help:"Find the best layout of a scenario (parallelism, microbatch, schedule, recomputation), or with --schedule an order of a pipeline."`
	Results   resultsCmd   `cmd:"" help:"Show, query and export what a sweep found."`
	Show      showCmd      `cmd:"" help:"Show one model."`
	List      listCmd      `cmd:"" help:"List what is known: models, gpus, nodes, topologies, schedules, packers, distributions, balancers, profiles, scenarios, plans, sweeps."`
	Compare   compareCmd   `cmd:"" help:"Tell two scenarios or results apart."`
	Serve     serveCmd     `cmd:"" help:"Open a local page to edit, run and compare scenarios and browse sweeps."`
	Capacity  capacityCmd  `cmd:"" help:"Plan a training run: GPUs, time, failures, cost."`
	Schedule  scheduleCmd  `cmd:"" help:"Order and time one pipeline schedule."`
	Pack      packCmd      `cmd:"" help:"Pack samples of unequal length into the units of a pipeline."`
	Balance   balanceCmd   `cmd:"" help:"Balance one expert load."`
	Verify    verifyCmd    `cmd:"" help:"Hold predictions against published runs."`
	Price     priceCmd     `cmd:"" help:"Price one kernel."`
	Export    exportCmd    `cmd:"" help:"Write what other programs run."`
	Calibrate calibrateCmd `cmd:"" help:"Fit price profiles to measured kernels, and check them."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process
	code := runMain(ctx, os.Args[1:], &streams{out: os.Stdout, err: os.Stderr,
		colour: term.IsTerminal(int(os.Stdout.Fd())), progress: term.IsTerminal(int(os.Stderr.Fd()))})
	stop()
	os.Exit(code)
}

// runMain runs one command line and returns the exit code.
func runMain(ctx context.Context, args []string, std *streams) (code int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(std.err, "sim: internal error: %v\n%s", r, debug.Stack())
			code = exitInternal
		}
	}()
	var c cli
	done := -1
	parser, err := kong.New(&c, kong.Name("sim"), kong.Description("A simulator of GPU clusters that train large models."),
		kong.Writers(std.out, std.err), kong.Exit(func(n int) { done = n }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.ExplicitGroups([]kong.Group{{Key: layoutGroup, Title: "For a layout:"}, {Key: orderGroup, Title: "For an order of a pipeline, with --schedule:"}}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std))
	if err != nil {
		fmt.Fprintln(std.err, "sim: internal error:", err)
		return exitInternal
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if done >= 0 { // --help
		return done
	}
	if err == nil {
		err = parsed.Run()
	} else {
		err = badInput(err)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(std.err, "sim:", err)
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitInternal
}

// limitThreads bounds the threads that run Go code; 0 leaves all cores.
func limitThreads(n int) {
	if n > 0 {
		runtime.GOMAXPROCS(n)
	}
}

// writeFile writes under a temporary name and renames it once it is whole.
func writeFile(path string, write func(io.Writer) error) (err error) {
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
	if err = write(tmp); err != nil {
		return err
	}
	if err = tmp.Chmod(0o644); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
