// Package trace writes timelines for viewers: Perfetto's protobuf and Chrome's
// JSON. It knows tracks, slices, counters and flows, not what they mean.
package trace

import "orrery/sim/unit"

// Trace is what a viewer shows. Slices of one lane are ordered by start; a
// slice may lie within the one before it (nested).
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

// nanos rounds down to nanoseconds, Perfetto's unit; what nests keeps nesting.
func nanos(t unit.Time) uint64 { return uint64(t / unit.Nanosecond) }
