// Package orrery_test holds what is true of the module as a whole.
package orrery_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "orrery/"

// mayDependOn is the way of the data (scenario → plan → program → prices →
// engine → timeline → report): for each package, those of the project that it
// may import, directly or through others. A name that ends in / stands for all
// packages below it. A new package gets a row here, where it belongs on the way.
var mayDependOn = []struct {
	pkg     string
	allowed []string
}{
	// Leaves.
	{"sim/unit", nil},
	{"models", []string{"sim/unit"}},
	{"schedules/pipeline/", []string{"sim/unit", "schedules/pipeline"}}, // what is made of its orders
	{"schedules/", []string{"sim/unit"}},
	{"sim/hw", []string{"sim/unit"}},
	{"sim/net", []string{"sim/unit"}},
	// The machine, which knows nothing of LLMs.
	{"sim/program", []string{"sim/unit"}},
	{"sim/cost", []string{"sim/unit", "sim/hw", "sim/net"}},
	{"sim/timeline", []string{"sim/unit", "sim/program"}},
	{"sim/engine", []string{"sim/unit", "sim/program", "sim/timeline", "sim/net"}},
	{"sim/trace", []string{"sim/unit", "sim/program", "sim/timeline"}},
	{"sim/goodput", nil}, // seconds and rates
	// Measurements.
	{"kernels/", []string{"sim/unit", "models", "kernels/"}},
	{"calibrate", []string{"sim/unit", "models", "sim/hw", "sim/net", "sim/cost", "kernels/"}},
	// From what the user asked to what runs.
	{"scenarios", []string{"sim/unit", "sim/hw", "sim/net", "models", "schedules/"}},
	{"sim/plan", []string{"sim/unit", "sim/hw", "sim/net", "sim/cost", "models", "schedules/", "scenarios"}},
	{"sim/lower", []string{"sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "models", "schedules/", "scenarios", "sim/plan"}},
	// All of it, and what shows it.
	{"sim", []string{"sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "sim/timeline", "sim/engine", "sim/trace",
		"models", "schedules/", "scenarios", "calibrate", "kernels/", "sim/plan", "sim/lower"}},
	{"sim/verify", []string{"sim", "sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "sim/timeline", "sim/engine", "sim/trace",
		"models", "schedules/", "scenarios", "calibrate", "kernels/", "sim/plan", "sim/lower"}},
	{"sim/capacity", []string{"sim", "sim/goodput", "sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "sim/timeline", "sim/engine", "sim/trace",
		"models", "schedules/", "scenarios", "calibrate", "kernels/", "sim/plan", "sim/lower"}},
	{"sim/compare", []string{"sim", "sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "sim/timeline", "sim/engine", "sim/trace",
		"models", "schedules/", "scenarios", "calibrate", "kernels/", "sim/plan", "sim/lower"}},
	{"sim/search", []string{"sim", "sim/compare", "sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "sim/timeline", "sim/engine", "sim/trace",
		"models", "schedules/", "scenarios", "calibrate", "kernels/", "sim/plan", "sim/lower"}},
	{"sim/report", []string{"sim", "sim/search", "sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "sim/timeline", "sim/engine", "sim/trace",
		"models", "schedules/", "scenarios", "calibrate", "kernels/", "sim/plan", "sim/lower", "sim/verify", "sim/capacity", "sim/compare", "sim/goodput", "sim/sweep"}},
	{"sim/replay", []string{"sim", "sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "sim/timeline", "sim/engine", "sim/trace",
		"models", "schedules/", "scenarios", "calibrate", "kernels/", "sim/plan", "sim/lower"}},
	{"sim/sweep/", []string{"sim", "sim/sweep", "sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "sim/timeline", "sim/engine", "sim/trace",
		"models", "schedules/", "scenarios", "calibrate", "kernels/", "sim/plan", "sim/lower"}}, // tables of its results
	{"sim/sweep", []string{"sim", "sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "sim/timeline", "sim/engine", "sim/trace",
		"models", "schedules/", "scenarios", "calibrate", "kernels/", "sim/plan", "sim/lower"}},
	{"sim/serve", []string{"sim", "sim/unit", "sim/hw", "sim/net", "sim/cost", "sim/program", "sim/timeline", "sim/engine", "sim/trace",
		"models", "schedules/", "scenarios", "calibrate", "kernels/", "sim/plan", "sim/lower", "sim/verify", "sim/capacity", "sim/goodput",
		"sim/report", "sim/compare", "sim/search", "sim/sweep"}}, // a page over all that shows
	{"cmd/", []string{"sim", "sim/", "models", "schedules/", "scenarios", "calibrate", "kernels/"}},
}

func covers(pattern, pkg string) bool {
	return pkg == pattern || strings.HasSuffix(pattern, "/") && strings.HasPrefix(pkg, pattern)
}

// misplaced returns the dependencies that a package must not have; known is
// false where the table has no row for it.
func misplaced(pkg string, deps []string) (wrong []string, known bool) {
	for _, row := range mayDependOn {
		if !covers(row.pkg, pkg) {
			continue
		}
		for _, dep := range deps {
			if !slices.ContainsFunc(row.allowed, func(p string) bool { return covers(p, dep) }) {
				wrong = append(wrong, dep)
			}
		}
		return wrong, true
	}
	return nil, false
}

// TestImportDirections holds `go list` to the table, with and without the build
// tags that add files.
func TestImportDirections(t *testing.T) {
	for _, tags := range []string{"", "invariants,cuda"} {
		cmd := exec.Command("go", "list", "-e", "-tags="+tags, "-json=ImportPath,Deps", "./...")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%s", &stderr)
		packages := 0
		for dec := json.NewDecoder(bytes.NewReader(out)); ; {
			var p struct {
				ImportPath string
				Deps       []string
			}
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else {
				require.NoError(t, err)
			}
			pkg, inside := strings.CutPrefix(p.ImportPath, module)
			if !inside {
				continue // this test's own package
			}
			packages++
			var deps []string
			for _, d := range p.Deps {
				if dep, ok := strings.CutPrefix(d, module); ok {
					deps = append(deps, dep)
				}
			}
			wrong, known := misplaced(pkg, deps)
			if !known {
				t.Errorf("%s is not in the table of import directions: add it to imports_test.go", pkg)
			}
			if len(wrong) > 0 {
				t.Errorf("%s (tags %q) depends on %s, against the way of the data", pkg, tags, strings.Join(wrong, ", "))
			}
		}
		require.Greater(t, packages, 8, "go list found too little")
	}
}

// TestMisplaced makes sure that the table catches what it is there for.
func TestMisplaced(t *testing.T) {
	for pkg, deps := range map[string][]string{
		"models":             {"sim/hw"},
		"schedules/pipeline": {"models"},
		"schedules/packing":  {"schedules/pipeline"},
		"sim/engine":         {"scenarios"},
		"sim/cost":           {"sim/plan"},
		"sim/plan":           {"sim/engine"},
		"scenarios":          {"sim"},
		"sim":                {"sim/report"},
		"sim/report":         {"cmd/sim"},
	} {
		wrong, known := misplaced(pkg, append([]string{"sim/unit"}, deps...))
		require.True(t, known, pkg)
		require.Equal(t, deps, wrong, pkg)
	}
	_, known := misplaced("sim/elsewhere", nil)
	require.False(t, known)
}
