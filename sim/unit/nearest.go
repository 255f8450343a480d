package unit

import "strings"

// maxNameLen bounds the quadratic work of editDistance; no valid name is longer.
const maxNameLen = 64

// Nearest returns the valid name that was probably meant: the one with the
// fewest edits, if those are at most two or a third of name and fewer than half
// of the valid name's letters; else one that name is a part of, or that begins
// name. Letter case is ignored and the first wins among equals. "" where nothing
// is near.
func Nearest(name string, valid []string) string {
	name = strings.ToLower(name)
	if len(name) > maxNameLen {
		return ""
	}
	best, fewest := "", max(2, len(name)/3)+1
	for _, v := range valid {
		if len(v) > maxNameLen {
			continue
		}
		if d := editDistance(name, strings.ToLower(v)); d < fewest && 2*d < len(v) {
			best, fewest = v, d
		}
	}
	if best != "" {
		return best
	}
	for _, v := range valid {
		low := strings.ToLower(v)
		part := len(name) > 2 && strings.Contains(low, name)
		begins := (len(v) > 2 || 2*len(v) >= len(name)) && strings.HasPrefix(name, low)
		if v != "" && (part || begins) {
			return v
		}
	}
	return ""
}

// editDistance is the Damerau-Levenshtein distance (optimal string alignment)
// in bytes: a swap of neighbours counts once.
func editDistance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}
