package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"orrery/scenarios"
	"orrery/sim/report"
	"orrery/sim/search"
)

// searchCmd is `sim search`: the best layout of a scenario or, with --schedule, the
// shortest order of a pipeline.
type searchCmd struct {
	File     string   `arg:"" optional:"" help:"Scenario (TOML): model, cluster and batch. With --schedule, whose sizes, placement and costs (in ms) to take."`
	Schedule bool     `help:"Search for a pipeline order."`
	Set      []string `placeholder:"path.to.key=value" help:"Override a key of the scenario; may be repeated." sep:"none"`
	Budget   string   `placeholder:"N|DURATION" help:"End after so many simulations, or so much time (30s), with what is known then; with --schedule, steps of the search (40000 where absent) or a time."`
	Workers  int      `default:"0" help:"Threads; 0 is one a core. Results do not depend on it, unless the budget is a time."`
	JSON     bool     `name:"json" help:"Print one JSON document and nothing else."`

	layoutSearch   `group:"layout"`
	scheduleSearch `group:"order"`
}

// The groups of flags: what one search takes, the other refuses.
const layoutGroup, orderGroup = "layout", "order"

// layoutSearch are the flags that --schedule has no use for.
type layoutSearch struct {
	Objective string   `enum:"step_time,cost,memory,energy" default:"step_time" help:"What is to be least: step_time, cost, memory, energy."`
	Axis      []string `placeholder:"path.to.key=value,..." help:"Try these values of a key, of an axis of the search or any other; may be repeated." sep:"none"`
	Fix       []string `placeholder:"path.to.key[=value]" help:"Leave an axis of the search at the scenario's value, or at this one; may be repeated." sep:"none"`
	MaxMemory float64  `placeholder:"GIB" help:"Most memory of a GPU that a step may need at its peak; without it what fits."`
	MaxGPUs   int64    `name:"max-gpus" placeholder:"N" help:"Try other numbers of GPUs too: powers of two of nodes, up to N."`
	NoFront   bool     `help:"Look for the best alone, not for the front of time, memory and money."`
	Top       int      `default:"3" help:"Points to print."`
	Out       string   `placeholder:"DIR" help:"Write there search.json (all points that were simulated, the front, the reasons) and search.html, a page of the points."`
	searchMoney
}

// searchMoney is what cost and energy are computed from.
type searchMoney struct {
	USDPerGPUHour *float64 `name:"usd-per-gpu-hour" placeholder:"USD" help:"Rent of a GPU; default as of capacity plans."`
	USDPerKWh     *float64 `name:"usd-per-kwh" placeholder:"USD" help:"Electricity, where the rent does not contain it."`
}

// gcPercent lets the heap of a search grow: hundreds of thousands of short-lived
// scenarios are made, and little of them is kept.
const gcPercent = 400

func (c *searchCmd) Run(ctx context.Context, std *streams, parsed *kong.Context) error {
	unused, where := orderGroup, "with"
	if c.Schedule {
		unused, where = layoutGroup, "without"
	}
	for _, given := range parsed.Path {
		if f := given.Flag; f != nil && f.Group != nil && f.Group.Key == unused {
			return badInput(fmt.Errorf("search: --%s is of a search %s --schedule", f.Name, where))
		}
	}
	switch {
	case c.Schedule:
		return c.order(ctx, std, c)
	case c.File == "":
		return badInput(errors.New("search: no scenario to search layouts of; sim search --schedule searches for an order"))
	}
	return c.layout(ctx, std)
}

func (c *searchCmd) layout(ctx context.Context, std *streams) error {
	base, err := scenarios.Open(c.File)
	if err != nil {
		return badInput(err)
	}
	opt, limit, err := c.options()
	if err != nil {
		return badInput(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills
	if limit > 0 {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, limit)
		defer done()
	}
	bar := newSearchProgress(std)
	opt.Progress = bar.at
	res, err := search.Run(ctx, base, strings.TrimSuffix(filepath.Base(c.File), ".toml"), opt)
	bar.end()
	if err != nil {
		return badInput(fmt.Errorf("%s: %w", c.File, err))
	}
	if c.Out != "" {
		if err := os.MkdirAll(c.Out, 0o755); err != nil {
			return badInput(err)
		}
		if err := writeFile(filepath.Join(c.Out, "search.json"), func(w io.Writer) error { return writeJSON(w, res) }); err != nil {
			return err
		}
		page, err := report.SearchPage(res, c.command())
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(c.Out, "search.html"), func(w io.Writer) error { return report.Points(w, *page) }); err != nil {
			return err
		}
	}
	if c.JSON {
		err = writeJSON(std.out, res)
	} else {
		err = report.Search(std.out, res, c.Top, std.colour)
		if err == nil && c.Out != "" {
			_, err = fmt.Fprintf(std.out, "wrote search.json and search.html to %s\n", c.Out)
		}
	}
	if err == nil && res.Best == nil {
		err = checkFailed(errors.New(res.Nothing()))
	}
	return err
}

// command runs the scenario as it is searched.
func (c *searchCmd) command() string {
	words := []string{"sim run " + c.File}
	for _, s := range c.Set {
		words = append(words, fmt.Sprintf("--set '%s'", strings.ReplaceAll(s, "'", `'\''`)))
	}
	return strings.Join(words, " ")
}

// options are the flags as the search takes them, and the time that it has; 0 is no
// limit.
func (c *searchCmd) options() (opt search.Options, limit time.Duration, err error) {
	opt = search.Options{Objective: search.Objective(c.Objective), MaxMemoryGiB: c.MaxMemory, MaxGPUs: c.MaxGPUs, NoFront: c.NoFront, Workers: c.Workers, Assumptions: c.assumptions()}
	if c.Workers < 0 || c.Top < 0 || c.MaxMemory < 0 || c.MaxGPUs < 0 {
		return opt, 0, errors.New("--workers, --top, --max-memory and --max-gpus must be 0 or more")
	}
	for _, text := range c.Set {
		o, err := scenarios.ParseOverride(text)
		if err != nil {
			return opt, 0, err
		}
		opt.Set = append(opt.Set, o)
	}
	for _, text := range c.Axis {
		a, err := search.ParseAxis(text)
		if err != nil {
			return opt, 0, fmt.Errorf("--axis: %w", err)
		}
		opt.Axes = append(opt.Axes, a)
	}
	for _, text := range c.Fix {
		key, value, given := strings.Cut(text, "=")
		if !given {
			opt.Fixed = append(opt.Fixed, key)
			continue
		}
		opt.Axes = append(opt.Axes, search.Axis{Key: key, Values: []any{scenarios.ParseValue(value)}})
	}
	if c.Budget != "" {
		if n, err := strconv.Atoi(c.Budget); err == nil && n > 0 {
			opt.Simulations = n
		} else if limit, err = time.ParseDuration(c.Budget); err != nil || limit <= 0 {
			return opt, 0, fmt.Errorf("--budget is %q, must be a number of simulations from 1 or a time such as 30s", c.Budget)
		}
	}
	return opt, limit, nil
}

// assumptions are a capacity plan's defaults, but for what the user gives.
func (m *searchMoney) assumptions() search.Assumptions {
	of := func(given *float64, key string) float64 {
		if given != nil {
			return *given
		}
		v, _ := scenarios.CapacityDefault(key)
		return v.(float64)
	}
	return search.Assumptions{USDPerGPUHour: of(m.USDPerGPUHour, "money.usd_per_gpu_hour"), USDPerKWh: of(m.USDPerKWh, "money.usd_per_kwh"),
		HostWPerGPU: of(nil, "energy.host_w_per_gpu"), Load: of(nil, "energy.load"), PUE: of(nil, "energy.pue")}
}
