package lower

import (
	"fmt"

	"orrery/schedules/pipeline"
	"orrery/sim/program"
)

// piece is one product of a weight gradient.
type piece struct {
	block  *Block
	reduce *bucket // not nil where it completes the gradients of a bucket
}

// Pieces cuts the blocks of a weight gradient into one for each of its products, with
// the messages before it that only it waits for (MEPipe, EuroSys'25). There is at
// least one.
func Pieces(uses []Use) []*Block {
	var out []*Block
	for _, u := range uses {
		cut := u.Block.pieces()
		for range u.Times {
			out = append(out, cut...)
		}
	}
	if len(out) == 0 { // a stage without weights
		out = []*Block{{Name: "no weights"}}
	}
	return out
}

// pieces cuts a block behind each of its compute ops but the last; what a piece waits
// for in an earlier one is over.
func (b *Block) pieces() []*Block {
	var out []*Block
	first := 0
	for i, op := range b.Ops {
		if op.Lane != Compute && i < len(b.Ops)-1 {
			continue
		}
		part := &Block{Name: b.Name}
		for _, op := range b.Ops[first : i+1] {
			after := op.After
			op.After = nil
			for _, a := range after {
				if a >= first {
					op.After = append(op.After, a-first)
				}
			}
			if op.Split > 1 {
				if op.Pair -= first; op.Pair < 0 {
					op.Split, op.Pair = 0, 0
				}
			}
			part.Ops = append(part.Ops, op)
		}
		out, first = append(out, part), i+1
	}
	return out
}

// cuts reports whether a slot is a piece of a weight gradient.
func (l *lowering) cuts(s pipeline.Slot) bool { return l.cut != nil && s.Phase == pipeline.W }

// pieceKey is what decides into which pieces a weight gradient is cut.
type pieceKey struct {
	stage, slice int32
	last         bool // gradients are complete behind it
}

// piecesOf are the pieces of a weight gradient in the order in which they run.
func (l *lowering) piecesOf(s pipeline.Slot, k pieceKey) []piece {
	if known := l.pieces[k]; known != nil {
		return known
	}
	var out []piece
	for _, seg := range l.segments(s) {
		for _, b := range Pieces(l.uses(s, seg)) {
			out = append(out, piece{block: b})
		}
		out[len(out)-1].reduce = seg.reduce
	}
	l.pieces[k] = out
	return out
}

// piece appends the next piece of a slot's weight gradient on rank r. The last one
// gives back what the gradient needs.
func (l *lowering) piece(r int, s pipeline.Slot) {
	st, lanes, tag := &l.ranks[r], l.step.Lanes[r], tagOf(s)
	key := pieceKey{s.Stage, s.Slice, l.reduces(s)}
	all, at := l.piecesOf(s, key), l.cut[s]
	l.cut[s]++
	pc := all[at]
	k := workKey{kind: "W piece", stage: int(s.Stage), slice: int(s.Slice), first: int64(at)}
	work := Work{Blocks: []Use{{pc.block, 1}}}
	if pc.reduce != nil {
		k.kind += "+"
		work.Beside = l.step.Works[l.bucketWork(pc.reduce)].Blocks
	}
	w := l.work(k, func() (program.Work, Work) {
		return program.Work{Name: fmt.Sprintf("W stage %d", s.Stage), Kind: program.Backward}, work
	})
	st.lastOp = l.add(lanes.Compute, w, tag, st.frontier...)
	st.frontier = st.frontier[:0]
	if pc.reduce != nil {
		l.completed(r, s, l.add(lanes.DP, l.bucketWork(pc.reduce), tag, st.lastOp))
	}
	if at == len(all)-1 {
		l.memoryAfter(st.lastOp, r, s)
	}
}
