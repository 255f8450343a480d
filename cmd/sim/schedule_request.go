package main

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// Schedules that sim schedule times and no scenario can choose.
const (
	fileName  = "file"
	vocabName = "vocab_1f1b"
	bw2Name   = "pipedream_2bw"

	mepipeName = "mepipe_svpp" // which scenarios can choose, without pieces
)

// scheduleRequest is a scheduleCmd understood.
type scheduleRequest struct {
	name  string
	order pipeline.Schedule // nil for those that are more than an order of passes
	shape pipeline.Shape
	costs pipeline.Costs
	scale int64 // units of time in a unit of the costs
	run   func() (*pipeline.Timing, error)
	notes []string
	auto  pipeline.Auto // where the order depends on costs
	// alien is what the order has that PyTorch's grammar has no word for.
	alien string

	modules *moduleRequest // nil where there is an LLM alone

	blocking bool // transfers block both ends
	options  pipeline.BlockingOptions
}

const limitHelp = "most microbatches that a device holds; else --memory-limit"

// scheduleKeys is what --param takes, by schedule, with what it means.
var scheduleKeys = map[string]map[string]string{
	"1f1b":             {"transfers": "batched or, with --blocking, unbatched"},
	"interleaved_1f1b": {"N": "microbatches that go through a chunk before the next"},
	mepipeName: {"g": "microbatches that go through a chunk before the next", "pieces": "GEMMs that a weight gradient is cut into, to fill waits",
		"limit": "with pieces, most slices that a device holds; else --memory-limit"},
	"slimpipe": {"e": "warm-up slices a hop, 2"},
	fileName:   {"file": "path of the order"},
	vocabName:  {"S": "time of a device's share of the output layer", "barriers": "1 or 2"},
	bw2Name:    {"batches": "batches without a flush"},
	"zb_auto":  {"limit": limitHelp},
	"zbv_auto": {"limit": limitHelp},
	"hanayo":   {"W": "waves, half the chunks a device"},

	"encoder_first":  {"recompute": "encoder: its backward runs its forward again"},
	"encoder_stages": {"encoder": "devices of the encoder, 1; auto divides all devices as DistTrain does", "generator": "devices of the generator, 1"},
	"optimus":        {"pieces": "kernels that an encoder's pass is cut into, 8"},
}

func (c *scheduleCmd) request() (*scheduleRequest, error) {
	q := &scheduleRequest{name: strings.ReplaceAll(strings.ToLower(strings.TrimSpace(c.Name)), "-", "_")}
	order, err := q.lookup()
	if err != nil {
		return nil, err
	}
	params, err := parseParams(q.name, c.Param)
	if err != nil {
		return nil, err
	}
	if q.name == fileName {
		if order, err = q.readFile(c, params); err != nil {
			return nil, err
		}
	} else if err := q.sizes(c, order, params); err != nil {
		return nil, err
	}
	q.order = order
	if m, ok := order.(pipeline.Multimodal); ok {
		return q, q.readModules(c, m, params)
	}
	if c.Encoder != "" || c.Generator != "" || c.Warmup != 0 {
		return nil, fmt.Errorf("--encoder, --generator and --warmup: %s runs an LLM alone; those with other modules are %s", q.name, strings.Join(moduleSchedules(), ", "))
	}
	if err := q.price(c, params); err != nil {
		return nil, err
	}
	if err := q.plan(c, params); err != nil {
		return nil, err
	}
	return q, nil
}

// lookup finds the schedule; nil for those that are not orders of passes alone.
func (q *scheduleRequest) lookup() (pipeline.Schedule, error) {
	own := []string{fileName, vocabName, bw2Name}
	for _, a := range pipeline.Autos() {
		own = append(own, a.Name())
	}
	q.auto, _ = pipeline.LookupAuto(q.name)
	if slices.Contains(own, q.name) {
		return nil, nil
	}
	s, err := pipeline.Lookup(q.name)
	if err == nil {
		return s, nil
	}
	for _, known := range pipeline.All() {
		own = append(own, known.Name())
	}
	slices.Sort(own)
	if near := unit.Nearest(q.name, own); near != "" {
		return nil, fmt.Errorf("no schedule is called %q; did you mean %q?", q.name, near)
	}
	return nil, fmt.Errorf("no schedule is called %q; known are %s", q.name, strings.Join(own, ", "))
}

func parseParams(schedule string, texts []string) (map[string]string, error) {
	keys, out := scheduleKeys[schedule], map[string]string{}
	names := slices.Sorted(maps.Keys(keys))
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || value == "" {
			return nil, fmt.Errorf("--param %q is not of the form key=value", text)
		}
		if _, known := keys[key]; !known {
			switch near := unit.Nearest(key, names); {
			case len(names) == 0:
				return nil, fmt.Errorf("--param %s: %s takes no parameters", key, schedule)
			case near != "":
				return nil, fmt.Errorf("--param %s: %s has no parameter of that name; did you mean %q?", key, schedule, near)
			}
			var known []string
			for _, n := range names {
				known = append(known, n+" ("+keys[n]+")")
			}
			return nil, fmt.Errorf("--param %s: %s has no parameter of that name; it takes %s", key, schedule, strings.Join(known, ", "))
		}
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("--param %s is there twice", key)
		}
		out[key] = value
	}
	return out, nil
}

// whole reads a whole parameter of 1 or more; 0 where it is absent.
func whole(params map[string]string, key string) (int, error) {
	text, ok := params[key]
	if !ok {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("--param %s is %q, must be a whole number of 1 or more", key, text)
	}
	return n, nil
}

// readFile is the schedule of a file; sizes that are named must be its own.
func (q *scheduleRequest) readFile(c *scheduleCmd, params map[string]string) (pipeline.Schedule, error) {
	path, ok := params["file"]
	if !ok {
		return nil, fmt.Errorf("schedule file needs --param file=PATH, an order in PyTorch's pipeline grammar")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := pipeline.ReadOrder(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	q.shape = f.Shape
	for _, size := range []struct {
		flag      string
		want, has int
	}{{"stages", c.Stages, f.Shape.Devices}, {"microbatches", c.Microbatches, f.Shape.Microbatches}, {"virtual", c.Virtual, f.Shape.Virtual}} {
		if size.want != 0 && size.want != size.has {
			return nil, fmt.Errorf("--%s is %d, the order in %s has %d", size.flag, size.want, path, size.has)
		}
	}
	if c.Slices != 1 && c.Slices != f.Shape.Slices {
		return nil, fmt.Errorf("--slices is %d, the order in %s has %d", c.Slices, path, f.Shape.Slices)
	}
	if f.Untimed > 0 {
		q.notes = append(q.notes, fmt.Sprintf("%d actions of the file are no passes (sends, receives, parameters) and are not timed; --comm is.", f.Untimed))
	}
	if f.Pairs > 0 {
		q.notes = append(q.notes, fmt.Sprintf("%d overlapped pairs take as long as one pass after the other.", f.Pairs))
	}
	return f, nil
}

// sizes fills in the shape.
func (q *scheduleRequest) sizes(c *scheduleCmd, order pipeline.Schedule, params map[string]string) error {
	if c.Stages < 1 || c.Microbatches < 1 || c.Slices < 1 {
		return fmt.Errorf("--stages is %d, --microbatches %d, --slices %d: all must be given as 1 or more", c.Stages, c.Microbatches, c.Slices)
	}
	q.shape = pipeline.Shape{Devices: c.Stages, Virtual: c.Virtual, Microbatches: c.Microbatches, Slices: c.Slices}
	for _, key := range []string{"N", "g"} {
		n, err := whole(params, key)
		if err != nil {
			return err
		}
		q.shape.Group = max(q.shape.Group, n)
	}
	if e, ok := params["e"]; ok && e != "2" {
		return fmt.Errorf("--param e is %q: SlimPipe's artifact has 2 warm-up slices a hop; seq1f1b has 1", e)
	}
	waves, err := whole(params, "W")
	if err != nil {
		return err
	}
	switch {
	case waves > 0 && c.Virtual != 0 && c.Virtual != 2*waves:
		return fmt.Errorf("--param W is %d, which is %d chunks a device, but --virtual is %d", waves, 2*waves, c.Virtual)
	case waves > 0:
		q.shape.Virtual = 2 * waves
		return nil
	case c.Virtual != 0:
		return nil
	}
	q.shape.Virtual = 1
	var check func(pipeline.Shape) error
	switch {
	case order != nil:
		check = order.Check
	case q.auto != nil:
		check = q.auto.Check
	default:
		return nil
	}
	if check(q.shape) != nil {
		two := q.shape
		two.Virtual = 2
		if check(two) == nil {
			q.shape = two
		}
	}
	return nil
}

// price reads the costs in decimals and scales them to whole units of time.
func (q *scheduleRequest) price(c *scheduleCmd, params map[string]string) error {
	texts := map[string]string{"comm": c.Comm}
	triples := strings.Split(c.Cost, "/")
	lists := map[string]string{"attention": c.Attention}
	for i, triple := range triples {
		lists[fmt.Sprint("cost", i)] = triple
	}
	for _, key := range slices.Sorted(maps.Keys(lists)) {
		flag := strings.TrimRight(key, "0123456789")
		parts := strings.Split(lists[key], ",")
		if lists[key] == "" && flag == "attention" {
			parts = []string{"0", "0", "0"}
		}
		if len(parts) != 3 {
			return fmt.Errorf("--%s is %q, want three numbers F,B,W", flag, lists[key])
		}
		for i, x := range parts {
			texts[key+"FBW"[i:i+1]] = strings.TrimSpace(x)
		}
	}
	if s, ok := params["S"]; ok {
		texts["S"] = s
	}
	decimals := 0
	values := map[string]float64{}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		x, err := strconv.ParseFloat(texts[key], 64)
		if err != nil || x < 0 || x > 1e9 || math.IsNaN(x) || strings.ContainsAny(texts[key], "eExXpP_") {
			return fmt.Errorf("a cost is %q, must be a number of 0 to 1e9 such as 1.25", texts[key])
		}
		if _, fraction, ok := strings.Cut(texts[key], "."); ok {
			decimals = max(decimals, len(fraction))
		}
		values[key] = x
	}
	if decimals > 6 {
		return fmt.Errorf("a cost has %d decimals, at most 6 are kept", decimals)
	}
	if c.Attention != "" || len(c.StageFactors) > 0 {
		decimals = 6 // what slices and factors are rounded to
	}
	q.scale = int64(math.Pow10(decimals))
	at := func(key string) unit.Time { return unit.Time(math.Round(values[key] * float64(q.scale))) }
	of := func(key string) pipeline.Costs {
		return pipeline.Costs{F: at(key + "F"), I: at(key + "B"), W: at(key + "W"), Comm: at("comm")}
	}
	q.costs = of("cost0")
	if len(triples) > 1 {
		return q.priceStages(c, len(triples), of)
	}
	v := pipeline.Variation{Attention: of("attention")}
	for _, text := range c.StageFactors {
		x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			return fmt.Errorf("--stage-factors: %q is not a number", text)
		}
		v.Stage = append(v.Stage, x)
	}
	if c.Attention == "" && len(v.Stage) == 0 {
		return nil
	}
	varied, err := q.costs.Varied(v, q.shape, pipeline.Stages(q.order, q.shape))
	if err != nil {
		return err
	}
	q.costs = varied
	q.notes = append(q.notes, "Costs differ from pass to pass and are rounded to a millionth.")
	return nil
}

// priceStages is price where every stage has costs of its own.
func (q *scheduleRequest) priceStages(c *scheduleCmd, given int, of func(key string) pipeline.Costs) error {
	if want := pipeline.Stages(q.order, q.shape); given != want {
		return fmt.Errorf("--cost has the costs of %d stages, want one F,B,W for all or one for each of %d", given, want)
	}
	if c.Attention != "" || len(c.StageFactors) > 0 {
		return fmt.Errorf("--cost has the costs of each stage: --attention and --stage-factors are for one F,B,W")
	}
	stages := make([]pipeline.Costs, given)
	for i := range stages {
		stages[i] = of(fmt.Sprint("cost", i))
	}
	q.costs = pipeline.ByStage(stages, q.costs.Comm)
	return nil
}
