package main

import (
	"fmt"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"orrery/sim/report"
	"orrery/sim/search"
)

// searchProgress is a line on standard error, if that is a terminal: what a search
// does, how far it is and the best it has found.
type searchProgress struct {
	all *mpb.Progress // nil: silent
	bar *mpb.Bar
	mu  sync.Mutex
	now search.Progress
}

func newSearchProgress(std *streams) *searchProgress {
	if !std.progress {
		return &searchProgress{}
	}
	p := &searchProgress{all: mpb.New(mpb.WithOutput(std.err), mpb.WithWidth(report.Width))}
	p.bar = p.all.AddBar(0, mpb.BarWidth(30), mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return p.line() })))
	return p
}

func (p *searchProgress) at(now search.Progress) {
	if p.all == nil {
		return
	}
	p.mu.Lock()
	p.now = now
	p.mu.Unlock()
	p.bar.SetTotal(int64(now.Total), false)
	p.bar.SetCurrent(int64(now.Done))
}

func (p *searchProgress) line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := fmt.Sprintf("%-8s", p.now.Phase)
	if p.now.Best > 0 {
		s += fmt.Sprintf(" best %.4g", p.now.Best)
	}
	return s
}

func (p *searchProgress) end() {
	if p.all != nil {
		p.bar.Abort(true)
		p.all.Wait()
	}
}
