package pipeline

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// timed is how a schedule runs under the costs that it was made for.
func timed(t require.TestingT, s Multimodal, m Modules, shape Shape) (Multimodal, *Timing, [][numModules]Live) {
	made := s.With(m)
	costs, err := m.costs().Costs(made, shape)
	require.NoError(t, err)
	r, err := Simulate(made, shape, costs)
	require.NoError(t, err)
	return made, r, LiveOf(made, shape, r)
}

// TestNestedVectors: the rows of a discrete-event check of the reconstructed order,
// computed apart from this code (BigMac, arXiv:2605.25451; times are whole units).
func TestNestedVectors(t *testing.T) {
	for _, row := range []struct {
		p, v, m                int
		f, b, ef, eb, gf, gb   unit.Time
		llm, nested            unit.Time
		kept                   int // encoder units without a limit on memory
		deadlock               bool
		llmPeak, llmPeakWithGB int // most chunks that a device holds, 0 where not told
	}{
		{4, 2, 16, 1, 2, 1, 2, 0, 0, 105, 117, 4, true, 11, 0},
		{4, 2, 64, 1, 2, 3, 6, 0, 0, 393, 537, 16, true, 11, 0},
		{8, 2, 64, 1, 2, 2, 4, 0, 0, 405, 453, 8, true, 23, 0},
		{4, 1, 16, 2, 4, 1, 2, 0, 0, 114, 126, 4, false, 0, 0},
		{4, 2, 32, 1, 2, 1, 2, 3, 6, 201, 297, 8, true, 0, 15},
		{8, 2, 64, 1, 2, 2, 4, 3, 6, 405, 525, 8, true, 0, 31},
	} {
		t.Run(fmt.Sprintf("p%d v%d m%d", row.p, row.v, row.m), func(t *testing.T) {
			shape := whole(row.p, row.v, row.m)
			m := Modules{Encoder: true, Generator: row.gf > 0, Costs: ModuleCosts{row.f, row.b, row.ef, row.eb, row.gf, row.gb, 0}}
			llm, err := Simulate(ledInterleaved{}, shape, Costs{F: row.f, I: row.b})
			require.NoError(t, err)
			require.Equal(t, row.llm, llm.Makespan)
			_, nested, live := timed(t, bigMac{}, m, shape)
			require.Equal(t, row.nested, nested.Makespan)
			require.Equal(t, 3, LiveUnits(live, Encoder))
			chunks := row.llmPeak
			if m.Generator {
				require.Equal(t, 1, LiveUnits(live, Generator))
				chunks = row.llmPeakWithGB
			}
			if chunks > 0 {
				require.Equal(t, chunks, slices.Max(LivePeaks(live, LLM)))
			}
			_, ideal, live := timed(t, encoderFirst{}, m, shape)
			require.Equal(t, row.nested, ideal.Makespan)
			require.Equal(t, row.kept, LiveUnits(live, Encoder))

			m.Warmup = 2
			two := bigMac{}.With(m)
			costs, err := m.Costs.Costs(two, shape)
			require.NoError(t, err)
			r, err := Simulate(two, shape, costs)
			if row.deadlock {
				require.ErrorContains(t, err, "deadlock: ")
				require.ErrorContains(t, err, fmt.Sprintf("0F%d on device 0 waits for EF%d, which device 0 runs later", 2*row.p, 2*row.p))
			} else {
				require.NoError(t, err)
				require.Equal(t, row.nested, r.Makespan)
			}
			m.Warmup = 4
			_, four, live := timed(t, bigMac{}, m, shape)
			require.Equal(t, row.nested, four.Makespan)
			require.Equal(t, 4, LiveUnits(live, Encoder), "one more costs one more unit")
		})
	}
}

// drawNested draws a shape of units and costs.
func drawNested(t *rapid.T) (Shape, Modules) {
	p := size(t, "p", 2, 8)
	shape := whole(p, size(t, "v", 1, 4), p*size(t, "units", 1, 9))
	draw := func(name string, low int) unit.Time { return unit.Time(size(t, name, low, 12)) }
	m := Modules{Encoder: true, Generator: rapid.Bool().Draw(t, "generator"),
		Costs: ModuleCosts{F: draw("f", 1), B: draw("b", 1), EncoderF: draw("ef", 0), EncoderB: draw("eb", 0)}}
	if m.Generator {
		m.Costs.GeneratorF, m.Costs.GeneratorB = draw("gf", 0), draw("gb", 0)
	}
	return shape, m
}

// Claims 27 to 29 of the reconstruction for any shape and costs: the LLM alone takes
// (mv+p-1)(F+B), nesting adds (m/p)(EF+EB+GF+GB) and not a unit of time more, three
// encoder units and one of the generator are held however many there are, and with
// two the order is stuck for v >= 2 and p >= 3 as soon as there is a third.
func TestNestedClosedForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, m := drawNested(t)
		p, v, mb, c := shape.Devices, shape.Virtual, shape.Microbatches, m.Costs
		units := mb / p
		llm := unit.Time(mb*v+p-1) * (c.F + c.B)
		alone, err := Simulate(ledInterleaved{}, shape, Costs{F: c.F, I: c.B})
		require.NoError(t, err)
		require.Equal(t, llm, alone.Makespan)

		want := llm + unit.Time(units)*(c.EncoderF+c.EncoderB+c.GeneratorF+c.GeneratorB)
		_, nested, live := timed(t, bigMac{}, m, shape)
		require.Equal(t, want, nested.Makespan)
		require.Equal(t, min(units, 3), LiveUnits(live, Encoder))
		if m.Generator {
			require.Equal(t, 1, LiveUnits(live, Generator))
		}

		m.Warmup = 2
		costs, err := c.Costs(bigMac{}.With(m), shape)
		require.NoError(t, err)
		_, err = Simulate(bigMac{}.With(m), shape, costs)
		if v >= 2 && p >= 3 && units > 2 {
			require.ErrorContains(t, err, "deadlock")
		} else if p == 2 && !m.Generator || v == 1 && !m.Generator || units <= 2 {
			require.NoError(t, err)
		}
	})
}

// What encoder and generator hold does not depend on the number of microbatches,
// on any device, for bigmac and for encoder and generator as stages or chunks; in
// encoder_first every unit is held.
func TestNestedMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, m := drawNested(t)
		shape.Devices = max(shape.Devices, 3) // a device for each module
		shape.Microbatches = shape.Devices * 6
		if m.Costs.EncoderF+m.Costs.EncoderB == 0 {
			m.Costs.EncoderF = 1
		}
		more := shape
		more.Microbatches += shape.Devices * size(t, "more units", 1, 6)
		for _, s := range []Multimodal{bigMac{}, encoderSegments{}, encoderStages{}} {
			a, b := shape, more
			if s.Name() == "encoder_stages" {
				a.Virtual, b.Virtual = 1, 1
			}
			fine := m
			fine.Costs = scaled(t, m.Costs, Divisor(s.With(m), a))
			_, _, few := timed(t, s, fine, a)
			_, _, many := timed(t, s, fine, b)
			for module := range numModules {
				require.Equal(t, LivePeaks(few, module), LivePeaks(many, module), "%s, %v", s.Name(), module)
			}
		}
		_, _, live := timed(t, encoderFirst{}, m, more)
		require.Equal(t, more.Microbatches/more.Devices, LiveUnits(live, Encoder))
	})
}

// scaled is the costs in finer units of time.
func scaled(t require.TestingT, c ModuleCosts, by int64) ModuleCosts {
	out, err := c.Scaled(by)
	require.NoError(t, err)
	return out
}

// Every device runs each of its microbatches' units once, and passes of the LLM in
// the order that they have without units (but for the longer warm-up).
func TestNestedKeepsTheLLM(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, m := drawNested(t)
		lead := 0
		if m.Generator {
			lead = shape.Devices
		}
		want, err := ledInterleaved{lead: lead}.Order(shape)
		require.NoError(t, err)
		for _, s := range []Multimodal{bigMac{m}, encoderFirst{m}, optimus{m}} {
			order, err := s.Order(shape)
			require.NoError(t, err)
			require.NoError(t, Validate(s, shape, order))
			for d := range order {
				var llm []Slot
				for _, slot := range order[d] {
					if ModuleOf(s, shape, int(slot.Stage)) == LLM {
						slot.Stage -= int32(s.ModuleStages(shape)[Encoder])
						llm = append(llm, slot)
					}
				}
				require.Equal(t, want[d], llm, s.Name())
			}
		}
	})
}

// Recomputing the encoder adds its forward once a unit, as data with m/p ef more.
func TestEncoderRecomputed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, m := drawNested(t)
		_, plain, _ := timed(t, encoderFirst{}, m, shape)
		units := unit.Time(shape.Microbatches / shape.Devices)
		again := m
		again.Costs = m.Costs.Recomputed()
		_, r, _ := timed(t, encoderFirst{}, again, shape)
		require.Equal(t, plain.Makespan+units*m.Costs.EncoderF, r.Makespan)
	})
}

// Optimus never ends later than the encoder before and behind the LLM, never before
// the LLM alone or before the busiest device's work, and with an encoder of many
// small pieces the LLM's bubbles hold all of it that comes after the first unit.
func TestOptimusFillsBubbles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, m := drawNested(t)
		m.Pieces = size(t, "pieces", 1, 12)
		fine := m
		fine.Costs = scaled(t, m.Costs, int64(m.Pieces))
		_, first, _ := timed(t, encoderFirst{}, fine, shape)
		_, filled, _ := timed(t, optimus{}, fine, shape)
		require.LessOrEqual(t, filled.Makespan, first.Makespan)
		require.GreaterOrEqual(t, filled.Makespan, slices.Max(filled.Busy))
		c := fine.Costs
		require.GreaterOrEqual(t, filled.Makespan, unit.Time(shape.Microbatches*shape.Virtual+shape.Devices-1)*(c.F+c.B))
	})
	// 4 devices, 1 chunk: device d idles 3(F+B) = 9 in all, its encoder takes 4 x 2 x 1;
	// all but what comes before the first LLM pass and after the last fits.
	m := Modules{Encoder: true, Pieces: 4, Costs: ModuleCosts{F: 4, B: 8, EncoderF: 4, EncoderB: 4}}
	shape := whole(4, 1, 16)
	_, first, _ := timed(t, encoderFirst{}, m, shape)
	_, filled, _ := timed(t, optimus{}, m, shape)
	require.Equal(t, unit.Time(19*12+4*8), first.Makespan)
	require.Less(t, filled.Makespan, first.Makespan)
	require.Greater(t, filled.Makespan, unit.Time(19*12), "device 0 has no bubble before its first pass nor after its last")
}

// Encoder, LLM and generator as stages of one pipeline: with passes of the same
// length 1F1B's (m+p-1)(F+B); else the slowest stage paces the microbatches, before
// and behind which at most the other stages' passes stand.
func TestEncoderStagesClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := size(t, "p", 2, 8)
		m := Modules{Encoder: true, Generator: p > 2 && rapid.Bool().Draw(t, "generator")}
		shape := whole(p, 1, size(t, "m", 1, 24))
		f, b := unit.Time(size(t, "f", 1, 9)), unit.Time(size(t, "b", 1, 9))
		e, slow := encoderStages{}.With(m), unit.Time(size(t, "slow", 1, 5))
		n := e.ModuleStages(shape)
		// An LLM stage takes f and b; c counts the LLM as p chunks.
		by := unit.Time(p)
		m.Costs = ModuleCosts{F: f * unit.Time(n[LLM]), B: b * unit.Time(n[LLM]), EncoderF: slow * f * by, EncoderB: slow * b * by, GeneratorF: f * by, GeneratorB: b * by}
		_, r, _ := timed(t, encoderStages{}, m, shape)
		d := (f + b) * by
		mb := unit.Time(shape.Microbatches)
		require.GreaterOrEqual(t, r.Makespan, mb*slow*d)
		require.LessOrEqual(t, r.Makespan, mb*slow*d+unit.Time(p-1)*d)
		if slow == 1 {
			require.Equal(t, mb*d+unit.Time(p-1)*d, r.Makespan)
		}
	})
}

// DistTrain's division is the best there is of whole devices.
func TestDistTrainSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := size(t, "p", 3, 7)
		_, m := drawNested(t)
		shape := whole(p, 1, 64)
		best, err := DistTrainSplit(m, shape)
		require.NoError(t, err)
		pace := func(m Modules) float64 {
			n, c := encoderStages{m}.ModuleStages(shape), m.Costs
			out := float64(c.F+c.B) * float64(p) / float64(n[LLM])
			out = max(out, float64(c.EncoderF+c.EncoderB)/float64(n[Encoder]))
			if m.Generator {
				out = max(out, float64(c.GeneratorF+c.GeneratorB)/float64(n[Generator]))
			}
			return out
		}
		for e := 1; e < p; e++ {
			for g := 1; g < p-e; g++ {
				other := m
				other.EncoderDevices, other.GeneratorDevices = e, g
				if !m.Generator {
					other.GeneratorDevices = 0
				}
				require.LessOrEqual(t, pace(best), pace(other)*(1+1e-12), "%d and %d devices", e, g)
			}
		}
	})
}

// Segments are interleaved 1F1B over the chunks of all modules: with chunks alike
// its closed form.
func TestEncoderSegmentsClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, m := drawNested(t)
		f, b, p := m.Costs.F, m.Costs.B, unit.Time(shape.Devices)
		m.Costs = ModuleCosts{F: f, B: b, EncoderF: f * p, EncoderB: b * p, GeneratorF: f * p, GeneratorB: b * p}
		_, r, _ := timed(t, encoderSegments{}, m, shape)
		v := shape.Virtual + 1
		if m.Generator {
			v++
		}
		require.Equal(t, unit.Time(shape.Microbatches*v+shape.Devices-1)*(f+b), r.Makespan)
	})
}

// Transfers delay a unit by three of them at most: to the generator, from it, and
// from the encoder to the LLM.
func TestNestedWithTransfers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, m := drawNested(t)
		m.Costs.Comm = unit.Time(size(t, "comm", 0, 5))
		_, r, _ := timed(t, bigMac{}, m, shape)
		lead := 0
		if m.Generator {
			lead = shape.Devices
		}
		c := m.Costs
		llm, err := Simulate(ledInterleaved{lead: lead}, shape, Costs{F: c.F, I: c.B, Comm: c.Comm})
		require.NoError(t, err)
		units := unit.Time(shape.Microbatches / shape.Devices)
		least := llm.Makespan + units*(c.EncoderF+c.EncoderB+c.GeneratorF+c.GeneratorB)
		require.GreaterOrEqual(t, r.Makespan, llm.Makespan)
		require.LessOrEqual(t, r.Makespan, least+3*units*c.Comm)
	})
}

func TestModulesRefused(t *testing.T) {
	shape := whole(4, 2, 8)
	for want, m := range map[string]Modules{
		"neither an encoder nor a generator":    {Costs: AlikeCosts},
		"passes of the LLM take F 0 and B 2":    {Encoder: true, Costs: ModuleCosts{B: 2}},
		"costs cannot be negative: encoder -1":  {Encoder: true, Costs: ModuleCosts{F: 1, B: 1, EncoderF: -1}},
		"warm-up -1, devices of encoder 0":      {Encoder: true, Warmup: -1},
		"none is left for the LLM; 6 or more":   {Encoder: true, EncoderDevices: 5},
		"which is not cut into 4 stages: scale": {Encoder: true, EncoderDevices: 3},
	} {
		plain := shape
		var s Multimodal = bigMac{}
		if m.EncoderDevices > 0 {
			s, plain.Virtual = encoderStages{}, 1
		}
		if m.EncoderDevices == 3 {
			s, m.EncoderDevices, plain.Virtual = encoderSegments{}, 0, 2
		}
		_, err := m.costs().Costs(s.With(m), plain)
		require.ErrorContains(t, err, want)
	}
	_, err := bigMac{Modules{Encoder: true}}.Order(whole(4, 2, 9))
	require.ErrorContains(t, err, "9 microbatches are not units of one a device, 4; 8 or 12 would do")
}

// What is held of a module at an instant is what has started forward and not ended
// backward, by the timeline itself.
func TestLiveOverTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, m := drawNested(t)
		m.Costs.EncoderF, m.Costs.EncoderB = m.Costs.EncoderF+1, m.Costs.EncoderB+1
		s, r, live := timed(t, rapid.SampledFrom([]Multimodal{bigMac{}, encoderFirst{}}).Draw(t, "schedule"), m, shape)
		at := unit.Time(rapid.Int64Range(0, int64(r.Makespan)).Draw(t, "at"))
		for d, slots := range r.Order {
			var want [numModules]int
			for i, slot := range slots {
				module := ModuleOf(s, shape, int(slot.Stage))
				if slot.Phase == F && r.Start[d][i] <= at {
					want[module]++
				}
				if slot.Phase != F && r.End[d][i] <= at {
					want[module]--
				}
			}
			for module, l := range live[d] {
				require.True(t, slices.IsSorted(l.At))
				held := 0
				for i, when := range l.At {
					if when <= at {
						held = l.Passes[i]
					}
				}
				require.Equal(t, want[module], held, "device %d, %v", d, Module(module))
				if n := len(l.Passes); n > 0 {
					require.Zero(t, l.Passes[n-1])
					require.Equal(t, slices.Max(l.Passes), l.Peak)
				}
			}
		}
	})
}

// Passes are named by their module, each counting its stages from 0.
func TestNames(t *testing.T) {
	shape := whole(4, 2, 8)
	both := Modules{Encoder: true, Generator: true}
	for _, c := range []struct {
		s    Schedule
		slot Slot
		want string
	}{
		{bigMac{both}, Slot{Phase: F, Stage: 0, Microbatch: 5}, "EF5"},
		{bigMac{both}, Slot{Phase: B, Stage: 1, Microbatch: 5}, "0B5"},
		{bigMac{both}, Slot{Phase: F, Stage: 8, Microbatch: 5}, "7F5"},
		{bigMac{both}, Slot{Phase: B, Stage: 9, Microbatch: 5}, "GB5"},
		{bigMac{Modules{Generator: true}}, Slot{Phase: F, Stage: 0}, "0F0"},
		{optimus{both}, Slot{Phase: B, Stage: 7, Microbatch: 1}, "E7B1"},
		{encoderSegments{both}, Slot{Phase: F, Stage: 15, Microbatch: 2}, "G3F2"},
		{interleaved{}, Slot{Phase: F, Stage: 3, Microbatch: 2}, "3F2.0"},
	} {
		require.Equal(t, c.want, Name(c.s, shape, c.slot))
	}
}
