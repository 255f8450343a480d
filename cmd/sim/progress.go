package main

import (
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"orrery/sim/report"
	"orrery/sim/sweep"
)

// progress is a bar with the time that is left on standard error, if that is a
// terminal; else it is silent.
type progress struct {
	all *mpb.Progress // nil: silent
	bar *mpb.Bar
}

func newProgress(std *streams) *progress {
	if !std.progress {
		return &progress{}
	}
	return &progress{all: mpb.New(mpb.WithOutput(std.err), mpb.WithWidth(report.Width))}
}

// point counts one point. The bar is made with the first, which tells the total;
// points of earlier runs are no part of it, so that they do not bend the ETA.
func (p *progress) point(at sweep.Progress) {
	if p.all == nil {
		return
	}
	if p.bar == nil {
		p.bar = p.all.AddBar(int64(at.Total), mpb.BarWidth(30),
			mpb.PrependDecorators(decor.CountersNoUnit("%d of %d points")),
			mpb.AppendDecorators(decor.Percentage(), decor.Name(", "), decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO), "done"), decor.OnComplete(decor.Name(" left"), "")))
	}
	p.bar.Increment()
}

// end leaves the bar as it stands.
func (p *progress) end() {
	if p.all == nil {
		return
	}
	if p.bar != nil {
		p.bar.Abort(false) // nothing if it is full
	}
	p.all.Wait()
}
