package scenarios

import (
	"strings"

	"orrery/sim/unit"
)

// nearestKey finds the schema key that was meant: the same name in another
// section, a similar one in the same section, a similar path.
func nearestKey(key string) string {
	section, last := sectionOf(key), short(key)
	for _, f := range schema {
		if short(f.key) == last {
			return f.key
		}
	}
	if near := unit.Nearest(last, keysIn(section)); near != "" && isTable(section) {
		return strings.TrimPrefix(section+"."+near, ".")
	}
	keys := make([]string, len(schema))
	for i, f := range schema {
		keys[i] = f.key
	}
	if near := unit.Nearest(key, keys); near != "" && sectionOf(near) != section {
		return near
	}
	return ""
}
