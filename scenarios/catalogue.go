package scenarios

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed *.toml */*.toml
var files embed.FS

// Folders of what is no scenario but asks about some.
const (
	sweepFolder    = "sweeps/"
	capacityFolder = "capacity/"
)

// Names lists the scenarios of the catalogue, sorted; those of a folder by
// folder/name.
func Names() []string {
	return slices.DeleteFunc(texts(), func(name string) bool { return !isScenario(name) })
}

func isScenario(name string) bool {
	return !strings.HasPrefix(name, sweepFolder) && !strings.HasPrefix(name, capacityFolder)
}

// Text is the text of a scenario of the catalogue.
func Text(name string) ([]byte, bool) {
	if !isScenario(name) {
		return nil, false
	}
	return builtin(name)
}

// SweepNames lists the sweeps of the catalogue, sorted, as "sweeps/name".
func SweepNames() []string {
	return slices.DeleteFunc(texts(), func(name string) bool { return !strings.HasPrefix(name, sweepFolder) })
}

// Sweep is the text of a sweep of the catalogue.
func Sweep(name string) ([]byte, bool) {
	if !strings.HasPrefix(name, sweepFolder) {
		return nil, false
	}
	return builtin(name)
}

// CapacityNames lists the capacity plans of the catalogue, sorted.
func CapacityNames() []string {
	var names []string
	for _, name := range texts() {
		if plan, ok := strings.CutPrefix(name, capacityFolder); ok {
			names = append(names, plan)
		}
	}
	return names
}

// texts lists all that is embedded, sorted.
func texts() []string {
	var names []string
	for _, pattern := range []string{"*.toml", "*/*.toml"} {
		paths, err := fs.Glob(files, pattern)
		if err != nil {
			return nil
		}
		for _, p := range paths {
			names = append(names, strings.TrimSuffix(p, ".toml"))
		}
	}
	slices.Sort(names)
	return names
}

func builtin(name string) ([]byte, bool) {
	data, err := files.ReadFile(name + ".toml")
	return data, err == nil
}
