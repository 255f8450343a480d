package calibrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"orrery/kernels/bench"
	"orrery/kernels/sample"
)

// Collector measures cases one after the other.
type Collector struct {
	// Measure prepares, checks and times one case.
	Measure func(context.Context, bench.Case) (sample.Row, error)
	// Add keeps a row as soon as it is measured.
	Add func(sample.Row) error
	// Now is the clock of the budget; no number of a row is from it.
	Now func() time.Time
	// Budget bounds the run, wall clock: no case is begun after it. 0 is no bound.
	Budget time.Duration
	// Progress is told of each case when it is done; err says why it gave no row.
	Progress func(done, total int, c bench.Case, r sample.Row, err error)
}

// Collection tells what a run did.
type Collection struct {
	Measured int `json:"measured"`
	// Failed are cases that gave no row, with the reason: a wrong result, no memory.
	Failed []string `json:"failed,omitempty"`
	// Left are cases that were not begun: the budget was spent, or the run was interrupted.
	Left        int  `json:"left"`
	Interrupted bool `json:"interrupted,omitempty"`
}

// failuresInARow end a run: after an illegal access every later call fails.
const failuresInARow = 8

// Run measures cases in their order until the budget is spent or the context is
// cancelled; the row in flight is then dropped. A case that fails is named and
// the run goes on, unless many fail in a row.
func (c Collector) Run(ctx context.Context, cases []bench.Case) (Collection, error) {
	var out Collection
	begun, failures := c.Now(), 0
	for i, k := range cases {
		out.Left = len(cases) - i
		if ctx.Err() != nil {
			out.Interrupted = true
			return out, nil
		}
		if c.Budget > 0 && c.Now().Sub(begun) >= c.Budget {
			return out, nil
		}
		row, err := c.Measure(ctx, k)
		if err != nil && ctx.Err() != nil {
			out.Interrupted = true
			return out, nil
		}
		if err == nil && row.ID() != k.ID() {
			err = fmt.Errorf("the measurement returned a row of %s", row.ID())
		}
		if err == nil {
			if err := c.Add(row); err != nil {
				return out, fmt.Errorf("samples: %w", err)
			}
			out.Measured++
			failures = 0
		} else {
			out.Failed = append(out.Failed, fmt.Sprintf("%s: %v", k.ID(), err))
			failures++
		}
		c.Progress(i+1, len(cases), k, row, err)
		if failures == failuresInARow {
			out.Left--
			return out, errors.New("eight cases failed one after the other: the GPU probably lost its context; run again to resume")
		}
	}
	out.Left = 0
	return out, nil
}
