package balance

import (
	"fmt"
	"slices"
)

// maxTokens bounds a count, so that no sum of counts overflows and every sum is
// exact as a float64.
const maxTokens = 1 << 40

// Load is where the tokens of one layer of one microbatch want to go. A token
// that is routed to k experts counts k times.
type Load struct {
	Ranks   int // source ranks
	Experts int
	// Tokens are counts [source rank][expert], row by row.
	Tokens []int64
}

// NewLoad makes a load from counts [source rank][expert].
func NewLoad(rows [][]int64) (*Load, error) {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return nil, fmt.Errorf("a load needs at least one source rank and one expert")
	}
	l := &Load{Ranks: len(rows), Experts: len(rows[0])}
	for r, row := range rows {
		if len(row) != l.Experts {
			return nil, fmt.Errorf("source rank %d has counts for %d experts, rank 0 for %d", r, len(row), l.Experts)
		}
		l.Tokens = append(l.Tokens, row...)
	}
	return l, l.check()
}

// SpreadLoad makes a load of which only the experts' totals are known: each
// expert's tokens are assumed to come evenly from all ranks.
func SpreadLoad(experts []int64, ranks int) (*Load, error) {
	if len(experts) == 0 || len(experts) > maxExperts || ranks < 1 || ranks > maxRanks {
		return nil, fmt.Errorf("a load needs 1 to %d experts (%d) and 1 to %d ranks (%d)", maxExperts, len(experts), maxRanks, ranks)
	}
	l := &Load{Ranks: ranks, Experts: len(experts), Tokens: make([]int64, ranks*len(experts))}
	for e, n := range experts {
		if n < 0 || n > maxTokens {
			return nil, fmt.Errorf("expert %d: %d tokens, must be 0 to %d", e, n, int64(maxTokens))
		}
		for r := range ranks {
			l.Tokens[r*l.Experts+e] = n / int64(ranks)
		}
		for i := range int(n % int64(ranks)) { // the rest begins at another rank for each expert
			l.Tokens[(e+i)%ranks*l.Experts+e]++
		}
	}
	return l, l.check()
}

func (l *Load) check() error {
	for i, n := range l.Tokens {
		if n < 0 || n > maxTokens/int64(len(l.Tokens)) {
			return fmt.Errorf("source rank %d, expert %d: %d tokens, must be 0 to %d", i/l.Experts, i%l.Experts, n, maxTokens/int64(len(l.Tokens)))
		}
	}
	return nil
}

// fits says whether the load is of the setup's size.
func (l *Load) fits(s *Setup) error {
	if l.Ranks != s.Ranks || l.Experts != s.Experts || len(l.Tokens) != l.Ranks*l.Experts {
		return fmt.Errorf("a load of %d ranks x %d experts does not fit a setup of %d x %d", l.Ranks, l.Experts, s.Ranks, s.Experts)
	}
	return nil
}

// At is the tokens of a source rank for an expert.
func (l *Load) At(source, expert int) int64 { return l.Tokens[source*l.Experts+expert] }

// PerExpert adds up the sources, into dst where that is large enough.
func (l *Load) PerExpert(dst []int64) []int64 {
	dst = resize(dst, l.Experts)
	copy(dst, l.Tokens[:l.Experts])
	for at := l.Experts; at < len(l.Tokens); at += l.Experts {
		row := l.Tokens[at : at+len(dst)]
		for e := range dst {
			dst[e] += row[e]
		}
	}
	return dst
}

// Total is all tokens.
func (l *Load) Total() int64 {
	sum := int64(0)
	for _, n := range l.Tokens {
		sum += n
	}
	return sum
}

// HomeLoads are the tokens of each rank without balancing.
func (l *Load) HomeLoads(s Setup) []float64 {
	loads := make([]float64, s.Ranks)
	for e, n := range l.PerExpert(nil) {
		loads[s.Home(e)] += float64(n)
	}
	return loads
}

// Clone is a copy that shares nothing.
func (l *Load) Clone() *Load {
	c := *l
	c.Tokens = slices.Clone(l.Tokens)
	return &c
}
