package lower

// sharedExperts are the two halves of the shared experts' forward pass.
func (s *shapes) sharedExperts(b *builder) (up, down func()) {
	f := s.m.MoE.SharedFFN
	if f == 0 {
		return func() {}, func() {}
	}
	fc1, fc2 := s.fc(f, MLP, "shared ")
	up = func() {
		s.forward(b, fc1)
		s.act(b, "shared activation", s.tokens, f/s.tp)
	}
	return up, func() { s.forward(b, fc2) }
}

// sharedBackward are those of the backward pass.
func (s *shapes) sharedBackward(b *builder) (down, up func()) {
	f := s.m.MoE.SharedFFN
	if f == 0 {
		return func() {}, func() {}
	}
	fc1, fc2 := s.fc(f, MLP, "shared ")
	down = func() {
		s.backward(b, fc2)
		s.actBackward(b, "shared activation", s.tokens, f/s.tp)
	}
	return down, func() { s.backward(b, fc1) }
}

// beside runs half of the shared experts behind a message, where the framework
// overlaps them (Megatron-Core's --moe-shared-expert-overlap: fc1 behind the
// dispatch, fc2 behind the combine), and alone where there is no message to wait for.
func (s *shapes) beside(b *builder, message int, half func()) {
	switch {
	case !s.fw.OverlapShared || s.m.MoE.SharedFFN == 0:
	case message < 0:
		half()
	default:
		b.behind(message, half)
	}
}
