package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"orrery/schedules/packing"
)

// Packing is samples of unequal length, and what packs them.
type Packing struct {
	Distribution string
	File         string // of lengths, as the author wrote it
	Column       string
	Samples      int64 // 0: by tokens
	Packer       string
	Without      []string // mechanisms of SlimPack that are left out
	MemoryTokens float64
	UnitTokens   int64

	read []int // lengths of File, in tokens
}

// Packed reports whether samples of unequal length are packed.
func (p *Packing) Packed() bool { return p.Distribution != "" || p.File != "" }

// FileLengths are the lengths in the file, in tokens, as they stand there.
func (p *Packing) FileLengths() []int { return p.read }

// mechanisms of SlimPack, as data.without names them.
var mechanisms = []string{"slices", "asymmetry", "assignment", "search", "merge", "ramps"}

// Algorithm is the packer with its options.
func (p *Packing) Algorithm() (packing.Packer, error) {
	if len(p.Without) == 0 {
		return packing.Lookup(p.Packer)
	}
	has := func(m string) bool { return slices.Contains(p.Without, m) }
	return packing.SlimPack{NoSlices: has("slices"), NoAsymmetry: has("asymmetry"), NoAssignment: has("assignment"),
		NoSearch: has("search"), NoMerge: has("merge"), NoRamps: has("ramps")}, nil
}

// readLengths fills what is not said and reads the file.
func (r *resolver) readLengths() {
	r.settle("data.distribution", "", "default")
	r.settle("data.lengths", "", "default")
	r.settle("data.column", "", "default")
	r.settle("data.samples", int64(0), "default: by tokens")
	r.settle("data.packer", "slimpack", "default")
	r.settle("data.without", []string(nil), "default")
	r.settle("data.memory_tokens", 0.0, "default: what the GPU holds")
	r.settle("data.unit_tokens", int64(0), "default: sequence_length / cp")
	r.settle("data.seed", int64(1), "default")
	d := &r.s.Data
	if d.File == "" {
		return
	}
	key, path := []string{"data.lengths"}, d.File
	if r.read == nil {
		r.fail(key, "there is no folder to read it from", show(path), "scenarios in files, or data.distribution")
		return
	}
	data, err := r.read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.fail(key, "no such file", show(path), "a path relative to the scenario's file")
		return
	case err != nil:
		r.fail(key, "cannot read the file", show(path), "lengths: one a line, .csv or .jsonl")
		return
	}
	if d.read, err = packing.ReadLengths(bytes.NewReader(data), path, d.Column); err != nil {
		r.fail(key, err.Error(), show(path), "lengths: one a line, .csv or .jsonl")
	}
}

// checkPacking refuses what packed samples are not joined with.
func (r *resolver) checkPacking() {
	d, p, m := &r.s.Data, &r.s.Parallel, &r.s.Model
	if !d.Packed() {
		for _, f := range packingKeys {
			if r.wrote(f.key) {
				r.fail([]string{f.key}, "there are no samples to pack", show(r.given[f.key].raw), "data.distribution or data.lengths beside it")
			}
		}
		return
	}
	no := func(bad bool, why, found, allowed string, keys ...string) {
		if bad {
			r.fail(keys, why, found, allowed)
		}
	}
	no(m.Net != nil, "a model that lists its layers has lengths of its own", show(m.Name), "a transformer", "data.distribution", "data.lengths")
	no(len(r.towerSections()) > 0, "samples of encoders and generators are not packed", show(m.Name), "the language model alone", "data.distribution", "data.lengths")
	no(d.Distribution != "" && d.File != "", "lengths come from a file or from a distribution", show(d.File), "one of data.lengths and data.distribution", "data.lengths")
	no(d.Column != "" && d.File == "", "there is no file with columns", show(d.Column), "data.lengths beside it", "data.column")
	no(len(d.Without) > 0 && d.Packer != "slimpack", "only slimpack has mechanisms to leave out", show(d.Packer), `data.packer = "slimpack"`, "data.without", "data.packer")
	no(p.VP > 1, "packed samples run through one chunk a rank", fmt.Sprint(p.VP), "1", "parallel.vp")
	name := r.s.Schedule.Name
	no(name != "1f1b" && name != "none", "the packer orders the passes of packed samples", show(name), "auto", "schedule.name")
	no(r.s.Schedule.VocabParallel, "packed samples have the output layer on the last stage", "true", "false", "schedule.vocab_parallel")
	no(r.s.Schedule.Slices > 1, "the packer cuts samples", fmt.Sprint(r.s.Schedule.Slices), "1, and data.packer slimpack or seq1f1b", "schedule.slices")
	no(p.ZeRO > 1, "packed samples are not joined with sharded gradients and parameters", fmt.Sprint(p.ZeRO), "0 or 1", "parallel.zero")
	no(p.CP > 1 && p.CPKind == "a2a", "packed samples are exchanged by tokens, not by heads", show(p.CPKind), "ring, allgather, query", "parallel.cp_kind")
	no(r.s.Training.Finetune != "none", "adapters are not modelled where samples are packed", show(r.s.Training.Finetune), "none", "training.finetune")
	no(p.TP*p.CP%(p.EP*p.ETP) != 0, "replicas run other samples at the same time, so experts are exchanged inside a replica", fmt.Sprint(p.EP), fmt.Sprintf("ep x etp a divisor of tp x cp = %d", p.TP*p.CP), "parallel.ep")
	for i := range m.Layers {
		if m.Window(i) > 0 {
			no(true, "the packers' cost model has no sliding windows", show(m.Name), "models without", "data.distribution", "data.lengths")
			break
		}
	}
}
