package scenarios

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
)

// fataler is what testing.T and rapid.T share.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// invariants hold for every scenario that resolves.
func invariants(t fataler, res *Resolved) {
	t.Helper()
	s := &res.Scenario
	p, tr := s.Parallel, s.Training
	if got := p.TP * p.CP * p.PP * p.DP; got != s.Cluster.GPUs {
		t.Fatalf("tp x cp x pp x dp = %d, gpus %d", got, s.Cluster.GPUs)
	}
	if got := tr.MicroBatch * p.DP * tr.Microbatches; got != tr.GlobalBatch {
		t.Fatalf("micro_batch x dp x microbatches = %d, global_batch %d", got, tr.GlobalBatch)
	}
	if a, b := p.TP*p.CP*p.DP, p.ETP*p.EP*p.EDP; a != b {
		t.Fatalf("tp x cp x dp = %d, etp x ep x edp = %d", a, b)
	}
	order, err := s.Schedule.Order()
	if err != nil {
		t.Fatalf("%v", err)
	}
	copies, want := int64(pipeline.Replicas(order)), p.PP*p.VP
	if s.Schedule.Name == "encoder_stages" {
		for _, tower := range []*Tower{s.Encoder, s.Generator} {
			if tower != nil {
				want -= tower.Devices
			}
		}
	}
	if n := int64(len(p.LayersPerStage)); n*copies != want {
		t.Fatalf("%d stages in %d copies, pp x vp less those of encoder and generator = %d", n, copies, want)
	}
	sum := int64(0)
	for _, l := range p.LayersPerStage {
		if l < 0 {
			t.Fatalf("a stage of %d layers", l)
		}
		sum += l
	}
	if sum != s.Model.Layers {
		t.Fatalf("stages hold %d layers, the model has %d", sum, s.Model.Layers)
	}
	if p.Shard < 1 || (p.DP*p.CP)%p.Shard != 0 {
		t.Fatalf("shard %d of dp x cp %d", p.Shard, p.DP*p.CP)
	}
	var table strings.Builder
	if err := res.WriteOrigins(&table); err != nil {
		t.Fatalf("%v", err)
	}
	for line := range strings.Lines(table.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
			t.Fatalf("%d columns: %q", n, line)
		}
	}
	origins := map[string]bool{}
	for _, o := range res.Origins {
		if o.From == "" {
			t.Fatalf("%s has no origin", o.Key)
		}
		origins[o.Key] = true
	}
	for _, f := range schema {
		v := f.load(s)
		if v == nil || origins[f.key] || strings.HasPrefix(f.key, "model.") || strings.HasPrefix(f.key, "training.lora") {
			continue
		}
		t.Fatalf("%s = %v was never settled", f.key, v)
	}
}

// wellFormed holds for every error: it names its place and the key.
func wellFormed(t fataler, err error) {
	t.Helper()
	errs := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		errs = j.Unwrap()
	}
	for i, e := range errs {
		var se *Error
		if !errors.As(e, &se) {
			if i == maxErrors {
				continue // "and n more"
			}
			t.Fatalf("%v is a %T", e, e)
		}
		if se.File == "" || se.Msg == "" {
			t.Fatalf("no file or message: %+v", se)
		}
		if strings.Contains(se.Error(), "\n") {
			t.Fatalf("an error of several lines: %q", se.Error())
		}
	}
}

// TestResolveInvariants draws grids, right and wrong ones, and models.
func TestResolveInvariants(t *testing.T) {
	resolved := 0
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.SampledFrom([]int64{1, 2, 3, 4, 8, 16})
		v := map[string]any{
			"cluster.gpu":              rapid.SampledFrom([]string{"a100", "h100", "b200", "gb200"}).Draw(t, "gpu"),
			"model.name":               rapid.SampledFrom([]string{"llama3-8b", "llama3.1-405b", "mixtral-8x7b"}).Draw(t, "model"),
			"training.sequence_length": int64(8192),
			"framework.preset":         rapid.SampledFrom(Presets()).Draw(t, "preset"),
		}
		dims := []string{"parallel.tp", "parallel.cp", "parallel.pp", "parallel.dp"}
		gpus := int64(1)
		open := rapid.IntRange(-1, len(dims)-1).Draw(t, "auto")
		for i, d := range dims {
			n := small.Draw(t, d)
			gpus *= n
			v[d] = n
			if i == open {
				v[d] = "auto"
			}
		}
		if open >= 0 || rapid.Bool().Draw(t, "with gpus") {
			v["cluster.gpus"] = gpus
		}
		v["parallel.vp"] = rapid.SampledFrom([]int64{1, 1, 2, 3}).Draw(t, "vp")
		v["parallel.ep"] = rapid.SampledFrom([]int64{1, 1, 2, 4}).Draw(t, "ep")
		v["training.microbatches"] = rapid.SampledFrom([]int64{1, 8, 16, 32}).Draw(t, "m")
		v["training.micro_batch"] = rapid.Int64Range(1, 4).Draw(t, "b")
		if rapid.IntRange(0, 9).Draw(t, "overlong") == 0 {
			v["training.global_batch"] = rapid.Int64Range(1, maxInt).Draw(t, "gb")
		}
		res, err := Resolve("case", v)
		if err != nil {
			wellFormed(t, err)
			return
		}
		resolved++
		invariants(t, res)
		// What resolved is a fixed point: given all its values, nothing changes.
		all := map[string]any{}
		for _, f := range schema {
			if x := f.load(&res.Scenario); x != nil && writable(f, res) {
				all[f.key] = plain(x)
			}
		}
		again, err := Resolve("case", all)
		if err != nil {
			t.Fatalf("resolved values do not resolve: %v", err)
		}
		if !reflect.DeepEqual(again.Scenario, res.Scenario) {
			t.Fatalf("resolving twice changes\n%+v\nto\n%+v", res.Scenario, again.Scenario)
		}
	})
	if resolved == 0 {
		t.Error("no drawn scenario resolved: the generator is of no use")
	}
}

// writable leaves out what was not settled (adapters without LoRA), and
// layers_per_stage, which may not stand next to account_embedding.
func writable(f *field, res *Resolved) bool {
	return f.key != "parallel.layers_per_stage" && f.key != "model.config" &&
		slices.ContainsFunc(res.Origins, func(o Origin) bool { return o.Key == f.key })
}

// plain is a resolved value as the author would write it.
func plain(v any) any {
	rv := reflect.ValueOf(v)
	switch {
	case rv.Kind() == reflect.String:
		return rv.String()
	case rv.Type() == reflect.TypeOf(Recompute{}):
		return fmt.Sprint(v)
	}
	return v
}

// TestDivide: every stage within one layer of the others once embedding and
// loss are counted, nothing lost.
func TestDivide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layers := rapid.Int64Range(1, 200).Draw(t, "layers")
		n := rapid.Int64Range(1, 64).Draw(t, "stages")
		account := rapid.Bool().Draw(t, "account")
		out := divide(layers, n, account)
		extra := int64(0)
		if account {
			extra = 1
		}
		if out == nil {
			if n <= layers {
				t.Fatalf("%d layers do fit %d stages", layers, n)
			}
			return
		}
		lo, hi, sum := int64(1<<62), int64(0), int64(0)
		for i, l := range out {
			sum += l
			if i == 0 {
				l += extra
			}
			if i == len(out)-1 {
				l += extra
			}
			lo, hi = min(lo, l), max(hi, l)
		}
		if sum != layers || hi-lo > 1 {
			t.Fatalf("divide(%d, %d, %v) = %v", layers, n, account, out)
		}
	})
}

// noKey is what a scenario holds that is not asked for: what the catalogue of
// encoders and generators knows, what a file was read to, and what only the other of
// the two has.
var noKey = map[string]bool{".Encoder.Model": true, ".Generator.Model": true, ".Encoder.Samples": true, ".Generator.Samples": true,
	".Encoder.Beside": true, ".Generator.Pieces": true, ".Generator.Warmup": true}

// TestSchemaCoversScenario: a field of Scenario without a key could never be
// asked for.
func TestSchemaCoversScenario(t *testing.T) {
	s := blank()
	covered := map[uintptr]bool{}
	for _, f := range schema {
		covered[reflect.ValueOf(f.at(s)).Pointer()] = true
		if f.doc == "" || (f.def == nil && f.how == "" && !f.required) {
			t.Errorf("%s has no doc, or no way to a value", f.key)
		}
	}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		if noKey[path] {
			return
		}
		if v.CanAddr() && covered[v.Addr().Pointer()] && v.Type() != reflect.TypeFor[Scenario]() {
			if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[Recompute]() {
				return
			}
		}
		switch v.Kind() {
		case reflect.Pointer:
			walk(v.Elem(), path)
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() { // others are what a key's file held
					walk(v.Field(i), path+"."+f.Name)
				}
			}
		case reflect.Slice:
			if v.Len() > 0 {
				walk(v.Index(0), path+"[]")
				return
			}
			if path != ".Routing.Loads" && path != ".Serving.Trace" && path != ".Model.Net" && path != ".Data.Packing.read" { // of files, and of the catalogue only
				t.Errorf("%s has no key", path)
			}
		default:
			if path != ".Model.Source" { // of the catalogue only
				t.Errorf("%s has no key", path)
			}
		}
	}
	walk(reflect.ValueOf(s).Elem(), "")
}

// TestPresetsAreComplete: each preset settles every key whose default is "preset".
func TestPresetsAreComplete(t *testing.T) {
	for _, p := range presets {
		rules := map[string]bool{}
		for _, r := range p.rules {
			if byKey[r.key] == nil {
				t.Errorf("preset %s sets %s, which is no key", p.name, r.key)
			}
			rules[r.key] = true
		}
		for _, f := range schema {
			if (f.how == "preset") != rules[f.key] {
				t.Errorf("preset %s, key %s: rule %v, documented default %q", p.name, f.key, rules[f.key], f.how)
			}
		}
	}
}
