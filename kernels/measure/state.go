package measure

import (
	"slices"
	"strings"

	"orrery/kernels/sample"
)

// states gathers readings of the GPU's state.
type states struct {
	read func() sample.State
	all  []sample.State
}

// now reads the state and keeps it; zero where nothing reads it.
func (s *states) now() sample.State {
	if s.read == nil {
		return sample.State{}
	}
	x := s.read()
	s.all = append(s.all, x)
	return x
}

// sum is the median of the clocks, the mean power, the highest temperature and
// all throttle reasons.
func (s *states) sum() sample.State {
	var out sample.State
	n := len(s.all)
	if n == 0 {
		return out
	}
	var clocks, mems []int
	reasons := map[string]bool{}
	for _, x := range s.all {
		clocks, mems = append(clocks, x.ClockMHz), append(mems, x.MemMHz)
		out.PowerW += x.PowerW / float64(n)
		out.TempC = max(out.TempC, x.TempC)
		for _, r := range strings.Split(x.Throttle, "+") {
			reasons[r] = true
		}
	}
	slices.Sort(clocks)
	slices.Sort(mems)
	out.ClockMHz, out.MemMHz = clocks[n/2], mems[n/2]
	if len(reasons) > 1 {
		delete(reasons, "none")
		delete(reasons, "")
	}
	var names []string
	for r := range reasons {
		names = append(names, r)
	}
	slices.Sort(names)
	out.Throttle = strings.Join(names, "+")
	return out
}
