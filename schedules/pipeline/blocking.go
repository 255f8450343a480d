package pipeline

import "fmt"

// Program is, per device, passes and the batches of transfers between them.
type Program [][]Step

// Step is a pass (or a pair of them that runs together), or a batch of
// transfers: one of the two is there.
type Step struct {
	Passes []Slot
	// Batch is posted when the device reaches it. Each transfer starts when both
	// its ends are posted, and the device goes on when all have ended.
	Batch []Transfer
	// InTurn: transfers of the batch with the same device are posted one after the
	// other, each when the one before it has ended.
	InTurn bool
}

// Transfer is one end of a message: what a pass has for the stage beside it.
type Transfer struct {
	Send bool  // or receive
	Peer int32 // the device at the other end
	// Output is the pass that the message comes from: of phase F for activations,
	// of phase B for a gradient, which the pass B or I has.
	Output Slot
}

// String tells a transfer from its device's view.
func (x Transfer) String() string {
	if x.Send {
		return fmt.Sprintf("send %v to device %d", x.Output, x.Peer)
	}
	return fmt.Sprintf("receive %v from device %d", x.Output, x.Peer)
}

// BlockingOptions is how [Blocking] makes batches; the zero value is the usual way.
type BlockingOptions struct {
	// Unbatched is Megatron-LM's mode without batch_isend_irecv, for 1f1b only: of
	// the two transfers between two devices the activation goes first and the
	// gradient waits for it.
	Unbatched bool
}

// batched is a schedule that has a convention of its own for blocking transfers.
type batched interface {
	// batches makes the program of the batcher's device.
	batches(*batcher)
}

// Blocking is the order of a schedule as a program with blocking transfers: a
// device posts a batch of sends and receives and waits for all of it before it
// goes on. 1f1b has the batches of Megatron-LM, dualpipe and dualpipev those of
// deepseek-ai/DualPipe. For others each pass is preceded by one batch of what it
// receives and what the pass before it sends. Whether the program runs to its end
// is [SimulateProgram]'s to say.
func Blocking(s Schedule, shape Shape, o BlockingOptions) (Program, error) {
	order, err := s.Order(shape)
	if err != nil {
		return nil, err
	}
	if err := Validate(s, shape, order); err != nil {
		return nil, err
	}
	if _, ok := s.(oneFOneB); o.Unbatched && !ok {
		return nil, fmt.Errorf("unbatched transfers are known of 1f1b, not of %s", s.Name())
	}
	program := make(Program, len(order))
	for d := range order {
		b := &batcher{s: s, shape: shape, stages: Stages(s, shape), unbatched: o.Unbatched, device: d, left: order[d], early: map[Transfer]bool{}}
		if own, ok := s.(batched); ok {
			own.batches(b)
		} else {
			for len(b.left) > 0 {
				b.pass()
			}
		}
		b.post()
		program[d] = b.steps
	}
	return program, nil
}

// SimulateBlocking times the program of [Blocking].
func SimulateBlocking(s Schedule, shape Shape, c Costs, o BlockingOptions) (*Timing, error) {
	program, err := Blocking(s, shape, o)
	if err != nil {
		return nil, err
	}
	return SimulateProgram(s, shape, c, program)
}

// batcher makes the program of one device from its order: it goes through the
// passes that are left and gathers transfers to be posted before the next.
type batcher struct {
	s         Schedule
	shape     Shape
	stages    int
	unbatched bool
	device    int
	left      []Slot
	due       []Transfer
	early     map[Transfer]bool // received before their pass was the next
	steps     []Step
}

// pass runs the next pass after one batch of what it receives and what is due,
// and makes what it sends due.
func (b *batcher) pass() {
	now := b.take()
	b.receive(now...)
	b.run(now)
	b.send(now...)
}

// take is the next pass or pair.
func (b *batcher) take() []Slot {
	n := 1
	if len(b.left) > 1 && b.left[1].Paired {
		n = 2
	}
	now := b.left[:n]
	b.left = b.left[n:]
	return now
}

// run posts what is due, and runs passes when all of it has ended.
func (b *batcher) run(passes []Slot) {
	b.post()
	b.steps = append(b.steps, Step{Passes: passes})
}

// post makes a batch of what is due.
func (b *batcher) post() {
	if len(b.due) > 0 {
		b.steps = append(b.steps, Step{Batch: b.due})
		b.due = nil
	}
}

// send makes due what passes have for other devices.
func (b *batcher) send(passes ...Slot) {
	for _, p := range passes {
		to, ok := beside(p, +1, b.stages)
		if peer := b.s.Device(b.shape, to); ok && peer != b.device {
			b.due = append(b.due, Transfer{Send: true, Peer: int32(peer), Output: output(p)})
		}
	}
}

// receive makes due what passes need from other devices, unless it was before.
func (b *batcher) receive(passes ...Slot) {
	for _, p := range passes {
		from, ok := beside(p, -1, b.stages)
		peer := b.s.Device(b.shape, from)
		x := Transfer{Peer: int32(peer), Output: output(from)}
		if ok && peer != b.device && !b.early[x] {
			b.due = append(b.due, x)
			b.early[x] = true
		}
	}
}

// beside is the same pass of the stage after (by 1) or before (by -1) in the
// direction of its data; false, and the pass itself, where there is none.
func beside(s Slot, by int32, stages int) (Slot, bool) {
	switch s.Phase {
	case W:
		return s, false
	case B, I:
		by = -by
	}
	if to := s.Stage + by; to >= 0 && int(to) < stages {
		s.Stage = to
		return s, true
	}
	return s, false
}

// output names the message of a pass.
func output(s Slot) Slot {
	if s.Phase != F {
		s.Phase = B
	}
	s.Paired = false
	return s
}

// batches is the program of Megatron-LM's non-interleaved schedule (schedules.py,
// forward_backward_pipelining_without_interleaving). In the steady state the
// output of a pass and the input of the next travel in one batch
// (send_forward_recv_backward, send_backward_recv_forward), to and from one
// neighbour; before and after, each transfer is a batch.
//
// Unbatched (p2p_communication.py, _p2p_ops), an even device issues send_next,
// recv_prev, send_prev, recv_next and an odd one recv_prev, send_next, recv_next,
// send_prev: of the two transfers with one neighbour the activation always goes
// first, and the gradient waits for it on their communicator. Between two devices
// in all Megatron-LM takes two communicators, so that nothing waits.
func (oneFOneB) batches(b *batcher) {
	p := b.shape.Devices
	warmup := min(p-1-b.device, b.shape.Microbatches)
	for i := 0; len(b.left) > 0; i++ {
		b.pass()
		if steady := i >= warmup && len(b.left) > 0 && b.left[0].Phase != b.steps[len(b.steps)-1].Passes[0].Phase; !steady {
			b.post()
		}
	}
	if !b.unbatched || p == 2 {
		return
	}
	for i := range b.steps {
		step := &b.steps[i]
		step.InTurn = true
		if x := step.Batch; len(x) == 2 && x[0].Output.Phase == B {
			x[0], x[1] = x[1], x[0]
		}
	}
}
