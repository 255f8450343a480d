package scenarios

import (
	"fmt"
	"strconv"
	"strings"
)

// maxItemTokens bounds an item, so that sums of squares stay exact.
const maxItemTokens = 1 << 24

// ParseSamples reads a file of samples: a line a sample, the tokens of each of its
// items with blanks or commas between them; an empty line is a sample without items,
// and # starts a comment. The error names the line.
func ParseSamples(text string) ([][]int64, error) {
	var out [][]int64
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		line, _, comment := strings.Cut(line, "#")
		fields := strings.FieldsFunc(line, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\r' })
		if comment && len(fields) == 0 {
			continue
		}
		sample := make([]int64, len(fields))
		for k, f := range fields {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil || n < 1 || n > maxItemTokens {
				return nil, fmt.Errorf("line %d: %q is no number of tokens from 1 to %d", i+1, f, maxItemTokens)
			}
			sample[k] = n
		}
		out = append(out, sample)
	}
	total := int64(0)
	for _, s := range out {
		for _, n := range s {
			total += n
		}
	}
	if total == 0 {
		return nil, fmt.Errorf("no sample has an item")
	}
	return out, nil
}
