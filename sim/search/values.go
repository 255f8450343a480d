package search

import (
	"fmt"
	"strings"

	"orrery/scenarios"
)

// text writes a value as TOML, and names without quotes: what --set takes.
func text(v any) string {
	switch v := v.(type) {
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			if s, ok := e.(string); ok {
				parts[i] = fmt.Sprintf("%q", s)
			} else {
				parts[i] = text(e)
			}
		}
		return "[" + strings.Join(parts, ",") + "]"
	case []string:
		return text(toList(v))
	case float64:
		s := fmt.Sprint(v)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s
	}
	return fmt.Sprint(v)
}

// setting is the override as --set takes it.
func setting(o scenarios.Override) string { return o.Key + "=" + text(o.Value) }
