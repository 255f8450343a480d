package ordersearch

import (
	"bufio"
	"fmt"
	"io"
	"math/big"

	"orrery/sim/unit"
)

// maxBinaries bounds the pairs of passes of an exported model: solvers give up long
// before.
const maxBinaries = 1 << 18

// WriteLP writes the problem as a mixed integer program in CPLEX's LP format: a
// start for each pass, and for each two passes of a device whose order is open a
// binary that says which is first. The objective is the makespan, in units of time.
// Orders longer than horizon are left out; that of any known order will do.
//
// It has what the problem has and nothing of the search: dependencies, devices that
// run one pass at a time, memory, and microbatches numbered as they come (see the
// package's comment). Two families of inequalities follow from those and only help
// a solver: what runs before a pass, or behind it, takes its time.
func WriteLP(w io.Writer, p Problem, horizon unit.Time) error {
	m, err := newModel(p)
	if err != nil {
		return err
	}
	b := &bounder{m: m, head: make([]unit.Time, len(m.cost)), tail: make([]unit.Time, len(m.cost)), alike: m.Shape.Slices == 1}
	b.sortPasses()
	b.spread()
	l := &program{bounder: b, w: bufio.NewWriter(w), horizon: horizon}
	if err := l.pair(); err != nil {
		return err
	}
	l.write()
	return l.w.Flush()
}

// program is a model as a mixed integer program.
type program struct {
	*bounder
	w       *bufio.Writer
	horizon unit.Time
	before  []*big.Int // by pass: those that must be over when it starts
	open    [][2]pass  // pairs whose order is open
	rows    int
}

// pair finds the pairs of passes whose order is open.
func (l *program) pair() error {
	m := l.m
	pairs := 0
	for _, work := range m.work {
		pairs += len(work) * len(work) / 2
	}
	if pairs > maxBinaries {
		return fmt.Errorf("%d pairs of passes on the devices: a program of at most %d is written, which solvers do not solve either; try fewer stages or microbatches", pairs, maxBinaries)
	}
	l.before = make([]*big.Int, len(m.cost))
	for _, x := range l.chrono {
		set := new(big.Int)
		for _, y := range []pass{m.giver[x], m.earlier[x], l.neighbour(x, -1)} {
			if y != none {
				set.Or(set, l.before[y]).SetBit(set, int(y), 1)
			}
		}
		l.before[x] = set
	}
	for _, work := range m.work {
		for i, x := range work {
			for _, y := range work[:i] {
				if l.before[x].Bit(int(y)) == 0 && l.before[y].Bit(int(x)) == 0 {
					l.open = append(l.open, [2]pass{y, x})
				}
			}
		}
	}
	return nil
}

func (l *program) name(x pass) string {
	s := l.m.slot(x)
	return fmt.Sprintf("%v_%d_%d_%d", s.Phase, s.Stage, s.Microbatch, s.Slice)
}

func (l *program) start(x pass) string { return "t_" + l.name(x) }

// first is the term, without its sign, that is 1 where the pass a runs before b, and
// a constant; of a pair whose order is known the term is empty.
func (l *program) first(a, b pass) (sign int, term string, constant int) {
	switch {
	case l.before[b].Bit(int(a)) == 1:
		return 0, "", 1
	case l.before[a].Bit(int(b)) == 1:
		return 0, "", 0
	case a < b:
		return 1, l.binary(a, b), 0
	}
	return -1, l.binary(b, a), 1
}

func (l *program) binary(a, b pass) string { return "y_" + l.name(a) + "__" + l.name(b) }

// row writes a row of terms that is at least something.
func (l *program) row(atLeast unit.Time, terms ...any) {
	l.rows++
	fmt.Fprintf(l.w, " r%d:", l.rows)
	for i := 0; i < len(terms); i += 2 {
		if c, _ := terms[i].(int64); c != 0 {
			fmt.Fprintf(l.w, " %+d %s", c, terms[i+1])
		}
	}
	fmt.Fprintf(l.w, " >= %d\n", int64(atLeast))
}

func (l *program) write() {
	m := l.m
	fmt.Fprintf(l.w, "\\ %d devices, %d chunks a device, %d microbatches, %d slices, placed %s", m.Shape.Devices, m.Shape.Virtual, m.Shape.Microbatches, m.Shape.Slices, m.Placement)
	if m.Limit > 0 {
		fmt.Fprintf(l.w, ", at most %d activations a device", m.Limit)
	}
	fmt.Fprintf(l.w, "\n\\ t_: start of a pass (phase, stage, microbatch, slice); y_a__b: 1 where a runs before b\nMinimize\n obj: makespan\nSubject To\n")
	for x := range pass(len(m.cost)) {
		if g := m.giver[x]; g != none {
			l.row(m.cost[g]+m.lagIn[x], int64(1), l.start(x), int64(-1), l.start(g))
		}
		for _, y := range []pass{m.earlier[x], l.neighbour(x, -1)} {
			if y != none {
				l.row(m.cost[y], int64(1), l.start(x), int64(-1), l.start(y))
			}
		}
		l.row(m.cost[x], int64(1), "makespan", int64(-1), l.start(x))
	}
	for _, p := range l.open {
		a, b := p[0], p[1]
		// What the windows of the two, from head to horizon less tail, leave anyway.
		slack := max(0, l.horizon-l.tail[a]-l.head[b])
		l.row(m.cost[a]-slack, int64(1), l.start(b), int64(-1), l.start(a), -int64(slack), l.binary(a, b))
		slack = max(0, l.horizon-l.tail[b]-l.head[a])
		l.row(m.cost[b], int64(1), l.start(a), int64(-1), l.start(b), int64(slack), l.binary(a, b))
	}
	for d := range m.work {
		l.device(d)
	}
	l.bounds()
}

// device writes what the passes before each one hold and take.
func (l *program) device(d int) {
	m := l.m
	first, last := l.head[m.work[d][0]], l.tail[m.work[d][0]]
	for _, x := range m.work[d] {
		first, last = min(first, l.head[x]), min(last, l.tail[x])
	}
	for _, x := range m.work[d] {
		held := []any{}                                            // - what is held when x starts
		early := []any{int64(1), l.start(x)}                       // start - what runs before
		late := []any{int64(1), "makespan", int64(-1), l.start(x)} // makespan - start - what runs behind
		room, before, after := int64(m.Limit)-1, first, last+m.cost[x]
		for _, y := range m.work[d] {
			if y == x {
				continue
			}
			sign, term, constant := l.first(y, x)
			h, c := int64(m.holds(y)), int64(m.cost[y])
			room -= h * int64(constant)
			before += m.cost[y] * unit.Time(constant)
			after += m.cost[y] * unit.Time(1-constant)
			if sign != 0 {
				if h != 0 {
					held = append(held, -h*int64(sign), term)
				}
				early = append(early, -c*int64(sign), term)
				late = append(late, c*int64(sign), term)
			}
		}
		if m.Limit > 0 && m.phase(x) == 0 && len(held) > 0 {
			l.row(unit.Time(-room), held...)
		}
		l.row(before, early...)
		l.row(after, late...)
	}
}

func (l *program) bounds() {
	fmt.Fprintf(l.w, "Bounds\n makespan <= %d\n", int64(l.horizon))
	for x := range pass(len(l.m.cost)) {
		fmt.Fprintf(l.w, " %d <= %s <= %d\n", int64(l.head[x]), l.start(x), int64(l.horizon-l.tail[x]-l.m.cost[x]))
	}
	fmt.Fprintln(l.w, "Binaries")
	for _, p := range l.open {
		fmt.Fprintf(l.w, " %s\n", l.binary(p[0], p[1]))
	}
	fmt.Fprintln(l.w, "End")
}
