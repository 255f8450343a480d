package pipeline

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// smallShapes is every shape of a few devices, chunks, microbatches, slices and
// groups that the schedule accepts.
func smallShapes(s Schedule) []Shape {
	var out []Shape
	for p := 1; p <= 5; p++ {
		for v := 1; v <= 3; v++ {
			for m := 1; m <= 11; m++ {
				for n := 0; n <= 4; n++ {
					for g := 0; g <= m; g++ {
						if shape := (Shape{p, v, m, n, g}); s.Check(shape) == nil {
							out = append(out, shape)
						}
					}
				}
			}
		}
	}
	return out
}

// TestConformance holds every registered schedule to what must be true of any:
// orders are complete, placed right and run to their end, whatever the shape
// and the costs, within the bounds that no schedule can beat.
func TestConformance(t *testing.T) {
	for _, s := range All() {
		t.Run(s.Name(), func(t *testing.T) {
			shapes := smallShapes(s)
			require.NotEmpty(t, shapes, "Check accepts no small shape")
			for _, shape := range shapes {
				order, err := s.Order(shape)
				require.NoError(t, err, "%+v", shape)
				again, err := s.Order(shape)
				require.NoError(t, err)
				require.Equal(t, order, again, "%+v: two calls differ", shape)
				require.NoError(t, Validate(s, shape, order), "%+v", shape)
			}
			rapid.Check(t, func(t *rapid.T) {
				shape := rapid.SampledFrom(shapes).Draw(t, "shape")
				c := drawCosts(t)
				checkTiming(t, s, shape, c)
			})
		})
	}
}

func drawCosts(t *rapid.T) Costs {
	cost := rapid.Int64Range(0, 50)
	return Costs{
		F: unit.Time(cost.Draw(t, "F")), I: unit.Time(cost.Draw(t, "I")),
		W: unit.Time(cost.Draw(t, "W")), Comm: unit.Time(cost.Draw(t, "comm")),
	}
}

// checkTiming simulates and checks the result without using the simulator's own
// tables.
func checkTiming(t *rapid.T, s Schedule, shape Shape, c Costs) {
	timing, err := Simulate(s, shape, c)
	require.NoError(t, err)

	stages := Stages(s, shape)
	start, end := map[Slot]unit.Time{}, map[Slot]unit.Time{}
	for d, slots := range timing.Order {
		free := unit.Time(0)
		for i, slot := range slots {
			pair := slot.Paired || i+1 < len(slots) && slots[i+1].Paired
			cost := c.of(slot.Phase)
			switch {
			case slot.Paired: // the two start and end together
				cost += c.of(F)
				require.Equal(t, timing.Start[d][i-1], timing.Start[d][i])
			case pair:
				cost += c.of(slots[i+1].Phase)
				fallthrough
			default:
				require.GreaterOrEqual(t, timing.Start[d][i], free, "%v overlaps the pass before", slot)
			}
			slot.Paired = false
			start[slot], end[slot] = timing.Start[d][i], timing.End[d][i]
			require.Equal(t, cost, end[slot]-start[slot], "%v", slot)
			free = end[slot]
		}
	}
	after := func(slot, from Slot) {
		if from.Phase == B {
			if _, fused := end[from]; !fused {
				from.Phase = I
			}
		}
		at, ok := end[from]
		require.True(t, ok, "%v lacks %v", slot, from)
		if s.Device(shape, slot) != s.Device(shape, from) {
			at += c.Comm
		}
		require.GreaterOrEqual(t, start[slot], at, "%v starts before %v is there", slot, from)
	}
	for slot := range start {
		st, mb, sl := slot.Stage, slot.Microbatch, slot.Slice
		switch slot.Phase {
		case F:
			if st > 0 {
				after(slot, Slot{Phase: F, Stage: st - 1, Microbatch: mb, Slice: sl})
			}
			if sl > 0 {
				after(slot, Slot{Phase: F, Stage: st, Microbatch: mb, Slice: sl - 1})
			}
		case W:
			after(slot, Slot{Phase: I, Stage: st, Microbatch: mb, Slice: sl})
		default:
			after(slot, Slot{Phase: F, Stage: st, Microbatch: mb, Slice: sl})
			if int(st) < stages-1 {
				after(slot, Slot{Phase: B, Stage: st + 1, Microbatch: mb, Slice: sl})
			}
			if int(sl) < shape.slices()-1 {
				after(slot, Slot{Phase: B, Stage: st, Microbatch: mb, Slice: sl + 1})
			}
		}
	}

	way := unit.Time(0) // of the microbatch with the most transfers
	for mb := range int32(shape.Microbatches) {
		hops := unit.Time(0)
		for st := int32(1); st < int32(stages); st++ {
			if s.Device(shape, Slot{Stage: st, Microbatch: mb}) != s.Device(shape, Slot{Stage: st - 1, Microbatch: mb}) {
				hops += 2 * c.Comm
			}
		}
		way = max(way, hops)
	}
	passes := stages * shape.Microbatches * shape.slices()
	work := unit.Time(passes) * (c.F + c.I + c.W)
	require.GreaterOrEqual(t, timing.Makespan, way+unit.Time(stages)*(c.F+c.I), "shorter than one microbatch's way")
	require.GreaterOrEqual(t, timing.Makespan*unit.Time(shape.Devices), work, "shorter than the work")
	var busy unit.Time
	for d := range timing.Busy {
		busy += timing.Busy[d]
		require.LessOrEqual(t, timing.Busy[d], timing.Span[d])
		require.LessOrEqual(t, timing.Span[d], timing.Makespan)
		require.GreaterOrEqual(t, timing.Peak[d], 1)
		require.LessOrEqual(t, timing.PeakInputOnly[d], timing.Peak[d])
		require.LessOrEqual(t, timing.Peak[d], passes)
	}
	require.Equal(t, work, busy, "work is not conserved")
	require.GreaterOrEqual(t, timing.Bubble(), 0.0)
	require.LessOrEqual(t, timing.Bubble(), 1.0)

	more := drawCosts(t)
	slower, err := Simulate(s, shape, Costs{F: c.F + more.F, I: c.I + more.I, W: c.W + more.W, Comm: c.Comm + more.Comm})
	require.NoError(t, err)
	require.GreaterOrEqual(t, slower.Makespan, timing.Makespan, "dearer passes end earlier")
	scaled, err := Simulate(s, shape, Costs{F: 7 * c.F, I: 7 * c.I, W: 7 * c.W, Comm: 7 * c.Comm})
	require.NoError(t, err)
	require.Equal(t, 7*timing.Makespan, scaled.Makespan)
}

// TestBadShapes: no number makes Check panic, and Order refuses what Check does.
func TestBadShapes(t *testing.T) {
	for _, s := range All() {
		t.Run(s.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				size := rapid.OneOf(rapid.IntRange(-1, 6), rapid.Int())
				shape := Shape{size.Draw(t, "p"), size.Draw(t, "v"), size.Draw(t, "m"), size.Draw(t, "n"), size.Draw(t, "group")}
				if err := s.Check(shape); err != nil {
					require.NotEmpty(t, err.Error())
					_, orderErr := s.Order(shape)
					require.EqualError(t, orderErr, err.Error())
					return
				}
				require.NoError(t, shape.check(), "accepted by %s", s.Name())
			})
		})
	}
}

// broken returns a fixed order for two devices and two microbatches.
type broken struct {
	looped
	order [][]Slot
}

func (broken) Name() string                    { return "broken" }
func (broken) Describe() string                { return "for tests" }
func (broken) Check(s Shape) error             { return s.check() }
func (b broken) Order(Shape) ([][]Slot, error) { return b.order, nil }

// TestSimulateRefuses: incomplete orders and deadlocks are errors that say where.
func TestSimulateRefuses(t *testing.T) {
	f := func(st, mb int32) Slot { return Slot{Phase: F, Stage: st, Microbatch: mb} }
	b := func(st, mb int32) Slot { return Slot{Phase: B, Stage: st, Microbatch: mb} }
	good0 := []Slot{f(0, 0), f(0, 1), b(0, 0), b(0, 1)}
	for _, c := range []struct {
		why   string
		order [][]Slot
		want  string
	}{
		{"a device is missing", [][]Slot{good0}, "has 1 devices, want 2"},
		{"a pass is missing", [][]Slot{good0, {f(1, 0), b(1, 0), f(1, 1)}}, "1F1.0 lacks passes"},
		{"a pass is there twice", [][]Slot{good0, {f(1, 0), f(1, 0)}}, "1F0.0 is there twice"},
		{"fused and split", [][]Slot{good0, {f(1, 0), b(1, 0), {Phase: I, Stage: 1}, {Phase: W, Stage: 1}, f(1, 1), b(1, 1)}}, "1F0.0 lacks passes or has too many"},
		{"another device's stage", [][]Slot{good0, {f(0, 0)}}, "0F0.0 belongs to device 0"},
		{"a stage too many", [][]Slot{good0, {f(2, 0)}}, "outside the shape"},
		{"a negative microbatch", [][]Slot{good0, {f(1, -1)}}, "outside the shape"},
		{"an unknown phase", [][]Slot{good0, {{Phase: 9}}}, "outside the shape"},
		{"backward before forward", [][]Slot{good0, {b(1, 0), f(1, 0), f(1, 1), b(1, 1)}}, "deadlock: device 0"},
		{"crossed waits", [][]Slot{{f(0, 0), b(0, 0), f(0, 1), b(0, 1)}, {f(1, 1), f(1, 0), b(1, 0), b(1, 1)}}, "deadlock"},
	} {
		_, err := Simulate(broken{order: c.order}, Shape{Devices: 2, Virtual: 1, Microbatches: 2}, Costs{F: 1, I: 1, W: 1})
		require.ErrorContains(t, err, c.want, c.why)
	}
	// Keys and values of earlier slices, and their gradients from later ones.
	slice := func(p Phase, n int32) Slot { return Slot{Phase: p, Slice: n} }
	for want, order := range map[string][]Slot{
		"never gets to run 0F0.1": {slice(F, 1), slice(F, 0), slice(B, 1), slice(B, 0)},
		"never gets to run 0B0.0": {slice(F, 0), slice(F, 1), slice(B, 0), slice(B, 1)},
		"never gets to run 0W0.1": {slice(F, 0), slice(F, 1), slice(W, 1), slice(I, 1), slice(B, 0)},
	} {
		_, err := Simulate(broken{order: [][]Slot{order}}, Shape{Devices: 1, Virtual: 1, Microbatches: 1, Slices: 2}, Costs{F: 1, I: 1, W: 1})
		require.ErrorContains(t, err, want)
	}
	_, err := Simulate(oneFOneB{}, Shape{Devices: 2, Virtual: 1, Microbatches: 2}, Costs{F: -1})
	require.ErrorContains(t, err, "negative")
	_, err = Simulate(oneFOneB{}, Shape{Devices: 2, Virtual: 1, Microbatches: 2}, Costs{F: 1 << 62})
	require.ErrorContains(t, err, "range of time")
}
