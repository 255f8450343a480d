package pipeline

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Op is what an [Action] does, in the spelling of PyTorch's
// torch/distributed/pipelining/schedules.py (_ComputationType).
type Op string

// Ops. SEND_* carry the stage of the sender, RECV_* that of the receiver.
const (
	OpF          Op = "F"
	OpB          Op = "B"
	OpI          Op = "I"
	OpW          Op = "W"
	OpUnshard    Op = "UNSHARD"
	OpReshard    Op = "RESHARD"
	OpReduceGrad Op = "REDUCE_GRAD"
	OpSendF      Op = "SEND_F"
	OpRecvF      Op = "RECV_F"
	OpSendB      Op = "SEND_B"
	OpRecvB      Op = "RECV_B"
)

// Absent is the microbatch or slice of an action that has none.
const Absent int32 = -1

// Action is one thing that a device does. Microbatch and Slice are [Absent]
// where the text has none; an action with a slice has a microbatch.
type Action struct {
	Op                       Op
	Stage, Microbatch, Slice int32
}

// Cell is one entry of a device's row: no action (idle), one, or a forward and a
// backward that overlap.
type Cell []Action

const overlapped = "OVERLAP_F_B"

// action has the numbers without leading zeros, so that a text has one meaning
// and a meaning one text. The slice is our addition to PyTorch's grammar.
var action = regexp.MustCompile(`^(0|[1-9][0-9]*)(F|B|I|W|UNSHARD|RESHARD|REDUCE_GRAD|SEND_F|RECV_F|SEND_B|RECV_B)(?:(0|[1-9][0-9]*)(?:\.(0|[1-9][0-9]*))?)?$`)

// ParseOrder reads device orders in PyTorch's grammar, one line a device and
// one comma-separated cell an action: `0F0`, `3SEND_B7`, `(0F7;7B3)OVERLAP_F_B`,
// or nothing for an idle cell; a slice follows its microbatch as `.2`. An empty
// line is a device without cells. Blanks around cells and the end of the last
// line do not matter. The letters of 2024 (B, BW for what are now I, B) are not
// understood: BW is an error, and B is the fused backward.
func ParseOrder(text string) ([][]Cell, error) {
	if text == "" {
		return nil, nil
	}
	var rows [][]Cell
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		var row []Cell
		if line = strings.TrimSpace(line); line != "" {
			for j, field := range strings.Split(line, ",") {
				cell, err := parseCell(strings.TrimSpace(field))
				if err != nil {
					return nil, fmt.Errorf("line %d, cell %d: %w", i+1, j+1, err)
				}
				row = append(row, cell)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func parseCell(text string) (Cell, error) {
	if text == "" {
		return nil, nil
	}
	inner, pair := strings.CutPrefix(text, "(")
	if !pair {
		a, err := parseAction(text)
		if err != nil {
			return nil, err
		}
		return Cell{a}, nil
	}
	inner, closed := strings.CutSuffix(inner, ")"+overlapped)
	first, second, two := strings.Cut(inner, ";")
	if !closed || !two {
		return nil, fmt.Errorf("%q is not of the form (0F1;3B0)%s", text, overlapped)
	}
	f, err := parseAction(first)
	if err != nil {
		return nil, err
	}
	b, err := parseAction(second)
	if err != nil {
		return nil, err
	}
	if f.Op != OpF || (b.Op != OpB && b.Op != OpI) {
		return nil, fmt.Errorf("%q overlaps %s with %s, want a forward with a backward", text, f.Op, b.Op)
	}
	return Cell{f, b}, nil
}

func parseAction(text string) (Action, error) {
	m := action.FindStringSubmatch(text)
	if m == nil {
		return Action{}, fmt.Errorf("%q is not an action such as 0F1, 2SEND_B3 or 1UNSHARD", text)
	}
	a := Action{Op: Op(m[2])}
	for _, n := range []struct {
		digits string
		into   *int32
	}{{m[1], &a.Stage}, {m[3], &a.Microbatch}, {m[4], &a.Slice}} {
		if n.digits == "" {
			*n.into = Absent
			continue
		}
		v, err := strconv.ParseInt(n.digits, 10, 32)
		if err != nil {
			return Action{}, fmt.Errorf("%q: %s is above %d", text, n.digits, math.MaxInt32)
		}
		*n.into = int32(v)
	}
	if whole := a.Op == OpUnshard || a.Op == OpReshard || a.Op == OpReduceGrad; !whole && a.Microbatch == Absent {
		return Action{}, fmt.Errorf("%q lacks a microbatch", text)
	}
	return a, nil
}

// FormatOrder writes device orders as [ParseOrder] reads them, every line ended
// by a newline. A device whose only cell is idle is written like one without
// cells.
func FormatOrder(rows [][]Cell) string {
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(cell.String())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// String is the cell in the grammar.
func (c Cell) String() string {
	switch len(c) {
	case 0:
		return ""
	case 1:
		return c[0].String()
	}
	parts := make([]string, len(c))
	for i, a := range c {
		parts[i] = a.String()
	}
	return "(" + strings.Join(parts, ";") + ")" + overlapped
}

// String is the action in the grammar.
func (a Action) String() string {
	s := strconv.Itoa(int(a.Stage)) + string(a.Op)
	if a.Microbatch != Absent {
		s += strconv.Itoa(int(a.Microbatch))
	}
	if a.Slice != Absent {
		s += "." + strconv.Itoa(int(a.Slice))
	}
	return s
}

// Cells is an order in the terms of the grammar. Slices are named where sliced.
func Cells(order [][]Slot, sliced bool) [][]Cell {
	rows := make([][]Cell, len(order))
	for d, slots := range order {
		rows[d] = make([]Cell, 0, len(slots))
		for _, s := range slots {
			a := Action{Op(s.Phase.String()), s.Stage, s.Microbatch, Absent}
			if sliced {
				a.Slice = s.Slice
			}
			if last := len(rows[d]) - 1; s.Paired && last >= 0 {
				rows[d][last] = append(rows[d][last], a)
				continue
			}
			rows[d] = append(rows[d], Cell{a})
		}
	}
	return rows
}
