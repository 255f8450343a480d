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
