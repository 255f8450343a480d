package pipeline

func init() { register(encoderSegments{Modules{Encoder: true}}) }

// encoderSegments cuts every module over all devices, as DIP does (ASPLOS 2026,
// earlier PipeWeaver, arXiv:2504.14145): the encoder is the first chunk of each
// device, the generator the last, between them the LLM's, in the order of
// interleaved 1F1B. DIP also searches for an order of sub-microbatches for each
// batch, which is not here: chunks of unequal length leave bubbles that it would fill.
type encoderSegments struct{ m Modules }

func (encoderSegments) Name() string { return "encoder_segments" }

func (encoderSegments) Describe() string {
	return "interleaved 1f1b whose first chunk is the encoder's and whose last is the generator's (as DIP's segments, arXiv:2504.14145)"
}

// With takes nothing but which modules there are.
func (e encoderSegments) With(m Modules) Multimodal { return encoderSegments{m} }

func (e encoderSegments) modules() Modules { return e.m }

func (e encoderSegments) ModuleStages(s Shape) [numModules]int {
	n := [numModules]int{LLM: s.chunks()}
	if e.m.Encoder {
		n[Encoder] = s.Devices
	}
	if e.m.Generator {
		n[Generator] = s.Devices
	}
	return n
}

func (encoderSegments) Device(s Shape, pass Slot) int { return int(pass.Stage) % s.Devices }

// all is the shape with the chunks of all modules.
func (e encoderSegments) all(s Shape) Shape {
	n := e.ModuleStages(s)
	s.Virtual = (n[Encoder] + n[LLM] + n[Generator]) / s.Devices
	return s
}

func (e encoderSegments) Check(s Shape) error {
	if err := s.checkWhole(); err != nil {
		return err
	}
	if err := e.m.check(); err != nil {
		return err
	}
	return interleaved{}.Check(e.all(s))
}

func (e encoderSegments) Order(s Shape) ([][]Slot, error) {
	if err := e.Check(s); err != nil {
		return nil, err
	}
	return interleaved{}.Order(e.all(s))
}
