package net

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// AlphaBeta is Hockney's model of a link: a message of S bytes takes
// AlphaUs + S/bandwidth (R. Hockney, Parallel Computing 20(3), 1994).
type AlphaBeta struct {
	AlphaUs float64 // latency of one message, microseconds
	GBps    float64 // bandwidth of a rank, per direction
}

// transferUs is the time that bytes take on the wire, in microseconds.
func (l AlphaBeta) transferUs(bytes float64) float64 { return bytes / (l.GBps * 1e3) }

func (l AlphaBeta) check() error {
	if !(l.AlphaUs >= 0) || !(l.GBps > 0) || math.IsInf(l.AlphaUs, 0) || math.IsInf(l.GBps, 0) {
		return fmt.Errorf("link of latency %g us and %g GB/s: want latency >= 0 and bandwidth > 0, both finite", l.AlphaUs, l.GBps)
	}
	return nil
}

// closedForm counts what n ranks pay: messages one after another, and the
// multiple of the buffer that passes through one rank.
type closedForm func(n float64) (messages, volume float64)

// closedForms are those of Thakur, Rabenseifner and Gropp, Optimization of
// Collective Communication Operations in MPICH, IJHPCA 19(1), 2005, sections 4
// and 5, unless noted.
var closedForms = map[Collective]map[string]closedForm{
	AllReduce: {
		"ring":               func(n float64) (float64, float64) { return 2 * (n - 1), 2 * (n - 1) / n },
		"recursive_doubling": func(n float64) (float64, float64) { return log2Ceil(n), log2Ceil(n) },
		"rabenseifner":       func(n float64) (float64, float64) { return 2 * log2Ceil(n), 2 * (n - 1) / n },
		// Sanders, Speck and Träff, Two-tree algorithms for full bandwidth
		// broadcast, reduction and scan, Parallel Computing 35(12), 2009; in
		// the limit of many chunks.
		"double_binary_tree": func(n float64) (float64, float64) { return 2 * log2Ceil(n), 2 },
		// NVLink SHARP: each rank sends its buffer to the switch once and
		// multicasts its n-th of the result.
		"nvls": func(n float64) (float64, float64) { return 2, (n + 1) / n },
	},
	AllGather: {
		"ring":  func(n float64) (float64, float64) { return n - 1, (n - 1) / n },
		"bruck": func(n float64) (float64, float64) { return log2Ceil(n), (n - 1) / n },
	},
	ReduceScatter: {
		"ring": func(n float64) (float64, float64) { return n - 1, (n - 1) / n },
	},
	AllToAll: {
		"pairwise": func(n float64) (float64, float64) { return n - 1, (n - 1) / n },
		// Bruck et al., IEEE TPDS 8(11), 1997: half the buffer each round.
		"bruck": func(n float64) (float64, float64) { return log2Ceil(n), log2Ceil(n) / 2 },
	},
	Broadcast: {
		// In the limit of many chunks.
		"chain": func(n float64) (float64, float64) { return n - 1, 1 },
	},
	SendRecv: {
		"direct": func(float64) (float64, float64) { return 1, 1 },
	},
}

// log2Ceil is the number of rounds in which doubling reaches n ranks.
func log2Ceil(n float64) float64 { return float64(bits.Len(uint(n) - 1)) }

// Algorithms lists the closed forms of a collective, sorted.
func Algorithms(c Collective) []string { return slices.Sorted(maps.Keys(closedForms[c])) }

// Micros returns the time of a collective of bytes among ranks by the named
// algorithm, in microseconds. One rank alone takes no time. It fails on an
// unknown pair of collective and algorithm and on sizes out of range.
func (l AlphaBeta) Micros(c Collective, algorithm string, ranks int, bytes float64) (float64, error) {
	form, ok := closedForms[c][algorithm]
	if !ok {
		return 0, fmt.Errorf("no closed form of %s by %q; known are %s", c, algorithm, strings.Join(Algorithms(c), ", "))
	}
	if err := checkSizes(l, ranks, bytes); err != nil {
		return 0, err
	}
	if ranks == 1 {
		return 0, nil
	}
	messages, volume := form(float64(ranks))
	return messages*l.AlphaUs + l.transferUs(volume*bytes), nil
}

func checkSizes(l AlphaBeta, ranks int, bytes float64) error {
	if ranks < 1 {
		return fmt.Errorf("%d ranks: want at least one", ranks)
	}
	if !(bytes >= 0) || math.IsInf(bytes, 0) {
		return fmt.Errorf("%g bytes: want a finite size >= 0", bytes)
	}
	return l.check()
}
