package scenarios

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"orrery/schedules/pipeline"
)

// Names of schedules that are in no registry, because sizes alone do not make
// their order.
const (
	vocab1F1B = "vocab_1f1b"
	fileOrder = "file"

	interlaced1F1B = "interlaced_1f1b"
	mePipe         = "mepipe_svpp" // with weight gradients in pieces
)

// scheduleNames are the names that schedule.name takes, sorted.
func scheduleNames() []string {
	var names []string
	for _, s := range Schedules() {
		names = append(names, s.Name())
	}
	return names
}

// NamedSchedule is what `sim list schedules` tells of a schedule.
type NamedSchedule interface {
	Name() string
	Describe() string
}

// Schedules lists what schedule.name takes, sorted by name.
func Schedules() []NamedSchedule {
	var out []NamedSchedule
	for _, s := range pipeline.All() {
		out = append(out, s)
	}
	for _, a := range pipeline.Autos() {
		out = append(out, a)
	}
	out = append(out, pipeline.Vocabulary1F1B{}, pipeline.Interlaced1F1B{}, &pipeline.FileOrder{})
	slices.SortFunc(out, func(a, b NamedSchedule) int { return strings.Compare(a.Name(), b.Name()) })
	return out
}

// Order is the order of passes that the schedule's keys ask for; an automatic
// schedule is a [pipeline.Fitted] for passes that all cost the same, to be fitted
// once their prices are known. The error of an unknown name suggests the nearest one.
func (s *Schedule) Order() (pipeline.Schedule, error) {
	switch {
	case s.Name == "":
		return nil, errors.New("no schedule has been chosen")
	case s.Name == vocab1F1B:
		return pipeline.Vocabulary1F1B{Barriers: int(s.Barriers)}, nil
	case s.Name == mePipe && s.WeightPieces:
		return pipeline.MEPipeSplit{}, nil
	case s.Name == interlaced1F1B:
		return pipeline.Interlaced1F1B{}, nil
	case s.Name == fileOrder && s.read == nil:
		return nil, errors.New("schedule.file has not been read")
	case s.Name == fileOrder:
		return s.read, nil
	}
	if a, ok := pipeline.LookupAuto(s.Name); ok {
		return pipeline.Fitted{Auto: a, Costs: pipeline.Costs{F: 1, I: 1, W: 1}}, nil
	}
	return pipeline.Lookup(s.Name)
}

// autoNames are the names of the automatic schedules.
func autoNames() []string {
	var names []string
	for _, a := range pipeline.Autos() {
		names = append(names, a.Name())
	}
	return names
}

// cutsVocabulary reports whether a schedule has passes of an output layer that is
// cut over the ranks.
func cutsVocabulary(schedule string) bool {
	return schedule == vocab1F1B || schedule == interlaced1F1B
}

// ownKeys settles the keys that only some schedules have.
func (r *resolver) ownKeys() {
	sc := &r.s.Schedule
	if sc.Name == vocab1F1B {
		r.settle("schedule.barriers", int64(1), "default")
	}
	if cutsVocabulary(sc.Name) {
		r.settle("schedule.vocab_parallel", true, "derived: the schedule cuts the vocabulary")
	}
	r.settle("schedule.vocab_parallel", false, "default")
	if sc.Name == mePipe {
		r.settle("schedule.weight_pieces", false, "default")
	}
	if slices.Contains(autoNames(), sc.Name) {
		r.settle("schedule.memory_limit", 0.0, "derived: 0 is what the GPU's memory leaves")
	}
}

// checkOwnKeys refuses keys of other schedules.
func (r *resolver) checkOwnKeys() {
	name := r.s.Schedule.Name
	for _, f := range scheduleKeys {
		if len(f.of) > 0 && r.wrote(f.key) && !slices.Contains(f.of, name) {
			r.fail([]string{f.key, "schedule.name"}, "schedule "+name+" does not have it", show(r.given[f.key].raw), fmt.Sprintf("with schedule.name %s", strings.Join(f.of, " or ")))
		}
	}
}

// checkPieces refuses weight gradients in pieces where there are none of their own.
func (r *resolver) checkPieces() {
	keys := []string{"schedule.weight_pieces", "schedule.name"}
	switch sc := &r.s.Schedule; {
	case !sc.WeightPieces || sc.Name != mePipe:
	case r.s.Training.Finetune != "none":
		r.fail(keys, "finetune is "+r.s.Training.Finetune+", which leaves the weights without gradients", "true", "false")
	case r.s.Parallel.PP == 1:
		r.fail(keys, "one rank waits for no other, so that pieces have no gaps to fill", "true", "false, or pp above 1")
	}
}

// checkVocabulary refuses what a vocabulary cut over the stages cannot be joined with.
func (r *resolver) checkVocabulary() {
	sc, t := &r.s.Schedule, &r.s.Training
	switch {
	case cutsVocabulary(sc.Name) && !sc.VocabParallel:
		r.fail([]string{"schedule.vocab_parallel", "schedule.name"}, "the schedule cuts the vocabulary", "false", `true, or schedule.name = "1f1b"`)
	case sc.Name == vocab1F1B && t.Finetune != "none":
		r.fail([]string{"training.finetune", "schedule.name"}, "the passes of schedule "+vocab1F1B+" have the weight gradients of the output layer", show(t.Finetune), `"none", or schedule.name = "1f1b"`)
	case sc.VocabParallel && sc.Name != "slimpipe" && !cutsVocabulary(sc.Name):
		r.fail([]string{"schedule.vocab_parallel", "schedule.name"}, "the order has no place for a share of the output layer", "true", `false, or schedule.name = "slimpipe", "vocab_1f1b" or "interlaced_1f1b"`)
	case sc.VocabParallel && r.s.Model.MTP > 0:
		r.fail([]string{"schedule.vocab_parallel", "schedule.name", "model.mtp"}, "multi-token-prediction modules are not cut", fmt.Sprintf("model.mtp %d", r.s.Model.MTP), "0, or schedule.vocab_parallel = false")
	}
}
