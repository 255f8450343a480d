package replay

import (
	"embed"
	"fmt"

	"orrery/scenarios"
	"orrery/sim/unit"
)

//go:embed cases/*.toml
var caseFiles embed.FS

// Case is an export that the project asks of every GPU it calibrates on.
type Case struct {
	Name     string // of the file that is written, without .json
	Scenario string // of cases/, without .toml
	Options  Options
}

// Cases are the exports of `sim export replay --all`, in a fixed order.
var Cases = []Case{
	{"llama3-8b-layer", "llama3-8b-layer", Options{Rank: 1}},
	{"llama3-8b-layer-recompute", "llama3-8b-layer-recompute", Options{Rank: 1}},
	{"llama3-70b-tp8-layer", "llama3-70b-tp8-layer", Options{Rank: 1}},
	{"llama3-70b-tp8-layer-recompute", "llama3-70b-tp8-layer-recompute", Options{Rank: 1}},
	{"llama3-8b-1f1b-first", "llama3-8b-1f1b", Options{Rank: 0}},
	{"llama3-8b-1f1b-last", "llama3-8b-1f1b", Options{Rank: 3}},
	{"llama3-8b-sliced-first", "llama3-8b-sliced", Options{Rank: 0}},
	{"mixtral-8x7b-layer-even", "mixtral-8x7b-layer", Options{Rank: 1, Routing: "even"}},
	{"mixtral-8x7b-layer-zipf", "mixtral-8x7b-layer", Options{Rank: 1, Routing: "zipf"}},
}

// LookupCase finds a case by name.
func LookupCase(name string) (Case, error) {
	var names []string
	for _, c := range Cases {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	err := fmt.Errorf("no replay case %q; there are %v", name, names)
	if n := unit.Nearest(name, names); n != "" {
		err = fmt.Errorf("no replay case %q; did you mean %q?", name, n)
	}
	return Case{}, err
}

// Load resolves the case's scenario.
func (c Case) Load(sets []string) (*scenarios.Resolved, error) {
	data, err := caseFiles.ReadFile("cases/" + c.Scenario + ".toml")
	if err != nil {
		return nil, err
	}
	return scenarios.Parse(c.Scenario+".toml", data, sets, nil)
}
