package main

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"orrery/calibrate"
)

// mostCurves fit on a page that can be read.
const mostCurves = 30

// Colours that differ for the colour-blind too (Okabe, Ito 2008).
var (
	measuredColour = color.RGBA{0, 114, 178, 255}
	fitColour      = color.RGBA{213, 94, 0, 255}
	gridColour     = color.RGBA{225, 225, 225, 255}
)

// drawCurves draws a tile for each curve: rates or times over size, and below
// them, on the same axis, how far measurements are from the prices.
func drawCurves(w io.Writer, format string, s *shown) error {
	n := len(s.Curves)
	if n > mostCurves {
		return fmt.Errorf("%d curves are too many for one picture, %d fit: choose with --family", n, mostCurves)
	}
	columns := min(3, int(math.Ceil(math.Sqrt(float64(n)))))
	rows := (n + columns - 1) / columns
	const tileWidth, tileHeight, margin, headline = 12 * vg.Centimeter, 10 * vg.Centimeter, 0.3 * vg.Centimeter, 0.9 * vg.Centimeter
	width, height := tileWidth*vg.Length(columns), tileHeight*vg.Length(rows)+headline
	var canvas vg.CanvasSizer
	var save io.WriterTo
	if format == "svg" {
		c := vgsvg.New(width, height)
		canvas, save = c, c
	} else {
		c := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(120))}
		canvas, save = c, c
	}
	all := draw.New(canvas)
	drawHeadline(all, s)
	label := "measured"
	if s.Synthetic {
		label = "synthetic"
	}
	for i := range s.Curves {
		column, row := vg.Length(i%columns), vg.Length(i/columns)
		top := height - headline - row*tileHeight
		tile := draw.Canvas{Canvas: all.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: column*tileWidth + margin, Y: top - tileHeight + margin}, Max: vg.Point{X: (column+1)*tileWidth - margin, Y: top - margin}}}
		if err := drawCurve(tile, &s.Curves[i], label); err != nil {
			return fmt.Errorf("%s: %w", s.Curves[i].Name(), err)
		}
	}
	_, err := save.WriteTo(w)
	return err
}

func drawHeadline(c draw.Canvas, s *shown) {
	text := s.GPU + ", " + s.From
	what := ": measured"
	if s.Synthetic {
		what = ": SYNTHETIC numbers of a fake GPU"
	}
	switch {
	case !s.Measured:
		text += ": prices alone, nothing was measured here"
	case s.Profile != "":
		text += what + " (points, 95 % interval) and priced by profile " + s.Profile
	default:
		text += what + " (points, 95 % interval)"
	}
	style := plot.New().Title.TextStyle
	style.Font.Size = vg.Points(13)
	style.XAlign, style.YAlign = draw.XCenter, draw.YTop
	c.FillText(style, vg.Point{X: c.Center().X, Y: c.Max.Y - vg.Points(6)}, text)
}

// points are a curve's measured points with the ends of their intervals.
type points struct {
	plotter.XYs
	plotter.YErrors
}

func drawCurve(tile draw.Canvas, c *calibrate.Curve, label string) error {
	var measured points
	var fit, residual, line plotter.XYs
	for _, p := range c.Points {
		value := func(v float64) float64 { return v }
		if c.Rate != "" {
			value = func(v float64) float64 { return c.RateOf(p, v) }
		}
		if p.Median > 0 {
			y := value(p.Median)
			low, high := value(p.Low), value(p.High)
			measured.XYs = append(measured.XYs, plotter.XY{X: p.X, Y: y})
			measured.YErrors = append(measured.YErrors, struct{ Low, High float64 }{math.Abs(y - min(low, high)), math.Abs(max(low, high) - y)})
		}
		if p.Fit > 0 {
			fit = append(fit, plotter.XY{X: p.X, Y: value(p.Fit)})
			if p.Median > 0 {
				residual = append(residual, plotter.XY{X: p.X, Y: 100 * p.Residual})
			}
		}
	}
	for _, q := range c.Line {
		line = append(line, plotter.XY{X: q.X, Y: c.LineRate(q)})
	}
	if len(measured.XYs)+len(fit) == 0 {
		return fmt.Errorf("no point to draw")
	}
	p := newPlot(c, bounds(measured.XYs, fit))
	p.Title.Text = title(c)
	p.Y.Label.Text = c.Unit
	if c.Rate != "" {
		p.Y.Label.Text = c.Rate
	}
	p.Y.Min = 0
	if len(residual) > 0 {
		p.X.Label.Text = ""
	}
	if err := addFit(p, fit, line); err != nil {
		return err
	}
	if len(measured.XYs) > 0 {
		if err := addMeasured(p, measured, label); err != nil {
			return err
		}
	}
	p.Y.Max *= 1.08
	if len(residual) == 0 {
		p.Draw(tile)
		return nil
	}
	below, err := residualPlot(c, residual, bounds(measured.XYs, fit))
	if err != nil {
		return err
	}
	drawAligned(tile, p, below)
	return nil
}

// title breaks names that are wider than a tile.
func title(c *calibrate.Curve) string {
	const widest = 62 // letters
	name := c.Name()
	if len(name) <= widest || c.Same == "" {
		return name
	}
	return strings.TrimSuffix(name, " "+c.Same) + "\n" + c.Same
}

// drawAligned draws one plot above another, with their data in line.
func drawAligned(tile draw.Canvas, above, below *plot.Plot) {
	const share = 0.32 // of the height, for the lower one
	middle := tile.Min.Y + (tile.Max.Y-tile.Min.Y)*share
	upper, lower := tile, tile
	upper.Min.Y, lower.Max.Y = middle, middle-vg.Points(4)
	u, l := above.DataCanvas(upper), below.DataCanvas(lower)
	left, right := max(u.Min.X, l.Min.X), min(u.Max.X, l.Max.X)
	upper.Min.X += left - u.Min.X
	lower.Min.X += left - l.Min.X
	upper.Max.X += right - u.Max.X
	lower.Max.X += right - l.Max.X
	above.Draw(upper)
	below.Draw(lower)
}

// bounds are the ends of the x axis of both panels.
func bounds(series ...plotter.XYs) [2]float64 {
	b := [2]float64{math.Inf(1), math.Inf(-1)}
	for _, s := range series {
		for _, p := range s {
			b[0], b[1] = min(b[0], p.X), max(b[1], p.X)
		}
	}
	return b
}

// newPlot has the axes that both panels share: sizes on a logarithmic axis where
// they span more than a factor of four.
func newPlot(c *calibrate.Curve, x [2]float64) *plot.Plot {
	p := plot.New()
	p.Title.TextStyle.Font.Size = vg.Points(10)
	p.Title.Padding = vg.Points(4)
	p.X.Label.Text = c.X
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font.Size = vg.Points(9)
		a.Tick.Label.Font.Size = vg.Points(8)
		a.Padding = vg.Points(2)
	}
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Font.Size = vg.Points(8)
	p.Y.Tick.Marker = fewTicks{}
	p.X.Tick.Marker = fewTicks{}
	if x[0] > 0 && x[1] > 4*x[0] {
		p.X.Scale = plot.LogScale{}
		p.X.Tick.Marker = decades{}
		p.X.Min, p.X.Max = x[0]/1.25, x[1]*1.25
	} else {
		pad := max((x[1]-x[0])*0.05, math.Abs(x[0])*0.01, 1e-9)
		p.X.Min, p.X.Max = x[0]-pad, x[1]+pad
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = gridColour, gridColour
	p.Add(grid)
	return p
}

func addMeasured(p *plot.Plot, m points, label string) error {
	s, err := plotter.NewScatter(m.XYs)
	if err != nil {
		return err
	}
	s.Color, s.Shape, s.Radius = measuredColour, draw.CircleGlyph{}, vg.Points(2.2)
	bars, err := plotter.NewYErrorBars(m)
	if err != nil {
		return err
	}
	bars.Color, bars.CapWidth = measuredColour, vg.Points(3)
	p.Add(bars, s)
	p.Legend.Add(label, s)
	return nil
}

func addFit(p *plot.Plot, fit, line plotter.XYs) error {
	if len(line) > 0 {
		l, err := plotter.NewLine(line)
		if err != nil {
			return err
		}
		l.Color, l.Width = fitColour, vg.Points(1.3)
		p.Add(l)
		p.Legend.Add("fit", l)
		return nil
	}
	if len(fit) == 0 {
		return nil
	}
	s, err := plotter.NewScatter(fit)
	if err != nil {
		return err
	}
	s.Color, s.Shape, s.Radius = fitColour, draw.CrossGlyph{}, vg.Points(2.5)
	p.Add(s)
	p.Legend.Add("fit", s)
	return nil
}

// residualPlot shows how far measurements are from the prices, in per cent.
func residualPlot(c *calibrate.Curve, residual plotter.XYs, x [2]float64) (*plot.Plot, error) {
	p := newPlot(c, x)
	p.Y.Label.Text = "miss %"
	zero, err := plotter.NewLine(plotter.XYs{{X: p.X.Min, Y: 0}, {X: p.X.Max, Y: 0}})
	if err != nil {
		return nil, err
	}
	zero.Color, zero.Width = fitColour, vg.Points(1)
	s, err := plotter.NewScatter(residual)
	if err != nil {
		return nil, err
	}
	s.Color, s.Shape, s.Radius = measuredColour, draw.CircleGlyph{}, vg.Points(2)
	p.Add(zero, s)
	widest := 5.0
	for _, r := range residual {
		widest = max(widest, 1.1*math.Abs(r.Y))
	}
	p.Y.Min, p.Y.Max = -widest, widest
	return p, nil
}
