// Package trace writes timelines for viewers: Perfetto's protobuf and Chrome's
// JSON. It knows tracks, slices, counters and flows, not what they mean.
package trace

import (
	"fmt"

	"orrery/sim/unit"
)

// Trace is what a viewer shows. Slices of one lane are ordered by start; a
// slice lies behind the one before it or within it (nested), never across its
// end.
type Trace struct {
	Ranks    []Rank
	Lanes    []Lane
	Slices   []Slice
	Counters []Counter
	Flows    []Flow
}

// Rank is a process of the viewer; its ID is its index.
type Rank struct{ Name string }

// Lane is a thread of a rank; its ID is its index.
type Lane struct {
	Rank int
	Name string
}

// Slice is a piece of work on a lane.
type Slice struct {
	Lane       int
	Start, End unit.Time
	Name, Kind string
	Args       []Arg
}

// Arg is shown when a slice is selected.
type Arg struct {
	Key   string
	Value int64
}

// Counter is a value of a rank from a time on.
type Counter struct {
	Rank  int
	Name  string
	At    unit.Time
	Value float64
}

// Flow is an arrow between two slices, by index.
type Flow struct{ From, To int }

// check tells what is wrong with a trace before any of it is written.
func (t *Trace) check() error {
	for i, l := range t.Lanes {
		if l.Rank < 0 || l.Rank >= len(t.Ranks) {
			return fmt.Errorf("trace: lane %d belongs to rank %d of %d", i, l.Rank, len(t.Ranks))
		}
	}
	for i, c := range t.Counters {
		if c.Rank < 0 || c.Rank >= len(t.Ranks) || c.At < 0 {
			return fmt.Errorf("trace: counter value %d is of rank %d of %d, at %v", i, c.Rank, len(t.Ranks), c.At)
		}
	}
	for i, f := range t.Flows {
		if min(f.From, f.To) < 0 || max(f.From, f.To) >= len(t.Slices) {
			return fmt.Errorf("trace: flow %d leads from slice %d to slice %d of %d", i, f.From, f.To, len(t.Slices))
		}
	}
	for i, s := range t.Slices {
		if s.Lane < 0 || s.Lane >= len(t.Lanes) || s.Start < 0 || s.End < s.Start {
			return fmt.Errorf("trace: slice %d is on lane %d of %d, from %v to %v", i, s.Lane, len(t.Lanes), s.Start, s.End)
		}
	}
	return t.walk(func(int) {}, func(int) {})
}

// walk calls begin and end for the slices so that, lane by lane, both come in
// order of time and nest: a slice ends before the first one behind it begins.
func (t *Trace) walk(begin, end func(slice int)) error {
	open := make([][]int, len(t.Lanes)) // outer slices first
	last := make([]unit.Time, len(t.Lanes))
	for i := range t.Slices {
		s := &t.Slices[i]
		o := open[s.Lane]
		for len(o) > 0 && t.Slices[o[len(o)-1]].End <= s.Start {
			end(o[len(o)-1])
			o = o[:len(o)-1]
		}
		if s.Start < last[s.Lane] || len(o) > 0 && s.End > t.Slices[o[len(o)-1]].End {
			return fmt.Errorf("trace: slice %d (%s) is neither behind nor within the one before it on lane %d", i, s.Name, s.Lane)
		}
		begin(i)
		last[s.Lane] = s.Start
		open[s.Lane] = append(o, i)
	}
	for _, o := range open {
		for j := len(o) - 1; j >= 0; j-- {
			end(o[j])
		}
	}
	return nil
}
