// Package timeline holds when each op of a program started and ended, and what
// held it up.
package timeline

import (
	"orrery/sim/program"
	"orrery/sim/unit"
)

// Timeline is the answer of an executor for one program.
type Timeline struct {
	Program    *program.Program
	Start, End []unit.Time
	// Blocker is the op whose end set an op's start (None where it started at
	// zero): following it from the last op gives the critical path.
	Blocker []program.OpID
}
