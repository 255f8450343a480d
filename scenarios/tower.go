package scenarios

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"orrery/models"
	"orrery/schedules/pipeline"
)

// Tower is an encoder before the LLM or a generator behind it.
type Tower struct {
	Model     models.Tower
	Trained   string // all, connector, none
	Recompute bool   // layers keep only their input
	TP, CP    int64
	// ZeRO: 0 every rank updates all, 1 shards optimizer states, 3 also gradients and
	// parameters, over all ranks that hold the same.
	ZeRO int64
	// Pull: a rank fetches the shards of sharded parameters from its peers when it needs
	// them; else all of them gather together, each waiting for the last.
	Pull    bool
	Devices int64 // pipeline ranks that hold nothing else (encoder_stages)
	Pieces  int64 // of a pass, to fill bubbles (optimus)
	Warmup  int64 // units of forwards at the start (bigmac)

	// The items (images, clips) of a sample and the tokens of an item.
	ItemsMin, ItemsMax, Tokens int64
	Spread                     float64 // of the logarithm of an item's tokens
	Seed                       int64
	File                       string
	Samples                    [][]int64 // of File: tokens of each item, by sample
	Beside                     int64     // tokens of the LLM that a generator's item attends to
}

// towerOf is the encoder or the generator of a scenario, made where it is absent.
func towerOf(s *Scenario, section string) *Tower {
	at := &s.Encoder
	if section == "generator" {
		at = &s.Generator
	}
	if *at == nil {
		*at = &Tower{}
	}
	return *at
}

// absent reports whether the key's section is a tower that the scenario has none of.
func (f *field) absent(s *Scenario) bool {
	switch sectionOf(f.key) {
	case "encoder":
		return s.Encoder == nil
	case "generator":
		return s.Generator == nil
	}
	return false
}

// towerSections lists the towers that the scenario has.
func (r *resolver) towerSections() []string {
	var out []string
	if r.s.Encoder != nil {
		out = append(out, "encoder")
	}
	if r.s.Generator != nil {
		out = append(out, "generator")
	}
	return out
}

// baseTowers starts from the catalogue; the keys that the author wrote are then
// stored over it.
func (r *resolver) baseTowers() {
	for _, section := range []string{"encoder", "generator"} {
		if key := section + ".name"; r.wrote(key) {
			m, err := models.LookupTower(r.given[key].value.(string))
			if err != nil { // decode has checked the name
				r.fail([]string{key}, err.Error(), show(r.given[key].raw), "")
				continue
			}
			towerOf(&r.s, section).Model = *m
		}
	}
}

// towers tells where the sizes come from, reads files of samples and checks the whole.
func (r *resolver) towers() {
	for _, section := range r.towerSections() {
		t := towerOf(&r.s, section)
		for _, key := range towerSizes {
			if f := byKey[section+"."+key]; f != nil && !r.settled(f.key) {
				r.from[f.key] = "catalogue " + t.Model.Name
			}
		}
		if a := &t.Model.Body.Attn; r.wrote(section+".hidden") || r.wrote(section+".heads") {
			a.KVHeads, a.HeadDim = a.Heads, t.Model.Body.Hidden/max(a.Heads, 1)
			if a.Heads*a.HeadDim != t.Model.Body.Hidden {
				r.fail([]string{section + ".heads", section + ".hidden"}, "the width of a head is not whole", fmt.Sprintf("hidden %d, heads %d", t.Model.Body.Hidden, a.Heads), "a divisor of "+section+".hidden")
				return
			}
		}
		if err := t.Model.Validate(); err != nil {
			r.fail([]string{section + ".name"}, strings.ReplaceAll(err.Error(), "\n", "; "), show(t.Model.Name), "")
		}
		r.readSamples(section, t)
	}
}

// readSamples reads a tower's file of samples.
func (r *resolver) readSamples(section string, t *Tower) {
	key := section + ".file"
	if !r.wrote(key) || t.File == "" {
		return
	}
	if r.read == nil {
		r.fail([]string{key}, "there is no folder to read it from", show(t.File), "scenarios in files")
		return
	}
	data, err := r.read(t.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.fail([]string{key}, "no such file", show(t.File), "a path relative to the scenario's file")
		return
	case err != nil:
		r.fail([]string{key}, "cannot read the file", show(t.File), "a readable file")
		return
	}
	if t.Samples, err = ParseSamples(string(data)); err != nil {
		r.fail([]string{key}, err.Error(), show(t.File), "a line a sample: the tokens of each of its items, with blanks or commas between them")
	}
}

// modules are the towers as schedules know them.
func (r *resolver) modules() pipeline.Modules { return r.s.Modules() }

// Modules are the encoder and the generator as schedules know them, without costs.
func (s *Scenario) Modules() pipeline.Modules {
	m := pipeline.Modules{Encoder: s.Encoder != nil, Generator: s.Generator != nil}
	if s.Encoder != nil {
		m.EncoderDevices, m.Pieces, m.Warmup = int(s.Encoder.Devices), int(s.Encoder.Pieces), int(s.Encoder.Warmup)
	}
	if s.Generator != nil {
		m.GeneratorDevices = int(s.Generator.Devices)
	}
	return m
}

// order is the scenario's schedule, made for its towers.
func (r *resolver) order() (pipeline.Schedule, error) {
	s, err := r.s.Schedule.Order()
	if m, ok := s.(pipeline.Multimodal); ok && err == nil && len(r.towerSections()) > 0 {
		return m.With(r.modules()), nil
	}
	return s, err
}

// llmStages is the number of the LLM's stages where the schedule has others beside.
func (r *resolver) llmStages() (int64, bool) {
	s, err := r.order()
	m, ok := s.(pipeline.Multimodal)
	if err != nil || !ok {
		return 0, false
	}
	n := m.ModuleStages(pipeline.Shape{Devices: int(r.s.Parallel.PP), Virtual: int(r.s.Parallel.VP), Microbatches: 1})
	return int64(n[pipeline.LLM]), true
}

// towerGrid settles the towers' own layouts.
func (r *resolver) towerGrid() {
	p := &r.s.Parallel
	for _, section := range r.towerSections() {
		t := towerOf(&r.s, section)
		r.settle(section+".cp", max(p.TP*p.CP/max(t.TP, 1), 1), "derived: tp x cp / "+section+".tp, the ranks of a microbatch")
	}
}

// checkTowers holds the towers against the rest.
func (r *resolver) checkTowers() {
	s := &r.s
	found, err := s.Schedule.Order()
	if err != nil {
		return // told already
	}
	_, modules := found.(pipeline.Multimodal)
	sections := r.towerSections()
	switch {
	case modules && len(sections) == 0:
		r.fail([]string{"schedule.name"}, "the schedule is of an encoder or a generator with an LLM, and there is neither", show(s.Schedule.Name), "[encoder] or [generator], or a schedule of an LLM alone")
		return
	case !modules && len(sections) > 0:
		r.fail([]string{"schedule.name"}, "the schedule runs an LLM alone, and there is a section ["+sections[0]+"]", show(s.Schedule.Name), strings.Join(multimodalNames(), ", "))
		return
	case !modules:
		return
	}
	for _, refuse := range []struct {
		key  string
		bad  bool
		why  string
		want string
	}{
		{"training.finetune", s.Training.Finetune != "none", "adapters beside an encoder or a generator are not modelled", `"none"`},
		{"parallel.zero", s.Parallel.ZeRO > 1, "an LLM with an encoder or a generator keeps its gradients and parameters whole", "0 or 1"},
		{"model.name", s.Model.Net != nil, "a model that lists its layers has no encoder or generator beside it", "a transformer"},
		{"schedule.vocab_parallel", s.Schedule.VocabParallel, "encoder and generator stand at the ends of the pipeline, where the vocabulary is", "false"},
	} {
		if refuse.bad {
			r.fail([]string{refuse.key}, refuse.why, display(byKey[refuse.key].load(s)), refuse.want)
		}
	}
	for _, section := range sections {
		r.checkTower(section, towerOf(s, section))
	}
}

// multimodalNames are the schedules that take towers.
func multimodalNames() []string {
	var out []string
	for _, s := range pipeline.All() {
		if _, ok := s.(pipeline.Multimodal); ok {
			out = append(out, s.Name())
		}
	}
	return out
}

func (r *resolver) checkTower(section string, t *Tower) {
	p, key := &r.s.Parallel, func(name string) string { return section + "." + name }
	name := r.s.Schedule.Name
	ranks := p.TP * p.CP / max(t.TP, 1) // that share a microbatch of the LLM
	heads := t.Model.Body.Attn.Heads
	switch {
	case t.TP != 1 && t.TP != p.TP:
		want := "1"
		if p.TP > 1 {
			want = fmt.Sprintf("1 or %d", p.TP)
		}
		r.fail([]string{key("tp"), "parallel.tp"}, "neither 1 nor parallel.tp", fmt.Sprint(t.TP), want)
	case t.CP%ranks != 0:
		r.fail([]string{key("cp"), key("tp"), "parallel.tp", "parallel.cp"}, fmt.Sprintf("the %d ranks of a microbatch share its tokens", ranks), fmt.Sprint(t.CP), fmt.Sprintf("a multiple of %d", ranks))
	case (ranks*p.DP)%t.CP != 0:
		r.fail([]string{key("cp"), "parallel.dp"}, "does not divide the ranks of a stage", fmt.Sprint(t.CP), fmt.Sprintf("a divisor of %d", ranks*p.DP))
	case heads%(t.TP*t.CP) != 0:
		r.fail([]string{key("cp"), key("tp"), key("heads")}, "context parallelism exchanges heads: tp x cp does not divide them", fmt.Sprintf("tp %d, cp %d", t.TP, t.CP), fmt.Sprintf("tp x cp a divisor of %d", heads))
	case t.Model.Body.FFN%t.TP != 0 || t.Model.Body.Hidden%t.TP != 0:
		r.divides(t.Model.Body.FFN, t.TP, key("ffn"), key("tp"), key("ffn"))
	case t.ItemsMin > t.ItemsMax:
		r.fail([]string{key("items_min"), key("items_max")}, "more than items_max", fmt.Sprint(t.ItemsMin), fmt.Sprintf("up to %d", t.ItemsMax))
	case t.ZeRO == 2:
		r.fail([]string{key("zero")}, "nothing, optimizer states alone, or all is sharded here", "2", "0, 1 or 3")
	case t.ZeRO == 3 && !t.Pull && section == "encoder" && name == "optimus":
		r.fail([]string{key("zero"), "schedule.name"}, "bubbles are filled on each rank in its own order, in which parameters cannot be gathered together", "3", "0 or 1, or "+key("pull")+" = true")
	case t.Pull && t.ZeRO < 3:
		r.fail([]string{key("pull"), key("zero")}, "parameters are whole on every rank, there is nothing to pull", "true", "false, or "+key("zero")+" = 3")
	case t.Trained == "none" && section == "encoder" && t.Recompute:
		r.fail([]string{key("recompute"), key("trained")}, "nothing goes backward through the encoder", "true", "false, or another "+key("trained"))
	}
	for _, only := range []struct{ key, schedule string }{{"devices", "encoder_stages"}, {"pieces", "optimus"}, {"warmup", "bigmac"}} {
		if r.wrote(key(only.key)) && name != only.schedule {
			r.fail([]string{key(only.key)}, "schedule "+name+" has no use for it", display(r.given[key(only.key)].value), fmt.Sprintf("schedule.name = %q", only.schedule))
		}
	}
	if n := slices.Max([]int64{t.Tokens, 1}) * max(t.ItemsMax, 1); section == "encoder" && len(t.Samples) == 0 && n/t.Model.Merge > r.s.Training.SequenceLength {
		r.fail([]string{key("tokens"), key("items_max"), "training.sequence_length"}, "the items of a sample are more tokens than its sequence has", fmt.Sprintf("%d tokens of %d items, merged by %d", n, t.ItemsMax, t.Model.Merge), fmt.Sprintf("up to %d merged tokens", r.s.Training.SequenceLength))
	}
}
