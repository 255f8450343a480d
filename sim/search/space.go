package search

import (
	"errors"
	"fmt"
	"slices"

	"orrery/scenarios"
)

// space is the points of a search: all combinations of the axes' values that make
// sense together.
type space struct {
	base  *scenarios.Base
	own   *scenarios.Scenario // as it stands
	set   []scenarios.Override
	reset []scenarios.Override // of keys of the file that axes determine
	axes  []axis
}

type axis struct {
	Axis
	asked bool // its values are the user's
	file  bool // the scenario's text gives the key
}

// omitted is the index of an axis's value that is left to the scenario.
const omitted = -1

// group is the points that differ in recomputation alone: by axis, the index of its
// value.
type group []int16

// maxGroups bounds what is walked.
const maxGroups = 2_000_000

var errTooLarge = fmt.Errorf("more than %d combinations; --fix or --axis leave some out", maxGroups)

func newSpace(base *scenarios.Base, opt *Options) (*space, error) {
	set, asked, fixed := opt.Set, opt.Axes, opt.Fixed
	res, err := base.Resolve(set)
	if err != nil {
		return nil, err
	}
	sp := &space{base: base, own: &res.Scenario, set: set}
	written := base.Written()
	for _, o := range set {
		written[o.Key] = o.Value
	}
	for i, a := range asked {
		if err := a.check(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(asked[:i], func(b Axis) bool { return b.Key == a.Key }) {
			return nil, fmt.Errorf("two axes of %s", a.Key)
		}
		if !slices.Contains(ownAxes, a.Key) { // around the others
			sp.axes = append(sp.axes, axis{Axis: a, asked: true})
		}
	}
	for _, key := range fixed {
		if !slices.Contains(ownAxes, key) {
			return nil, fmt.Errorf("%s is fixed already: the search has no axis of it", key)
		}
	}
	for _, key := range ownAxes {
		a := axis{Axis: Axis{Key: key, Values: usual(sp.own, key)}}
		if key == keyGPUs && opt.MaxGPUs > 0 {
			a.Values = machines(sp.own, opt.MaxGPUs)
		}
		_, a.file = written[key]
		if i := slices.IndexFunc(asked, func(a Axis) bool { return a.Key == key }); i >= 0 {
			a.Values, a.asked = asked[i].Values, true
		} else if slices.Contains(fixed, key) {
			a.Values, a.asked = []any{sp.ownValue(key)}, true
		}
		sp.axes = append(sp.axes, a)
	}
	for _, key := range follows {
		if _, ok := written[key]; ok && !sp.tries(key) {
			sp.reset = append(sp.reset, scenarios.Override{Key: key, Value: "auto"})
		}
	}
	if _, ok := written["training.global_batch"]; !ok && !sp.tries("training.global_batch") {
		sp.reset = append(sp.reset, scenarios.Override{Key: "training.global_batch", Value: sp.own.Training.GlobalBatch})
	}
	return sp, nil
}

// machines are numbers of GPUs: of one node and of powers of two, and the scenario's,
// up to a limit.
func machines(s *scenarios.Scenario, most int64) (out []any) {
	for n := s.Cluster.GPUsPerNode; n <= most; n *= 2 {
		out = append(out, n)
	}
	if s.Cluster.GPUs <= most {
		out = with(out, s.Cluster.GPUs)
	}
	return out
}

func (sp *space) tries(key string) bool {
	return slices.ContainsFunc(sp.axes, func(a axis) bool { return a.Key == key })
}

// ownValue is the scenario's value of an axis of the search's own.
func (sp *space) ownValue(key string) any {
	s := sp.own
	switch key {
	case keyGPUs:
		return s.Cluster.GPUs
	case keyTP:
		return s.Parallel.TP
	case keyCP:
		return s.Parallel.CP
	case keyPP:
		return s.Parallel.PP
	case keyVP:
		return s.Parallel.VP
	case keyMicro:
		return s.Training.MicroBatch
	case keyEP:
		return s.Parallel.EP
	case keyETP:
		return s.Parallel.ETP
	case keySP:
		return s.Parallel.SP
	case keyZeRO:
		return s.Parallel.ZeRO
	case keyOrder:
		return toList(s.Parallel.Order)
	case keyCPKind:
		return s.Parallel.CPKind
	case keySchedule:
		if _, ok := sp.base.Written()[keySchedule]; !ok {
			return "auto"
		}
		return s.Schedule.Name
	case keySlices:
		return s.Schedule.Slices
	case keyOffload:
		return s.Schedule.Offload
	}
	return s.Training.Recompute.String()
}

// walk lists the groups in a fixed order.
func (sp *space) walk() ([]group, error) {
	w := &walk{sp: sp, at: make(group, len(sp.axes)-1)}
	w.values = map[string]any{}
	if err := w.down(0); err != nil {
		return nil, err
	}
	if len(w.out) == 0 {
		return nil, errors.New("no combination of the axes' values makes sense")
	}
	return w.out, nil
}

type walk struct {
	sp     *space
	at     group
	values map[string]any // of the axes so far
	out    []group
}

// num is an integer of the axes so far, or of the scenario.
func (w *walk) num(key string) int64 {
	if n, ok := w.values[key].(int64); ok {
		return n
	}
	n, _ := w.sp.ownValue(key).(int64)
	return max(n, 1)
}

func (w *walk) name(key string) string {
	s, _ := w.values[key].(string)
	return s
}

func (w *walk) down(i int) error {
	if i == len(w.at) { // all but recomputation
		if len(w.out) == maxGroups {
			return errTooLarge
		}
		w.out = append(w.out, slices.Clone(w.at))
		return nil
	}
	a := &w.sp.axes[i]
	if !a.asked && !w.applies(a) {
		w.at[i] = omitted
		return w.down(i + 1)
	}
	for k, v := range a.Values {
		w.values[a.Key] = v
		if !a.asked && !w.sensible(a.Key, v) || !w.divides(a.Key) {
			continue
		}
		w.at[i] = int16(k)
		if err := w.down(i + 1); err != nil {
			return err
		}
	}
	delete(w.values, a.Key)
	return nil
}

// applies reports whether an axis matters beside the values so far. One that the
// file gives a value must have one that goes with the others.
func (w *walk) applies(a *axis) bool {
	s := w.sp.own
	switch a.Key {
	case keyEP, keyETP:
		return s.Model.MoE != nil
	case keySP:
		return a.file || w.num(keyTP) > 1
	case keyCPKind:
		return w.num(keyCP) > 1
	case keyOrder:
		return w.num(keyPP) > 1 && w.replicas() > 1
	case keySchedule:
		return a.file || w.num(keyPP) > 1
	case keySlices, keyOffload:
		return a.file
	}
	return len(a.Values) > 0
}

// replicas is dp.
func (w *walk) replicas() int64 {
	return w.num(keyGPUs) / (w.num(keyTP) * w.num(keyCP) * w.num(keyPP))
}

// divides reports whether the numbers so far can be those of a layout: what the
// scenario language would refuse in any case.
func (w *walk) divides(key string) bool {
	if _, ok := w.values[key].(int64); !ok {
		return true
	}
	model := w.num(keyTP) * w.num(keyCP)
	switch key {
	case keyTP:
		return w.num(keyGPUs)%w.num(keyTP) == 0
	case keyCP:
		return w.num(keyGPUs)%model == 0
	case keyPP:
		return w.num(keyGPUs)%(model*w.num(keyPP)) == 0 && (w.sp.tries("training.global_batch") || w.sp.own.Training.GlobalBatch%w.replicas() == 0)
	case keyMicro:
		return w.sp.tries("training.global_batch") || w.sp.own.Training.GlobalBatch%(w.replicas()*w.num(keyMicro)) == 0
	}
	return true
}

// sensible leaves out values that mean the same as others, or that cannot be.
func (w *walk) sensible(key string, v any) bool {
	s := w.sp.own
	n, _ := v.(int64)
	switch key {
	case keyVP:
		stages := n * w.num(keyPP)
		even := s.Model.Layers%stages == 0 || (s.Model.Layers+2)%stages == 0
		switch {
		case w.num(keyPP) == 1:
			return n == 1
		case n == s.Parallel.VP && w.num(keyPP) == s.Parallel.PP:
			return true
		}
		return stages <= s.Model.Layers+2 && (even || n <= 2)
	case keyEP:
		return (w.num(keyTP)*w.num(keyCP)*w.replicas())%n == 0
	case keyETP:
		return (w.num(keyTP)*w.num(keyCP)*w.replicas())%(n*w.num(keyEP)) == 0
	case keySP:
		return w.num(keyTP) > 1 || v == false
	case keyZeRO:
		switch {
		case n == s.Parallel.ZeRO:
			return true
		case w.replicas()*w.num(keyCP) == 1: // one rank has all: sharding does nothing
			return false
		}
		return n <= 1 || w.num(keyPP) == 1 // gradients and parameters are sharded without a pipeline only
	case keyOrder: // which matters where ranks of data parallelism or the pipeline may share a domain
		c := s.Cluster
		return text(v) == text(s.Parallel.Order) || w.num(keyTP)*w.num(keyCP) < c.NVLinkDomain || c.Oversub > 1
	case keySchedule:
		return w.fitsSchedule(v.(string))
	case keySlices:
		return n == 1 || w.name(keySchedule) == s.Schedule.Name
	case keyOffload:
		return v == 0.0 || w.name(keySchedule) == s.Schedule.Name
	}
	return true
}

func (w *walk) fitsSchedule(name string) bool {
	pp, vp := w.num(keyPP), w.num(keyVP)
	switch name {
	case "auto":
		return true
	case "zb_h1":
		return pp > 1 && vp == 1
	case "zbv", "dualpipev":
		return pp > 1 && vp == 2
	}
	return pp > 1
}

// overrides are what a point says beside the scenario; recompute is the index of the
// last axis's value, or omitted.
func (sp *space) overrides(g group, recompute int) []scenarios.Override {
	out := make([]scenarios.Override, 0, len(sp.set)+len(sp.reset)+len(sp.axes))
	out = append(append(out, sp.set...), sp.reset...)
	return append(out, sp.values(g, recompute)...)
}

// values are what the axes say.
func (sp *space) values(g group, recompute int) (out []scenarios.Override) {
	for i, k := range g {
		if k != omitted {
			out = append(out, scenarios.Override{Key: sp.axes[i].Key, Value: sp.axes[i].Values[k]})
		}
	}
	if recompute != omitted {
		last := sp.axes[len(sp.axes)-1]
		out = append(out, scenarios.Override{Key: last.Key, Value: last.Values[recompute]})
	}
	return out
}

// scenario is a point as it is simulated.
func (sp *space) scenario(g group, recompute int) (*scenarios.Scenario, error) {
	return sp.base.Scenario(sp.overrides(g, recompute))
}

// settings are a point as --set takes it: what it says beside the scenario's text.
func (sp *space) settings(g group, recompute int) []string {
	var out []string
	for _, o := range sp.overrides(g, recompute) {
		if !sp.says(o) {
			out = append(out, setting(o))
		}
	}
	return out
}

// says reports whether the scenario's text says the same, and no axis anything else.
func (sp *space) says(o scenarios.Override) bool {
	i := slices.IndexFunc(sp.axes, func(a axis) bool { return a.Key == o.Key })
	if i < 0 || !sp.axes[i].file || len(sp.axes[i].Values) > 1 || !slices.Contains(ownAxes, o.Key) {
		return false
	}
	return text(o.Value) == text(sp.ownValue(o.Key)) && !slices.ContainsFunc(sp.set, func(s scenarios.Override) bool { return s.Key == o.Key })
}
