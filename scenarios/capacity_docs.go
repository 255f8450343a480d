package scenarios

import (
	"fmt"
	"io"
	"strings"
)

// WriteCapacityDocs writes the reference of capacity plans, a table of docs/capacity.md.
func WriteCapacityDocs(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n")
	for _, f := range capacitySchema {
		key, kind := f.key, f.kind()
		if i := strings.IndexByte(key, '.'); i >= 0 && (key[:i] == "option" || key[:i] == "expect") {
			key = "[[" + key[:i] + "]] " + key[i+1:]
		}
		if f.unit != "" {
			kind += ", " + f.unit
		}
		def := f.defaultText()
		if list, ok := f.def.([]string); ok && len(list) == 0 {
			def = "none"
		}
		if f.from != "" {
			def += " (" + f.from + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", key, kind, cell(def), cell(f.allowedText()), cell(f.doc))
	}
	b.WriteString("\nFailure rates by `failures.preset`, mean hours between failures of one:\n\n| preset | GPU | server | leaf switch | a GPU's software | source |\n|---|---|---|---|---|---|\n")
	for _, p := range failurePresets {
		hours := func(h float64) string {
			if h == never {
				return ""
			}
			return fmt.Sprintf("%.0f", h)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", p.name, hours(p.f.GPUHours), hours(p.f.NodeHours), hours(p.f.SwitchHours), hours(p.f.SoftwareHours), cell(p.source))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
