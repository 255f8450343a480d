package pipeline

import (
	"fmt"
	"math"

	"orrery/sim/unit"
)

// Module is the part of a multimodal model that a stage belongs to.
type Module uint8

// Modules. A microbatch goes through an encoder (of images or sound), the
// language model and a generator (of images or sound), and its gradients back.
const (
	LLM Module = iota
	Encoder
	Generator
	numModules
)

// String is the module's name in reports.
func (m Module) String() string {
	return [...]string{"llm", "encoder", "generator"}[m]
}

// Multimodal is a schedule of more than an LLM. Its global stages are one chain:
// those of the encoder, the p*v of the LLM, those of the generator, so that what a
// pass waits for is what it waits for in any pipeline. Shape.Virtual counts the
// LLM's chunks.
type Multimodal interface {
	Schedule
	// With is the schedule of these modules under these costs.
	With(Modules) Multimodal
	// ModuleStages is the number of global stages of each module.
	ModuleStages(Shape) [numModules]int
	modules() Modules
}

// Modules is what a multimodal schedule knows beyond its shape. A schedule of the
// registry has an encoder and no generator, and costs that are alike for all.
type Modules struct {
	Encoder, Generator bool
	// Costs are what the order is made for; the zero value stands for [AlikeCosts].
	Costs ModuleCosts
	// Warmup is how many units of encoder forwards come before the LLM's first
	// pass (bigmac); 0 is 3.
	Warmup int
	// EncoderDevices and GeneratorDevices are devices that hold nothing else
	// (encoder_stages); 0 is one where there is such a module.
	EncoderDevices, GeneratorDevices int
	// Pieces is how many pieces of equal length the encoder's passes are cut into, to
	// fill bubbles (optimus); 0 is 8.
	Pieces int
}

// ModuleCosts is how long passes of the modules take.
type ModuleCosts struct {
	F, B unit.Time // of one of the LLM's p*v chunks over one microbatch
	// Of the whole encoder or generator over one microbatch on one device.
	EncoderF, EncoderB, GeneratorF, GeneratorB unit.Time
	// Comm is the time of a transfer between two devices.
	Comm unit.Time
}

// AlikeCosts has a backward pass take twice as long as a forward pass, and the
// whole encoder or generator as long as a chunk of the LLM.
var AlikeCosts = ModuleCosts{F: 1, B: 2, EncoderF: 1, EncoderB: 2, GeneratorF: 1, GeneratorB: 2}

// Recomputed is the costs where the encoder keeps only its input and runs its
// forward pass again before the backward one.
func (c ModuleCosts) Recomputed() ModuleCosts {
	c.EncoderB += c.EncoderF
	return c
}

// Scaled is the costs in units of time so many times as fine.
func (c ModuleCosts) Scaled(by int64) (ModuleCosts, error) {
	n := unit.Time(by)
	for _, t := range []unit.Time{c.F, c.B, c.EncoderF, c.EncoderB, c.GeneratorF, c.GeneratorB, c.Comm} {
		if by < 1 || t > math.MaxInt64/2/n {
			return c, fmt.Errorf("a cost of %d in units %d times as fine leaves the range of time", t, by)
		}
	}
	return ModuleCosts{c.F * n, c.B * n, c.EncoderF * n, c.EncoderB * n, c.GeneratorF * n, c.GeneratorB * n, c.Comm * n}, nil
}

// costs is m.Costs or its default.
func (m Modules) costs() ModuleCosts {
	if m.Costs == (ModuleCosts{}) {
		return AlikeCosts
	}
	return m.Costs
}

// check refuses modules that no schedule can run.
func (m Modules) check() error {
	c := m.costs()
	switch {
	case !m.Encoder && !m.Generator:
		return fmt.Errorf("neither an encoder nor a generator: 1f1b and interleaved_1f1b run an LLM alone")
	case c.F <= 0 || c.B <= 0:
		return fmt.Errorf("passes of the LLM take F %d and B %d, want more than 0", c.F, c.B)
	case min(c.EncoderF, c.EncoderB, c.GeneratorF, c.GeneratorB, c.Comm) < 0:
		return fmt.Errorf("costs cannot be negative: encoder %d and %d, generator %d and %d, comm %d", c.EncoderF, c.EncoderB, c.GeneratorF, c.GeneratorB, c.Comm)
	case m.Warmup < 0 || m.EncoderDevices < 0 || m.GeneratorDevices < 0 || m.Pieces < 0:
		return fmt.Errorf("warm-up %d, devices of encoder %d and generator %d and pieces %d cannot be negative", m.Warmup, m.EncoderDevices, m.GeneratorDevices, m.Pieces)
	}
	return nil
}

// ModuleOf is the module that a global stage belongs to; LLM for all stages of a
// schedule that is not [Multimodal].
func ModuleOf(s Schedule, shape Shape, stage int) Module {
	m, ok := s.(Multimodal)
	if !ok {
		return LLM
	}
	switch n := m.ModuleStages(shape); {
	case stage < n[Encoder]:
		return Encoder
	case stage >= n[Encoder]+n[LLM]:
		return Generator
	}
	return LLM
}

// WholeOnEvery reports whether every device holds the whole encoder and generator of a
// schedule, each for its own microbatches.
func WholeOnEvery(s Schedule) bool {
	switch s.(type) {
	case bigMac, encoderFirst, optimus:
		return true
	}
	return false
}

// Costs is the costs of the schedule's passes: a stage takes its share of its module.
// The error says by what the costs must divide.
func (c ModuleCosts) Costs(m Multimodal, s Shape) (Costs, error) {
	if err := m.Check(s); err != nil {
		return Costs{}, err
	}
	n := m.ModuleStages(s)
	chunks := unit.Time(s.chunks()) // of the LLM, as c counts them
	var of [numModules][2]unit.Time
	for module, whole := range [numModules][2]unit.Time{LLM: {c.F * chunks, c.B * chunks}, Encoder: {c.EncoderF, c.EncoderB}, Generator: {c.GeneratorF, c.GeneratorB}} {
		for i, t := range whole {
			if n[module] == 0 {
				continue
			}
			if limit := unit.Time(math.MaxInt64 / 2); module == int(LLM) && max(c.F, c.B) > limit/chunks {
				return Costs{}, fmt.Errorf("passes of %d and %d over %d chunks leave the range of time", c.F, c.B, chunks)
			}
			if t%unit.Time(n[module]) != 0 {
				return Costs{}, fmt.Errorf("a pass of the %v takes %d, which is not cut into %d stages: scale the costs by %d", Module(module), t, n[module], Divisor(m, s))
			}
			of[module][i] = t / unit.Time(n[module])
		}
	}
	stages := make([][2]unit.Time, Stages(m, s))
	for i := range stages {
		stages[i] = of[ModuleOf(m, s, i)]
	}
	return Costs{F: of[LLM][0], I: of[LLM][1], Comm: c.Comm, Vary: func(slot Slot) unit.Time {
		part := stages[slot.Stage]
		switch slot.Phase {
		case F:
			return part[0]
		case W:
			return 0 // the whole backward is in I
		}
		return part[1]
	}}, nil
}

// LLMAlone times the LLM of a multimodal shape without the other modules, in 1F1B
// or, where a device has several chunks, interleaved 1F1B.
func LLMAlone(s Shape, c ModuleCosts) (*Timing, error) {
	costs := Costs{F: c.F, I: c.B, Comm: c.Comm}
	if s.Virtual == 1 {
		return Simulate(oneFOneB{}, s, costs)
	}
	return Simulate(interleaved{}, s, costs)
}

// Divisor is a number of units of time that every module's stages divide.
func Divisor(m Multimodal, s Shape) int64 {
	out := int64(1)
	for _, n := range m.ModuleStages(s) {
		if n > 0 {
			out = lcm(out, int64(n))
		}
	}
	return out
}

func lcm(a, b int64) int64 {
	x, y := a, b
	for y > 0 {
		x, y = y, x%y
	}
	return a / x * b
}

// Name is what a pass is called where stages belong to modules: EF3 and GB3 are the
// encoder's forward and the generator's backward of microbatch 3, with the stage
// before it where the module has several; the LLM's stages count from 0.
func Name(s Schedule, shape Shape, slot Slot) string {
	m, ok := s.(Multimodal)
	if !ok {
		return slot.String()
	}
	n := m.ModuleStages(shape)
	module, first := ModuleOf(s, shape, int(slot.Stage)), 0
	switch module {
	case LLM:
		first = n[Encoder]
	case Generator:
		first = n[Encoder] + n[LLM]
	}
	name := fmt.Sprintf("%v%d", slot.Phase, slot.Microbatch)
	if n[module] > 1 || module == LLM {
		name = fmt.Sprint(int(slot.Stage)-first) + name
	}
	if module == LLM {
		return name
	}
	return "EG"[module-Encoder:module] + name
}
