package pipeline

import (
	"fmt"
	"math/bits"

	"orrery/sim/unit"
)

func init() { register(encoderStages{Modules{Encoder: true}}) }

// encoderStages is 1F1B over devices of which the first hold the encoder, the last
// the generator and those between the LLM, each cut evenly: Megatron-LM's
// multimodal layout with one device for the encoder (its ViT is the first stage),
// DistTrain's disaggregated modules (SIGCOMM 2025, arXiv:2408.04275) with as many
// as [DistTrainSplit] finds. What is held does not grow with the microbatches, and
// the slowest stage paces all. DistTrain also reorders samples, which is not here.
type encoderStages struct{ m Modules }

func (encoderStages) Name() string { return "encoder_stages" }

func (encoderStages) Describe() string {
	return "1f1b whose first stages are the encoder and whose last are the generator (Megatron-LM, DistTrain, arXiv:2408.04275)"
}

// With takes EncoderDevices and GeneratorDevices.
func (e encoderStages) With(m Modules) Multimodal { return encoderStages{m} }

func (e encoderStages) modules() Modules { return e.m }

func (e encoderStages) ModuleStages(s Shape) [numModules]int {
	var n [numModules]int
	if e.m.Encoder {
		n[Encoder] = max(e.m.EncoderDevices, 1)
	}
	if e.m.Generator {
		n[Generator] = max(e.m.GeneratorDevices, 1)
	}
	n[LLM] = s.Devices - n[Encoder] - n[Generator]
	return n
}

func (encoderStages) Device(_ Shape, pass Slot) int { return int(pass.Stage) }

func (e encoderStages) Check(s Shape) error {
	if err := s.checkPlain(); err != nil {
		return err
	}
	if err := e.m.check(); err != nil {
		return err
	}
	if n := e.ModuleStages(s); n[LLM] < 1 {
		return fmt.Errorf("of %d devices, %d hold the encoder and %d the generator: none is left for the LLM; %d or more would do",
			s.Devices, n[Encoder], n[Generator], n[Encoder]+n[Generator]+1)
	}
	return nil
}

func (e encoderStages) Order(s Shape) ([][]Slot, error) {
	if err := e.Check(s); err != nil {
		return nil, err
	}
	return oneFOneB{}.Order(s)
}

// DistTrainSplit is the division of p devices among the modules whose slowest stage
// is fastest, as DistTrain allots resources; of equal ones that with the fewest
// devices for the encoder, then for the generator.
func DistTrainSplit(m Modules, s Shape) (Modules, error) {
	if err := (encoderStages{m}).Check(s); err != nil {
		return m, err
	}
	c, err := m.costs().Scaled(int64(s.Devices))
	if err != nil {
		return m, err
	}
	whole := [numModules]unit.Time{LLM: c.F + c.B, Encoder: (c.EncoderF + c.EncoderB) / unit.Time(s.Devices), Generator: (c.GeneratorF + c.GeneratorB) / unit.Time(s.Devices)}
	// The slowest stage takes t/over.
	slowest := func(n [numModules]int) (t unit.Time, over int) {
		over = 1
		for module, k := range n {
			if k > 0 && less(t, over, whole[module], k) {
				t, over = whole[module], k
			}
		}
		return t, over
	}
	best, first := m, true
	var bestT unit.Time
	var bestOver int
	few := func(has bool, most int) (from, to int) { // devices of a module
		if has {
			return 1, most
		}
		return 0, 0
	}
	from, to := few(m.Encoder, s.Devices-1)
	for enc := from; enc <= to; enc++ {
		from, to := few(m.Generator, s.Devices-1-enc)
		for gen := from; gen <= to; gen++ {
			t, over := slowest([numModules]int{Encoder: enc, Generator: gen, LLM: s.Devices - enc - gen})
			if first || less(t, over, bestT, bestOver) {
				first, bestT, bestOver = false, t, over
				best.EncoderDevices, best.GeneratorDevices = enc, gen
			}
		}
	}
	return best, nil
}

// less compares fractions of times, a/k < b/n.
func less(a unit.Time, k int, b unit.Time, n int) bool {
	aHigh, aLow := bits.Mul64(uint64(a), uint64(n))
	bHigh, bLow := bits.Mul64(uint64(b), uint64(k))
	return aHigh < bHigh || aHigh == bHigh && aLow < bLow
}
