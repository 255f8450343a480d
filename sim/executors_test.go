package sim

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim/engine"
	"orrery/sim/timeline"
)

// Both executors give the same timeline of every scenario of the catalogue, to
// the picosecond, with the same blockers.
func TestExecutorsAgree(t *testing.T) {
	for _, name := range scenarios.Names() {
		res, err := scenarios.Load(name, nil)
		require.NoError(t, err)
		if res.Scenario.Serving.On() {
			continue // no step
		}
		if s := &res.Scenario; s.Routing.Uneven() { // one balancer is enough here
			if raceDetector {
				continue
			}
			s.Routing.Compare, s.Expect = nil, nil
		}
		run, err := Simulate(context.Background(), &res.Scenario, Options{})
		require.NoError(t, err)
		var events timeline.Timeline
		require.NoError(t, engine.Events(run.Program, run.prices.dur, engine.Resources{}, &events))
		require.Equal(t, run.Timeline.Start, events.Start, name)
		require.Equal(t, run.Timeline.End, events.End, name)
		require.Equal(t, run.Timeline.Blocker, events.Blocker, name)
	}
}
