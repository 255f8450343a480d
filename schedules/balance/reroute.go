package balance

import "math/bits"

// mulDiv is a*b/c and the remainder, without overflow; a*b/c must fit (it does
// where b is at most c).
func mulDiv(a, b, c int64) (quotient, rest int64) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	q, r := bits.Div64(hi, lo, uint64(c))
	return int64(q), int64(r)
}

// Assign tells the copy that the i-th of a source's n tokens for an expert goes
// to, when counts of them go to each copy (a row of [Router.Split]): UltraEP's
// reroute kernel. With interleave (REROUTE_INTERLEAVE) neighbouring tokens take
// different copies: i is first mapped to (i x stride + expert) mod n.
func Assign(counts []float64, expert, i, n int, interleave bool) int {
	if interleave && n > 1 {
		i = int((int64(i)*int64(stride(n)) + int64(expert)) % int64(n))
	}
	end := 0.0
	for j, c := range counts {
		if end += c; float64(i) < end {
			return j
		}
	}
	return len(counts) - 1
}

// stride is about half of n and has no divisor in common with it, so that the
// map is a permutation.
func stride(n int) int {
	s := max(1, min(n/2+1, n-1))
	for gcd(s, n) != 1 {
		s++
	}
	return s
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
