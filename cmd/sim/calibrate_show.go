package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/calibrate"
	"orrery/kernels/sample"
	"orrery/sim/cost"
	"orrery/sim/report"
)

// calibrateShowCmd shows measured points beside prices.
type calibrateShowCmd struct {
	What    string `arg:"" name:"file-or-profile" help:"File of samples, or a GPU whose profile to show."`
	Family  string `placeholder:"NAME" help:"Show only this family."`
	Profile string `placeholder:"NAME" help:"Profile whose prices to show beside a file: a GPU, or a profile file (*.json); default that of the file's GPU."`
	PNG     string `name:"png" placeholder:"FILE" help:"Also draw the curves." xor:"plot"`
	SVG     string `name:"svg" placeholder:"FILE" help:"Also draw the curves." xor:"plot"`
	JSON    bool   `name:"json" help:"Print one JSON document and nothing else."`
}

// shown is what `sim calibrate show --json` prints.
type shown struct {
	From      string            `json:"from"`
	GPU       string            `json:"gpu"`
	Profile   string            `json:"profile,omitempty"`
	Synthetic bool              `json:"synthetic,omitempty"`
	Measured  bool              `json:"measured"`
	Curves    []calibrate.Curve `json:"curves"`
}

func (c *calibrateShowCmd) Run(std *streams) error {
	s, err := c.load(std)
	if err != nil {
		return badInput(err)
	}
	path, format := c.PNG, "png"
	if c.SVG != "" {
		path, format = c.SVG, "svg"
	}
	if path != "" {
		if err := writeFile(path, func(w io.Writer) error { return drawCurves(w, format, s) }); err != nil {
			return badInput(err)
		}
	}
	if c.JSON {
		return writeJSON(std.out, s)
	}
	return s.print(std)
}

func (c *calibrateShowCmd) load(std *streams) (*shown, error) {
	if _, err := os.Stat(c.What); err == nil && !strings.HasSuffix(c.What, ".json") {
		f, err := readSamples(std, c.What)
		if err != nil {
			return nil, err
		}
		return c.ofFile(f)
	}
	p, err := calibrate.Profile(c.What)
	if err != nil {
		if strings.ContainsAny(c.What, `/.\`) {
			return nil, fmt.Errorf("no file %s", c.What)
		}
		return nil, err
	}
	s := &shown{From: "profile " + p.Name, GPU: p.GPU, Profile: p.Name}
	files, err := calibrate.MeasuredFiles()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.GPU != p.GPU {
			continue
		}
		curves, err := calibrate.Curves(f.File, p, c.Family)
		if err == nil { // a file without the family is passed over
			s.Measured = true
			s.Curves = append(s.Curves, curves...)
		}
	}
	if !s.Measured {
		s.Curves, err = calibrate.ProfileCurves(p, c.Family)
	}
	return s, err
}

func (c *calibrateShowCmd) ofFile(f *sample.File) (*shown, error) {
	s := &shown{From: f.Name, GPU: f.Header.GPU, Synthetic: f.Header.Synthetic, Measured: true}
	var p *cost.Profile
	var err error
	name := c.Profile
	if name == "" {
		name = calibrate.ProfileOf(f.Header)
	}
	if name != "" {
		if p, err = calibrate.Profile(name); err != nil {
			return nil, err
		}
		s.Profile = p.Name
	}
	s.Curves, err = calibrate.Curves(f, p, c.Family)
	return s, err
}

func (s *shown) print(std *streams) error {
	head := s.GPU + ", " + s.From
	if s.Profile != "" && !strings.HasPrefix(s.From, "profile ") {
		head += ", prices of profile " + s.Profile
	}
	fmt.Fprintln(std.out, head)
	if s.Synthetic {
		fmt.Fprintln(std.out, "synthetic: numbers of a fake GPU")
	}
	if !s.Measured {
		fmt.Fprintln(std.out, "nothing was measured here: these are the profile's prices alone")
	}
	if s.Measured && s.Profile == "" {
		fmt.Fprintln(std.out, "no profile is known for this GPU: measured points alone (--profile names one)")
	}
	for i := range s.Curves {
		if err := printCurve(std, &s.Curves[i]); err != nil {
			return err
		}
	}
	return nil
}

func printCurve(std *streams, c *calibrate.Curve) error {
	fmt.Fprintf(std.out, "\n%s\n", c.Name())
	top := 0.0
	for _, p := range c.Points {
		top = max(top, c.RateOf(p, p.Median), c.RateOf(p, p.Fit))
	}
	var rows []table.Row
	var misses []float64
	for _, p := range c.Points {
		measured, width, rate, fit, miss := "", "", "", "", ""
		if p.Median > 0 {
			measured = fmt.Sprintf("%.4g", p.Median)
			if p.N > 1 {
				width = fmt.Sprintf("%.1f", 50*(p.High-p.Low)/p.Median)
			}
		}
		if p.Fit > 0 {
			fit = fmt.Sprintf("%.4g", p.Fit)
		}
		if p.Fit > 0 && p.Median > 0 {
			miss = fmt.Sprintf("%+.1f", 100*p.Residual)
			misses = append(misses, math.Abs(p.Residual))
		}
		last := p.Shape
		if c.Rate != "" {
			best := c.RateOf(p, p.Median)
			if best == 0 {
				best = c.RateOf(p, p.Fit)
			}
			rate = fmt.Sprintf("%.4g", best)
			if len(c.Line) > 0 {
				last = bar(best/top, c.RateOf(p, p.Fit)/top)
			}
		}
		rows = append(rows, table.Row{size(c.X, p.X), measured, width, fit, miss, rate, last})
	}
	last := "shape"
	if len(c.Line) > 0 {
		last = "rate (| is the fit)"
	}
	if err := report.Table(std.out, table.Row{c.X, c.Unit, "± %", "fit us", "miss %", c.Rate, last}, rows); err != nil {
		return err
	}
	if len(misses) > 0 {
		slices.Sort(misses)
		fmt.Fprintf(std.out, "miss: median %.1f %%, largest %.1f %% of %d points\n", 100*misses[(len(misses)-1)/2], 100*misses[len(misses)-1], len(misses))
	}
	return nil
}

// size prints bytes in powers of 1024 where they are whole, all else in short.
func size(what string, x float64) string {
	if what != "bytes" || x < 1024 || x != math.Trunc(x) {
		return fmt.Sprintf("%.4g", x)
	}
	for _, u := range []string{"KiB", "MiB", "GiB"} {
		if x /= 1024; x < 1024 || u == "GiB" {
			return fmt.Sprintf("%.4g %s", x, u)
		}
	}
	return ""
}

// bar draws a share as a bar of up to 24 letters, with a mark at the fit.
func bar(share, fit float64) string {
	const width = 24
	at := func(x float64) int { return min(max(int(math.Round(x*width)), 0), width) }
	line := []rune(strings.Repeat("▇", at(share)) + strings.Repeat(" ", width-at(share)+1))
	if fit > 0 {
		line[at(fit)] = '|'
	}
	return strings.TrimRight(string(line), " ")
}
