package scenarios

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// toInt accepts what TOML and Go callers write for an integer.
func toInt(raw any) (int64, bool) {
	v := reflect.ValueOf(raw)
	switch {
	case !v.IsValid():
		return 0, false
	case v.CanInt():
		return v.Int(), true
	case v.CanUint() && v.Uint() <= math.MaxInt64:
		return int64(v.Uint()), true
	}
	return 0, false
}

func toFloat(raw any) (float64, bool) {
	if x, ok := raw.(float64); ok {
		return x, true
	}
	n, ok := toInt(raw)
	return float64(n), ok
}

func toList(raw any) ([]any, bool) {
	if list, ok := raw.([]any); ok {
		return list, true
	}
	v := reflect.ValueOf(raw)
	if !v.IsValid() || v.Kind() != reflect.Slice {
		return nil, false
	}
	out := make([]any, v.Len())
	for i := range out {
		out[i] = v.Index(i).Interface()
	}
	return out, true
}

// show writes a raw value as TOML does, shortened, for an error.
func show(raw any) string {
	switch v := raw.(type) {
	case nil:
		return "nothing"
	case string:
		if r := []rune(v); len(r) > 60 {
			v = string(r[:57]) + "..."
		}
		return strconv.Quote(v)
	case float64:
		return showFloat(v)
	case time.Time:
		return "the date " + v.Format(time.RFC3339)
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "an array of tables"
	}
	if list, ok := toList(raw); ok {
		return fmt.Sprintf("a list of %d", len(list))
	}
	return fmt.Sprint(raw)
}

// showFloat keeps a float recognisable as one.
func showFloat(x float64) string {
	s := strconv.FormatFloat(x, 'g', -1, 64)
	if !strings.ContainsAny(s, ".einN") {
		s += ".0"
	}
	return s
}

// bound writes the limit of a number.
func bound(x float64) string {
	if math.Abs(x) >= 1e9 && x != maxInt {
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

// display writes a resolved value for `sim check`. Runs of equal entries in a
// list are written once with their count.
func display(v any) string {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', 6, 64)
	case []int64:
		var parts []string
		for i := 0; i < len(v); {
			j := i
			for j < len(v) && v[j] == v[i] {
				j++
			}
			if n := j - i; n > 2 {
				parts = append(parts, fmt.Sprintf("%d (%d times)", v[i], n))
			} else {
				parts = append(parts, slices.Repeat([]string{fmt.Sprint(v[i])}, n)...)
			}
			i = j
		}
		return strings.Join(parts, ", ")
	case []string:
		return strings.Join(v, ", ")
	}
	return fmt.Sprint(v)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// product multiplies; false where it leaves int64 or a factor is not positive.
func product(factors ...int64) (int64, bool) {
	p := int64(1)
	for _, f := range factors {
		if f <= 0 || p > math.MaxInt64/f {
			return 0, false
		}
		p *= f
	}
	return p, true
}
