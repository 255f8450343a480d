package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Sizes of the SVG, in its own pixels.
const (
	svgWidth  = 1000.0
	svgRight  = 16.0
	svgTop    = 34.0
	svgLane   = 24.0
	svgBottom = 58.0
	svgFont   = 11.0
	svgGlyph  = 0.62 * svgFont // width of a digit
)

// SVGGantt draws the chart as a picture that stands alone, on white.
func SVGGantt(w io.Writer, g Gantt) error {
	left := 24.0
	for _, lane := range g.Lanes {
		left = max(left, 16+svgGlyph*float64(len([]rune(lane.Name))))
	}
	lanes := svgLane * float64(len(g.Lanes))
	height := svgTop + lanes + svgBottom
	scale := 0.0
	if g.End > 0 {
		scale = (svgWidth - left - svgRight) / g.End
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %g %g" font-family="Helvetica, Arial, sans-serif" font-size="%g">`+"\n",
		svgWidth, height, svgWidth, height, svgFont)
	fmt.Fprintf(&b, `<title>%s</title>`+"\n", html.EscapeString(g.Title))
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="#ffffff"/>`+"\n", svgWidth, height)
	fmt.Fprintf(&b, `<text x="%g" y="20" font-size="13" font-weight="bold">%s</text>`+"\n", left, html.EscapeString(g.Title))
	for i, lane := range g.Lanes {
		y := svgTop + svgLane*float64(i)
		fmt.Fprintf(&b, `<text x="%.2f" y="%.2f" text-anchor="end">%s</text>`+"\n", left-6, y+svgLane/2+4, html.EscapeString(lane.Name))
		fmt.Fprintf(&b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="#f0f0f0"/>`+"\n", left, y+2, svgWidth-left-svgRight, svgLane-4)
		for i, bar := range lane.Bars {
			switch high := svgLane - 4; {
			case lane.paired(i):
				svgBar(&b, bar, left, y+2, high/2, scale)
			case bar.Paired:
				svgBar(&b, bar, left, y+2+high/2, high/2, scale)
			default:
				svgBar(&b, bar, left, y+2, high, scale)
			}
		}
	}
	svgAxis(&b, g.End, left, svgTop+lanes, scale)
	svgLegend(&b, g, left, svgTop+lanes+44)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// svgBar draws a bar whose top is at y; those of a pair share the height.
func svgBar(b *strings.Builder, bar GanttBar, left, y, high, scale float64) {
	width := (bar.End - bar.Start) * scale
	if width <= 0 {
		return
	}
	fill := "#999999"
	for _, k := range ganttKinds {
		if k.kind == bar.Kind {
			fill = k.fill
		}
	}
	opacity := 1 / (1 + 0.45*float64(bar.Shade))
	stroke := min(0.6, width/6)
	x := left + bar.Start*scale
	fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s" fill-opacity="%.2f" stroke="#ffffff" stroke-width="%.2f"/>`+"\n",
		x, y, width, high, fill, opacity, stroke)
	if svgGlyph*float64(len(bar.Label))+2 <= width {
		fmt.Fprintf(b, `<text x="%.2f" y="%.2f" text-anchor="middle">%s</text>`+"\n", x+width/2, y+high/2+4, html.EscapeString(bar.Label))
	}
}

// svgAxis marks time in steps of 1, 2 or 5 times a power of ten.
func svgAxis(b *strings.Builder, end, left, y, scale float64) {
	if end <= 0 {
		return
	}
	step := math.Pow(10, math.Floor(math.Log10(end/5)))
	for _, f := range []float64{5, 2} {
		if end/(step*f) >= 5 {
			step *= f
			break
		}
	}
	fmt.Fprintf(b, `<line x1="%.2f" y1="%.2f" x2="%.2f" y2="%.2f" stroke="#000000"/>`+"\n", left, y+2, left+end*scale, y+2)
	for i := 0; float64(i)*step <= end*(1+1e-9); i++ {
		x := left + float64(i)*step*scale
		fmt.Fprintf(b, `<line x1="%.2f" y1="%.2f" x2="%.2f" y2="%.2f" stroke="#000000"/>`+"\n", x, y+2, x, y+6)
		fmt.Fprintf(b, `<text x="%.2f" y="%.2f" text-anchor="middle">%s</text>`+"\n", x, y+18, number(float64(i)*step))
	}
}

func svgLegend(b *strings.Builder, g Gantt, x, y float64) {
	for _, k := range ganttKinds {
		if !g.has(k.kind) {
			continue
		}
		fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="12" height="12" fill="%s"/>`+"\n", x, y-10, k.fill)
		fmt.Fprintf(b, `<text x="%.2f" y="%.2f">%s</text>`+"\n", x+17, y, k.name)
		x += 17 + svgGlyph*float64(len(k.name)) + 18
	}
	idle := "idle"
	if g.shaded() {
		idle += " (paler passes: later chunks, or the other copies, of the device)"
	}
	fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="12" height="12" fill="#f0f0f0" stroke="#bbbbbb"/><text x="%.2f" y="%.2f">%s</text>`+"\n", x, y-10, x+17, y, idle)
}

// shaded reports whether bars of one kind differ.
func (g Gantt) shaded() bool {
	for _, lane := range g.Lanes {
		for _, b := range lane.Bars {
			if b.Shade > 0 {
				return true
			}
		}
	}
	return false
}
