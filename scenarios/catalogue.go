package scenarios

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed *.toml */*.toml
var files embed.FS

// sweeps is the folder of what is not a scenario but asks about many.
const sweeps = "sweeps/"

// Names lists the scenarios of the catalogue, sorted; those of a folder by
// folder/name.
func Names() []string {
	return slices.DeleteFunc(texts(), func(name string) bool { return strings.HasPrefix(name, sweeps) })
}

// SweepNames lists the sweeps of the catalogue, sorted, as "sweeps/name".
func SweepNames() []string {
	return slices.DeleteFunc(texts(), func(name string) bool { return !strings.HasPrefix(name, sweeps) })
}

// Sweep is the text of a sweep of the catalogue.
func Sweep(name string) ([]byte, bool) {
	if !strings.HasPrefix(name, sweeps) {
		return nil, false
	}
	data, err := files.ReadFile(name + ".toml")
	return data, err == nil
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
	if strings.HasPrefix(name, sweeps) {
		return nil, false
	}
	data, err := files.ReadFile(name + ".toml")
	return data, err == nil
}
