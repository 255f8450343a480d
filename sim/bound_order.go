package sim

import (
	"slices"
	"sync"

	"orrery/schedules/pipeline"
)

// orderFacts are what bounds need of an order of passes. They depend on the schedule
// and the shape alone, so that many scenarios share them.
type orderFacts struct {
	held  [][]int // stages of a rank, ascending
	ranks []rankFacts
	split bool // the backward pass has two halves
	// guess: the order depends on prices, so that only what a rank runs is known.
	guess bool
}

// rankFacts are of one rank's order.
type rankFacts struct {
	first, last pipeline.Slot
	// lastInput is the last pass whose output other ranks wait for; the number of
	// weight gradients up to it is by stage held.
	lastInput     pipeline.Slot
	weightsBefore []int64
	passes        [][4]int64 // by stage held: F, B, I, W
	// alive are the sets of activations that are held at once, but for those that
	// another set contains: by stage held, of whole passes, and of passes of which
	// the gradients of weights are left.
	alive [][]int64
}

// orderKey identifies an order of passes.
type orderKey struct {
	schedule string
	variant  int // of vocab_1f1b: barriers
	shape    pipeline.Shape
}

// orderBook keeps the facts of orders; it is safe for concurrent use.
type orderBook struct {
	mu    sync.Mutex
	facts map[orderKey]*orderEntry
}

type orderEntry struct {
	once  sync.Once
	facts *orderFacts
	err   error
}

func (b *orderBook) of(s pipeline.Schedule, shape pipeline.Shape) (*orderFacts, error) {
	if _, file := s.(*pipeline.FileOrder); file { // of which there may be several
		return factsOf(s, shape)
	}
	k := orderKey{schedule: s.Name(), shape: shape}
	if v, ok := s.(pipeline.Vocabulary1F1B); ok {
		k.variant = v.Barriers
	}
	if needsCosts(s) {
		k.variant = -1
	}
	b.mu.Lock()
	e := b.facts[k]
	if e == nil {
		if b.facts == nil {
			b.facts = map[orderKey]*orderEntry{}
		}
		e = &orderEntry{}
		b.facts[k] = e
	}
	b.mu.Unlock()
	e.once.Do(func() { e.facts, e.err = factsOf(s, shape) })
	return e.facts, e.err
}

func factsOf(s pipeline.Schedule, shape pipeline.Shape) (*orderFacts, error) {
	order, err := s.Order(shape)
	if err != nil {
		return nil, err
	}
	f := &orderFacts{ranks: make([]rankFacts, len(order)), guess: needsCosts(s)}
	stages := int32(pipeline.Stages(s, shape))
	for r, slots := range order {
		slots = slices.DeleteFunc(slices.Clone(slots), func(s pipeline.Slot) bool { return s.Phase == pipeline.S || s.Stage >= stages })
		f.held = append(f.held, heldBy(slots))
		f.ranks[r].read(slots, f.held[r])
		f.split = f.split || f.ranks[r].splits()
	}
	return f, nil
}

// heldBy is the stages that have passes, ascending.
func heldBy(slots []pipeline.Slot) []int {
	seen := map[int]bool{}
	for _, s := range slots {
		seen[int(s.Stage)] = true
	}
	var out []int
	for s := range seen {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func (r *rankFacts) splits() bool {
	return slices.ContainsFunc(r.passes, func(n [4]int64) bool { return n[pipeline.W] > 0 })
}

func (r *rankFacts) read(slots []pipeline.Slot, held []int) {
	n := len(held)
	r.passes, r.weightsBefore = make([][4]int64, n), make([]int64, n)
	r.first, r.last = slots[0], slots[len(slots)-1]
	at := make([]int, held[n-1]+1) // index of a stage in held
	for i, s := range held {
		at[s] = i
	}
	weights := make([]int64, n)
	live := make([]int64, 2*n) // whole, then weights only
	sets := liveSets{}
	for i, s := range slots {
		h := at[s.Stage]
		r.passes[h][s.Phase]++
		switch s.Phase {
		case pipeline.F:
			live[h]++
		case pipeline.B:
			live[h]--
		case pipeline.I:
			live[h]--
			live[n+h]++
		case pipeline.W:
			live[n+h]--
			weights[h]++
		}
		grows := s.Phase == pipeline.F || s.Phase == pipeline.I // half a backward pass may leave more than it frees
		if grows && (i+1 == len(slots) || slots[i+1].Phase != pipeline.F) {
			sets.add(live)
		}
		if s.Phase == pipeline.B || s.Phase == pipeline.I {
			r.lastInput = s
			copy(r.weightsBefore, weights)
		}
	}
	r.alive = sets.largest()
}

// liveSets are sets of activations that are held at once, each once.
type liveSets struct {
	seen map[string]bool
	list [][]int64
	key  []byte
}

func (l *liveSets) add(live []int64) {
	l.key = l.key[:0]
	for _, n := range live {
		l.key = append(l.key, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	if l.seen[string(l.key)] {
		return
	}
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	l.seen[string(l.key)] = true
	l.list = append(l.list, slices.Clone(live))
}

// largest leaves out sets that another one contains.
func (l *liveSets) largest() (out [][]int64) {
	contains := func(a, b []int64) bool {
		for i := range a {
			if a[i] < b[i] {
				return false
			}
		}
		return true
	}
	for i, a := range l.list {
		if !slices.ContainsFunc(l.list[i+1:], func(b []int64) bool { return contains(b, a) }) &&
			!slices.ContainsFunc(out, func(b []int64) bool { return contains(b, a) }) {
			out = append(out, a)
		}
	}
	return out
}
