package scenarios

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"

	"orrery/models"
)

// baseModel starts from the catalogue's model or a config.json; the keys that
// the author wrote are then stored over it.
func (r *resolver) baseModel() {
	switch name, config := r.wrote("model.name"), r.wrote("model.config"); {
	case name && config:
		r.fail([]string{"model.config", "model.name"}, "the model is named already", show(r.given["model.config"].raw), "one of model.name and model.config")
	case name:
		m, err := models.Lookup(r.given["model.name"].value.(string))
		if err != nil { // decode has checked the name
			r.fail([]string{"model.name"}, err.Error(), show(r.given["model.name"].raw), "")
			return
		}
		r.s.Model = *m.Clone()
	case config:
		r.readConfig(r.given["model.config"])
	}
}

func (r *resolver) readConfig(g *given) {
	path := g.value.(string)
	if r.read == nil {
		r.fail([]string{"model.config"}, "there is no folder to read it from", show(path), "scenarios in files")
		return
	}
	data, err := r.read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.fail([]string{"model.config"}, "no such file", show(path), "a path relative to the scenario's file")
		return
	case err != nil:
		r.fail([]string{"model.config"}, "cannot read the file", show(path), "a readable config.json of Hugging Face transformers")
		return
	}
	m, err := models.FromHF(data)
	if err != nil {
		r.fail([]string{"model.config"}, strings.ReplaceAll(err.Error(), "\n", "; "), show(path), "a config.json of a decoder-only transformer")
		return
	}
	r.s.Model = *m.Clone()
}

// model fills what an inline model leaves out, and checks the whole.
func (r *resolver) model() {
	if r.listedModel() && len(r.problems) > 0 {
		return
	}
	base := ""
	switch {
	case r.wrote("model.name"):
		base = "catalogue " + r.s.Model.Name
	case r.wrote("model.config"):
		base = "config " + r.given["model.config"].value.(string)
	default:
		if !r.inline() {
			return
		}
	}
	for _, f := range modelKeys {
		if !r.settled(f.key) && base != "" && !zero(f.load(&r.s)) {
			r.from[f.key] = base
		}
	}
	if m := r.s.Model.MoE; m != nil {
		for _, key := range []string{"model.experts", "model.top_k", "model.moe_ffn"} {
			if r.num(key) == 0 {
				r.missing(key, "a mixture of experts needs experts, top_k and moe_ffn")
			}
		}
	}
	if len(r.problems) > 0 {
		return
	}
	for _, err := range flattenErrors(r.s.Model.Validate()) {
		// Validate's errors name fields as the keys are named.
		words := strings.FieldsFunc(err.Error(), func(c rune) bool { return c != '_' && !unicode.IsLetter(c) })
		var keys []string
		for _, f := range modelKeys {
			if slices.Contains(words, short(f.key)) && r.wrote(f.key) {
				keys = append(keys, f.key)
			}
		}
		r.fail(append(keys, r.modelWritten()...), err.Error(), "", "")
	}
}

// flattenErrors lists the errors that were joined into err.
func flattenErrors(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if j, ok := e.(interface{ Unwrap() []error }); ok {
			return j.Unwrap()
		}
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// inline reports whether the sizes that have no default are there.
func (r *resolver) inline() bool {
	if len(r.modelWritten()) == 1 && !r.wrote(r.modelWritten()[0]) {
		r.missing("model.name", "a model of the catalogue, model.config, or its sizes inline")
		return false
	}
	need := []string{"model.layers", "model.hidden", "model.heads", "model.vocab"}
	if r.s.Model.MoE == nil {
		need = append(need, "model.ffn")
	}
	for _, key := range need {
		if !r.settled(key) {
			r.missing(key, "model.name, or an inline model with layers, hidden, heads, vocab and ffn (or experts)")
		}
	}
	if len(r.problems) > 0 {
		return false
	}
	a := &r.s.Model.Attn
	r.settle("model.kv_heads", a.Heads, "derived: heads")
	if !r.settled("model.head_dim") && a.KVLoRA == 0 {
		if r.s.Model.Hidden%a.Heads != 0 {
			r.fail([]string{"model.heads"}, "head_dim = hidden / heads is not whole", fmt.Sprintf("hidden %d, heads %d", r.s.Model.Hidden, a.Heads), "a divisor of hidden, or model.head_dim")
			return false
		}
		r.settle("model.head_dim", r.s.Model.Hidden/a.Heads, "derived: hidden / heads")
	}
	r.settle("model.gated", true, "default")
	r.settle("model.norm", "rms", "default")
	return true
}

// modelWritten lists the model's keys that the author wrote; model.name if none.
func (r *resolver) modelWritten() []string {
	var keys []string
	for _, f := range modelKeys {
		if r.wrote(f.key) {
			keys = append(keys, f.key)
		}
	}
	if keys == nil {
		return []string{"model.name"}
	}
	return keys
}

func zero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case int64:
		return v == 0
	case bool:
		return !v
	case string:
		return v == ""
	}
	return false
}
