package models

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"orrery/sim/unit"
)

// Tower is an encoder before an LLM or a generator behind it: a transformer in
// which every token of an item (an image, a clip of sound) sees every other, with
// linear layers at both ends. Lengths are in elements.
type Tower struct {
	Name   string // catalogue key, "vit-1.3b"
	Title  string
	Source string // where the numbers are from
	// Body is the transformer; it has no vocabulary.
	Body Model
	In   int64 // channels of one token at the outer end: a patch's pixels, a latent patch
	// Merge is how many tokens the connector of an encoder makes one of the LLM's.
	Merge int64
	// Connector is the inner width of the connector's two linear layers, for each of
	// the merged tokens; 0 where it is one layer.
	Connector int64
	// Streams is 2 where tokens of the LLM go through the layers beside the item's own,
	// through weights of their own, and attend together (MMDiT); else 1.
	Streams int64
	// Modulated: each stream's norms and branches are scaled and shifted by what a
	// linear layer of 6 x hidden makes of the time step (adaLN).
	Modulated bool
	Generator bool
}

// towers is the catalogue; files of families fill it when the program starts.
var towers = map[string]*Tower{}

func registerTower(t Tower) { towers[t.Name] = &t }

// TowerNames lists the encoders, or the generators, in alphabetical order.
func TowerNames(generator bool) []string {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(towers)) {
		if towers[n].Generator == generator {
			names = append(names, n)
		}
	}
	return names
}

// LookupTower returns a copy of an encoder or generator of the catalogue, whose name
// is spelled as [Lookup] allows.
func LookupTower(name string) (*Tower, error) {
	key := normalise(name)
	if t, ok := towers[key]; ok {
		c := *t
		return &c, nil
	}
	known := slices.Sorted(maps.Keys(towers))
	if near := unit.Nearest(key, known); near != "" {
		return nil, fmt.Errorf("no encoder or generator is called %q; did you mean %q?", name, near)
	}
	return nil, fmt.Errorf("no encoder or generator is called %q; known are %s", name, strings.Join(known, ", "))
}

// LayerParams is the number of parameters of one layer, with all streams: those that
// tensor parallelism cuts, and those that every rank has.
func (t *Tower) LayerParams() (cut, whole int64) {
	l := t.Body.LayerParams(0)
	return t.Streams * (l.Attn + l.MLP), t.Streams * (l.Norms + t.modulation())
}

// modulation is the linear layer of a stream that makes shifts, scales and gates.
func (t *Tower) modulation() int64 {
	if !t.Modulated {
		return 0
	}
	return 6*t.Body.Hidden*t.Body.Hidden + 6*t.Body.Hidden
}

// EndParams are the parameters outside the layers: of the outer end (embedding of
// patches, a generator's output) and the connector to an LLM of that width.
func (t *Tower) EndParams(llm int64) (outer, connector int64) {
	h := t.Body.Hidden
	outer = t.In*h + t.Body.norm(h)
	if t.Generator {
		return outer + h*t.In, llm * h
	}
	if t.Connector == 0 {
		return outer, t.Merge * h * llm
	}
	inner := t.Merge * t.Connector
	return outer, t.Merge*h*inner + inner*llm
}

// Params is the number of parameters, the connector to an LLM of that width included.
func (t *Tower) Params(llm int64) int64 {
	cut, whole := t.LayerParams()
	outer, connector := t.EndParams(llm)
	return t.Body.Layers*(cut+whole) + outer + connector
}

// ForwardFLOPs of items with so many tokens and LLM tokens beside them together, and
// pairs of a query and a key; a multiply-add is two. Norms and modulation do not count.
func (t *Tower) ForwardFLOPs(tokens, beside int64, pairs float64, llm int64) float64 {
	n := float64(tokens)
	if t.Streams > 1 {
		n += float64(beside)
	}
	outer, connector := t.EndParams(llm)
	ends := float64(outer-t.Body.norm(t.Body.Hidden)) * float64(tokens)
	if t.Generator {
		ends += float64(connector) * float64(beside)
	} else {
		ends += float64(connector) * float64(tokens) / float64(t.Merge)
	}
	layers := float64(t.Body.Layers)
	return 2 * (layers*(t.Body.linearMACs(0)*n+t.Body.coreMACs()*pairs) + ends)
}

// ActivationBytes is what one layer keeps for its backward pass, for each token on a
// rank of tp tensor-parallel ones, with or without sequence parallelism.
func (t *Tower) ActivationBytes(tp int64, sp bool) float64 {
	sum := 0.0
	for _, a := range t.Body.Activations(0) {
		sum += a.PerRank(tp, tp, sp)
	}
	return sum
}

// Validate reports what is wrong with a tower, all at once; each error names the field.
func (t *Tower) Validate() error {
	body := t.Body
	body.Vocab, body.Name = 1, t.Name // which a tower has none of
	var c checker
	c.within("in", t.In, 1, maxWidth)
	c.within("merge", t.Merge, 1, 1<<10)
	c.within("connector", t.Connector, 0, maxWidth)
	c.within("streams", t.Streams, 1, 2)
	if body.MoE != nil || body.Attn.MLA() {
		c.fail("towers are dense and have grouped-query attention")
	}
	if t.Generator && t.Merge != 1 {
		c.fail("merge is %d, a generator merges no tokens", t.Merge)
	}
	return errors.Join(body.Validate(), errors.Join(c.errs...))
}
