package pipeline

func (dualPipeV) batches(b *batcher) {
	b.dualPipe(b.shape.Devices, b.device)
}

// A device of the second half does with the direction up what the first half does
// with that down: its order says which comes first.
func (dualPipe) batches(b *batcher) {
	p := b.shape.Devices
	b.dualPipe(p/2, min(b.device, p-1-b.device))
}

// dualPipe is the program of deepseek-ai/DualPipe (dualpipe.py and dualpipev.py,
// step) for rank r of a half of h: each pass is preceded
// by one batch of what it receives and the pass before it sends, but for a few
// transfers that are posted earlier or later. The steps are those of
// [dualOrder.body].
func (b *batcher) dualPipe(h, r int) {
	rest := h - r - 1
	middle := rest == 0
	for range 2 * rest {
		b.pass()
	}
	for i := range r + 1 { // step 2: what the next first chunk needs comes early, what this one has goes late
		first := b.take()
		b.receive(first...)
		b.run(first)
		if middle {
			b.send(first...)
		}
		b.receive(b.next(first[0]))
		second := b.take()
		b.receive(second...)
		b.run(second)
		if middle && i == r {
			// Sent only after the first pass of step 4.
			b.startMiddle(second)
			break
		}
		b.send(second...)
		if !middle {
			b.send(first...)
		}
	}
	for range rest { // step 3: the forward's input comes with the weight gradient
		b.pass()
		weights := b.take()
		b.receive(b.left[0])
		b.run(weights)
		b.pass()
	}
	for len(b.left) > 0 { // steps 4 to 8
		b.pass()
	}
}

// startMiddle is the two passes that open step 4 of the middle rank, which do not
// overlap; before is the pass whose output is still to be sent.
func (b *batcher) startMiddle(before []Slot) {
	forward := b.take()
	b.receive(forward...)
	b.run(forward)
	b.send(before...)
	backward := b.take()
	b.receive(backward...)
	b.run(backward)
	b.send(forward...)
	b.send(backward...)
}

// next is the next forward of the stage of s that is left.
func (b *batcher) next(s Slot) Slot {
	for _, n := range b.left {
		if n.Phase == F && n.Stage == s.Stage {
			return n
		}
	}
	return Slot{Phase: W} // receives nothing
}
