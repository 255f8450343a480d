package scenarios

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed *.toml */*.toml
var files embed.FS

// Names lists the scenarios of the catalogue, sorted; those of a folder by
// folder/name.
func Names() []string {
	var names []string
	for _, pattern := range []string{"*.toml", "*/*.toml"} {
		paths, err := fs.Glob(files, pattern)
		if err != nil {
			return nil
		}
		for _, p := range paths {
			if !strings.HasPrefix(p, capacityFolder) {
				names = append(names, strings.TrimSuffix(p, ".toml"))
			}
		}
	}
	slices.Sort(names)
	return names
}

// capacityFolder holds capacity plans, which are no scenarios.
const capacityFolder = "capacity/"

// CapacityNames lists the capacity plans of the catalogue, sorted.
func CapacityNames() []string {
	paths, err := fs.Glob(files, capacityFolder+"*.toml")
	if err != nil {
		return nil
	}
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(strings.TrimPrefix(p, capacityFolder), ".toml")
	}
	slices.Sort(paths)
	return paths
}

func builtin(name string) ([]byte, bool) {
	data, err := files.ReadFile(name + ".toml")
	return data, err == nil
}
