package calibrate

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"

	"orrery/sim/cost"
	"orrery/sim/hw"
)

//go:embed profiles
var profileFiles embed.FS

var loaded sync.Map // name of a GPU → *cost.Profile

// Profile returns the embedded profile of a GPU, by name or alias. It is shared:
// do not write to it. A GPU without a profile file derives all its prices from
// its base profile. A name that ends in .json is a profile file, as Fit writes
// it. The error of an unknown name suggests the nearest.
func Profile(name string) (*cost.Profile, error) {
	if strings.HasSuffix(name, ".json") {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		p, err := cost.ReadProfile(data, Profile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return p, nil
	}
	g, err := hw.LookupGPU(name)
	if err != nil {
		return nil, err
	}
	if p, ok := loaded.Load(g.Name); ok {
		return p.(*cost.Profile), nil
	}
	p, err := embedded(g)
	if err != nil {
		return nil, err
	}
	loaded.Store(g.Name, p)
	return p, nil
}

func embedded(g *hw.GPU) (*cost.Profile, error) {
	data, err := profileFiles.ReadFile("profiles/" + g.Name + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return unfitted(g)
	}
	if err != nil {
		return nil, err
	}
	return cost.ReadProfile(data, Profile)
}

// root is the profile with the most families: it prices what the others lack.
const root = "h100"

// nearer names the profile to derive from where that is not hw's base: one that
// itself has fits of some families only.
var nearer = map[string]string{"a100-40gb": "a100"}

// unfitted is the profile of a GPU that has none of its own yet.
func unfitted(g *hw.GPU) (*cost.Profile, error) {
	if g.Name == root {
		return cost.NewProfile(g.Name, g, nil), nil
	}
	base, err := Profile(cmp.Or(nearer[g.Name], g.BaseProfile, root))
	if err != nil {
		return nil, err
	}
	return cost.NewProfile(g.Name, g, base), nil
}

// ProfileNames lists the profiles, sorted: one for each known GPU.
func ProfileNames() []string { return hw.GPUNames() }

var numberLists = regexp.MustCompile(`\[[\s\d.,eE+\-]+\]`)

// encodeProfile writes a profile as people would: indented, a list of numbers in
// one line.
func encodeProfile(w io.Writer, p *cost.Profile) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(p); err != nil {
		return err
	}
	out := numberLists.ReplaceAllStringFunc(b.String(), func(list string) string {
		return strings.Join(strings.Fields(list), "")
	})
	_, err := io.WriteString(w, out)
	return err
}

// cmpStrings compares pairs: a0, b0, a1, b1, …
func cmpStrings(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		if c := cmp.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}
