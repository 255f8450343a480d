package pipeline

func init() { register(breadthFirst{}) }

// breadthFirst is breadth-first pipeline parallelism (Lamy-Poirier 2022,
// arXiv:2211.05953) as PyTorch's ScheduleLoopedBFS has it: all microbatches
// through a device's first chunk, then through its second, and back in reverse. A
// stage's parameters are gathered twice a step and its gradients reduced once,
// which suits fully sharded data parallelism; every microbatch is held.
type breadthFirst struct{ looped }

func (breadthFirst) Name() string { return "bfs_looped" }

func (breadthFirst) Describe() string {
	return "all microbatches through one chunk, then the next; suits sharded parameters (arXiv:2211.05953)"
}

func (breadthFirst) Check(s Shape) error {
	if err := s.checkWhole(); err != nil {
		return err
	}
	return s.checkUngrouped()
}

func (t breadthFirst) Order(s Shape) ([][]Slot, error) {
	if err := t.Check(s); err != nil {
		return nil, err
	}
	order := make([][]Slot, s.Devices)
	for d := range order {
		slots := make([]Slot, 0, 2*s.Virtual*s.Microbatches)
		for chunk := range s.Virtual {
			slots = append(slots, passesOf(F, chunk*s.Devices+d, s.Microbatches)...)
		}
		for i := len(slots) - 1; i >= 0; i-- {
			last := slots[i]
			last.Phase = B
			slots = append(slots, last)
		}
		order[d] = slots
	}
	return order, nil
}
