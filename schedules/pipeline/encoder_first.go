package pipeline

func init() { register(encoderFirst{Modules{Encoder: true}}) }

// encoderFirst is what a nested pipeline is measured against where memory does not
// matter: every device runs the encoder forward over all of its microbatches before
// the LLM starts and backward over all of them when it has ended, and holds all of
// them in between. It is Optimus (arXiv:2408.03505) before encoder work moves into
// bubbles; generator units are where bigmac has them. With [ModuleCosts.Recomputed]
// it is the same with full recomputation of the encoder.
type encoderFirst struct{ m Modules }

func (encoderFirst) Name() string { return "encoder_first" }

func (encoderFirst) Describe() string {
	return "all encoder forwards, the interleaved 1f1b of the LLM, all encoder backwards: m/p units held (the unlimited memory of BigMac, arXiv:2605.25451)"
}

// With takes Costs.
func (e encoderFirst) With(m Modules) Multimodal { return encoderFirst{m} }

func (e encoderFirst) modules() Modules { return e.m }

func (e encoderFirst) ModuleStages(s Shape) [numModules]int { return wholeModules(e.m, s) }

func (e encoderFirst) Device(s Shape, pass Slot) int {
	return wholeDevice(e.ModuleStages(s)[Encoder], s, pass)
}

func (e encoderFirst) Check(s Shape) error {
	if err := s.checkUnits(); err != nil {
		return err
	}
	return e.m.check()
}

func (e encoderFirst) Order(s Shape) ([][]Slot, error) {
	if err := e.Check(s); err != nil {
		return nil, err
	}
	llm, err := newNesting(e, s)
	if err != nil {
		return nil, err
	}
	units := s.Microbatches / s.Devices
	var blocks []block
	if e.m.Generator {
		for g := range units {
			blocks = append(blocks, llm.generatorBlock(g))
		}
	}
	order := llm.nest(blocks)
	if !e.m.Encoder {
		return order, nil
	}
	for d := range order {
		var first []Slot
		for g := range units {
			first = append(first, llm.slot(d, pass{F, Encoder, g}))
			order[d] = append(order[d], llm.slot(d, pass{B, Encoder, g}))
		}
		order[d] = append(first, order[d]...)
	}
	return order, nil
}
