package calibrate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"orrery/kernels/bench"
	"orrery/kernels/sample"
)

// Plan is what a run measures, and what it leaves out and why.
type Plan struct {
	Cases []bench.Case
	// Have counts cases that the file holds with the same hash.
	Have int
	// Stale counts cases that the file holds with another hash; they are measured again.
	Stale int
	// Missing are the suites that cannot run here, with the reason.
	Missing map[string]string
	// TooFewGPUs counts cases that need more GPUs than there are.
	TooFewGPUs int
}

// NewPlan orders the cases of suites for a run on a machine with so many GPUs: one
// of each suite in turn, the heaviest first, so that a run that is stopped early
// has seen all of them. only is a glob over case IDs ("" is all); rows are those
// that the file holds already. The error says what the glob could have matched.
func NewPlan(suites []bench.Suite, only string, gpus int, rows []sample.Row) (Plan, error) {
	p := Plan{Missing: map[string]string{}}
	hashes := map[string]string{}
	for _, r := range rows {
		hashes[r.ID()] = r.Hash
	}
	var queues [][]bench.Case
	matched := 0
	var known []string
	for _, s := range suites {
		cases := s.Cases()
		slices.SortStableFunc(cases, func(a, b bench.Case) int { return cmp.Compare(b.Weight, a.Weight) })
		var queue []bench.Case
		found := 0
		for _, c := range cases {
			if k := c.Family + "/" + c.Kernel; !slices.Contains(known, k) {
				known = append(known, k)
			}
			if only != "" && !glob(only, c.ID()) {
				continue
			}
			found++
			hash, have := hashes[c.ID()]
			switch {
			case have && hash == c.Hash:
				p.Have++
				continue
			case max(c.Needs, 1) > gpus:
				p.TooFewGPUs++
				continue
			case have:
				p.Stale++
			}
			queue = append(queue, c)
		}
		matched += found
		if found == 0 {
			continue
		}
		if s.Missing != nil {
			if err := s.Missing(); err != nil {
				p.Missing[s.Name] = err.Error()
				continue
			}
		}
		queues = append(queues, queue)
	}
	if only != "" && matched == 0 {
		slices.Sort(known)
		return p, fmt.Errorf("--only %q matches no case; a case is called FAMILY/KERNEL/DTYPE/SHAPE, and these are known: %s", only, listed(known))
	}
	p.Cases = interleave(queues)
	return p, nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none (no suite of kernels is built in)"
	}
	return strings.Join(names, ", ")
}

// interleave takes one of each queue in turn.
func interleave[T any](queues [][]T) []T {
	var out []T
	for i := 0; ; i++ {
		any := false
		for _, q := range queues {
			if i < len(q) {
				out = append(out, q[i])
				any = true
			}
		}
		if !any {
			return out
		}
	}
}

// glob matches a text that * stands for any letters and ? for one. A pattern
// without either matches all that begins with it.
func glob(pattern, text string) bool {
	if !strings.ContainsAny(pattern, "*?") {
		return strings.HasPrefix(text, pattern)
	}
	// star is where the last * was, and mark how far it reaches so far
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
