package packing

// memory follows what the ranks of a block hold. Passes of a rank run in a fixed
// order, so the peak does not depend on times.
//
// A forward pass adds its tokens' activations, keys and values among them (only
// those of a unit that recomputes); its backward pass frees them. During the
// backward of a slice [x0, x1) the gradients of the keys and values of [0, x1)
// exist, after it those of [0, x0), which the earlier slices wait for.
type memory struct {
	r     *run
	share float64 // of a token's activations that are keys and values
	// By unit: tokens a lane; live change of gradients during and after.
	held, back []float64
	grads      []gradients
}

type gradients struct{ during, after float64 }

func newMemory(j *Job, r *run) *memory {
	m := &memory{r: r, share: j.Footprint.kvShare(), held: make([]float64, len(r.plan.Forward)), back: make([]float64, len(r.plan.Backward)),
		grads: make([]gradients, len(r.plan.Backward))}
	for i := range r.plan.Forward {
		m.held[i] = laneTokens(&r.plan.Forward[i])
	}
	for i := range r.plan.Backward {
		u := &r.plan.Backward[i]
		m.back[i] = laneTokens(u)
		for _, s := range u.Slices {
			x0, x1 := float64(s.X0), float64(s.X1)
			before := x1 // gradients of [0, x1) exist where a later slice made them
			if int(s.X1) == j.Lengths[s.Sample] {
				before = 0
			}
			w := float64(u.Width)
			m.grads[i].during += (x1 - before) / w
			m.grads[i].after += (x0 - before) / w
		}
	}
	return m
}

// laneTokens is the tokens of a unit on each of its lanes, padding included.
func laneTokens(u *Unit) float64 { return float64(u.Tokens()+u.padding()) / float64(u.Width) }

// peak is the most tokens' activations that stage s of a block holds.
func (m *memory) peak(b, s int) float64 {
	r := m.r
	blk := &r.blocks[b]
	peak, live, grads := 0.0, 0.0, 0.0
	f, lead := 0, r.hop*(r.p-1-s)
	for g, u := range blk.backward {
		for ; f < min(len(blk.forward), int(blk.need[g])+lead); f++ {
			v := blk.forward[f]
			t := m.held[v]
			// The pass itself needs all of its activations, whatever it keeps.
			peak = max(peak, live+t+grads)
			live += t * m.kept(r.plan.Forward[v].Recompute)
		}
		t, kept := m.back[u], m.kept(r.plan.Backward[u].Recompute)
		during := live + t*(1-kept)
		peak = max(peak, during+grads+m.share*m.grads[u].during)
		live -= t * kept
		grads += m.share * m.grads[u].after
	}
	return peak
}

// kept is the share of a unit's activations that stays from its forward.
func (m *memory) kept(recompute bool) float64 {
	if recompute {
		return m.share
	}
	return 1
}
