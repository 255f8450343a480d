package packing

import (
	"math"
	"math/bits"
	"slices"
)

// descending lists the samples, longest first, in arrival order among equals.
func descending(lengths []int) []int32 {
	keys := make([]uint64, len(lengths)) // one number each: sorting them is several times faster
	for i, l := range lengths {
		keys[i] = uint64(math.MaxUint32-uint32(l))<<32 | uint64(i)
	}
	slices.Sort(keys)
	order := make([]int32, len(lengths))
	for i, k := range keys {
		order[i] = int32(k & math.MaxUint32)
	}
	return order
}

// arrival lists the samples as they come.
func arrival(lengths []int) []int32 {
	order := make([]int32, len(lengths))
	for i := range order {
		order[i] = int32(i)
	}
	return order
}

// nextFit fills rows of at most capacity tokens in the given order: a sample that
// does not fit opens the next row.
func nextFit(lengths []int, order []int32, capacity int) [][]int32 {
	var rows [][]int32
	room := 0
	for _, i := range order {
		if lengths[i] > room {
			rows = append(rows, nil)
			room = capacity
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], i)
		room -= lengths[i]
	}
	return rows
}

// firstFit puts each sample in the first row that has room, in the given order: a
// tree of maxima finds it in logarithmic time.
func firstFit(lengths []int, order []int32, capacity int) [][]int32 {
	leaves := 1
	for leaves < len(order) {
		leaves *= 2
	}
	room := make([]int, 2*leaves) // of rows, below them the most of two
	for i := range room {
		room[i] = capacity
	}
	rows := make([][]int32, 0, 16)
	for _, i := range order {
		at := 1
		for at < leaves {
			at *= 2
			if room[at] < lengths[i] {
				at++
			}
		}
		row := at - leaves
		if row == len(rows) {
			rows = append(rows, nil)
		}
		rows[row] = append(rows[row], i)
		room[at] -= lengths[i]
		for at > 1 {
			at /= 2
			room[at] = max(room[2*at], room[2*at+1])
		}
	}
	return rows
}

// bestFit puts each sample in the row that it fills best, in the given order; of
// equal rows the one that was last put there.
func bestFit(lengths []int, order []int32, capacity int) [][]int32 {
	var rows [][]int32
	open := newRoomSet(capacity)
	for _, i := range order {
		room := open.atLeast(lengths[i])
		row := len(rows)
		if room < 0 {
			rows, room = append(rows, nil), capacity
		} else {
			row = open.pop(room)
		}
		rows[row] = append(rows[row], i)
		if room -= lengths[i]; room > 0 {
			open.push(room, row)
		}
	}
	return rows
}

// roomSet holds rows by their room, 0..capacity: stacks, and bitmaps of the
// stacks that are not empty, 64 to 1 in each level.
type roomSet struct {
	stacks map[int][]int32
	levels [][]uint64
}

func newRoomSet(capacity int) *roomSet {
	s := &roomSet{stacks: map[int][]int32{}}
	for n := capacity + 1; ; n = (n + 63) / 64 {
		s.levels = append(s.levels, make([]uint64, (n+63)/64))
		if n <= 64 {
			return s
		}
	}
}

func (s *roomSet) push(room, row int) {
	s.stacks[room] = append(s.stacks[room], int32(row))
	for _, level := range s.levels {
		level[room/64] |= 1 << (room % 64)
		room /= 64
	}
}

func (s *roomSet) pop(room int) int {
	stack := s.stacks[room]
	row := stack[len(stack)-1]
	if len(stack) > 1 {
		s.stacks[room] = stack[:len(stack)-1]
		return int(row)
	}
	delete(s.stacks, room)
	for _, level := range s.levels {
		level[room/64] &^= 1 << (room % 64)
		if level[room/64] != 0 {
			break
		}
		room /= 64
	}
	return int(row)
}

// atLeast is the smallest room in the set that is room or more, -1 if none.
func (s *roomSet) atLeast(room int) int {
	for up, level := range s.levels {
		word := room / 64
		if word >= len(level) {
			return -1
		}
		if rest := level[word] >> (room % 64); rest != 0 {
			room += bits.TrailingZeros64(rest)
			for down := up - 1; down >= 0; down-- {
				room = room*64 + bits.TrailingZeros64(s.levels[down][room])
			}
			return room
		}
		room = room/64 + 1
	}
	return -1
}
