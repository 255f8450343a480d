// Package calibrate turns measured tables into price profiles and holds
// profiles against tables: measure → fit → profile → check.
package calibrate

import (
	"orrery/sim/cost"
	"orrery/sim/hw"
)

// Sample is one measured kernel.
type Sample struct {
	Kernel cost.Kernel
	DType  string  // as reported by evaluate: bf16, fp8, fp8_block, nvfp4, half, int8 …
	Micros float64 // measured, microseconds; the median where there were several collections
	Best   float64 // the fastest collection, microseconds; 0 if not known
	Spread float64 // max over min of the collections; 0 if there was one
	Table  string  // file name
	Line   int     // 1-based line in Table
	Apart  string  // why no fit takes it and errors count it by itself, as FAMILY_APART; else empty
	Own    bool    // of a file of samples: measured by this project's commands
}

// Rejected counts the rows of a table that were not used, by reason.
type Rejected map[string]int

// longest time that a row may hold, in microseconds: an hour. It refuses infinities.
const longest = 3.6e9

// reader understands one kind of table, recognised by the file's name
// (relative to DIR, slash-separated). Readers register themselves.
type reader struct {
	name  string
	match func(rel string) bool
	read  func(path string, gpu *hw.GPU) ([]Sample, Rejected, error)
}

// fitter fits one family of a profile from that family's samples.
type fitter struct {
	family cost.Family
	fit    func(samples []Sample, gpu *hw.GPU, p *cost.Profile) error
}

var (
	readers []reader
	fitters []fitter
)
