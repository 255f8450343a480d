package scenarios

import "strings"

// nearest returns the candidate that name begins or that begins name, else the
// one with the smallest edit distance; case is ignored, the first wins among
// equals. "" where none is close enough to be meant.
func nearest(name string, candidates []string) string {
	name = strings.ToLower(name)
	best, bestDist := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		low := strings.ToLower(c)
		if d := editDistance(name, low); d < bestDist && 2*d < len(c) {
			best, bestDist = c, d
		}
	}
	for _, c := range candidates {
		low := strings.ToLower(c)
		if best == "" && min(len(name), len(c)) > 2 && (strings.HasPrefix(name, low) || strings.HasPrefix(low, name)) {
			best = c
		}
	}
	return best
}

// nearestKey finds the schema key that was meant: the same name in another
// section, a similar one in the same section, a similar path.
func nearestKey(key string) string {
	section, last := sectionOf(key), short(key)
	for _, f := range schema {
		if short(f.key) == last {
			return f.key
		}
	}
	if near := nearest(last, keysIn(section)); near != "" && isTable(section) {
		return strings.TrimPrefix(section+"."+near, ".")
	}
	keys := make([]string, len(schema))
	for i, f := range schema {
		keys[i] = f.key
	}
	if near := nearest(key, keys); near != "" && sectionOf(near) != section {
		return near
	}
	return ""
}

// maxNameLen bounds the quadratic work of editDistance; no valid name is longer.
const maxNameLen = 64

// editDistance is the Damerau-Levenshtein distance (optimal string alignment)
// in bytes: a swap of neighbours counts once.
func editDistance(a, b string) int {
	if len(a) > maxNameLen || len(b) > maxNameLen {
		return maxNameLen
	}
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
