package scenarios

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
)

// Serving is requests to a model that is served: prefill only.
type Serving struct {
	PromptTokens, PromptSigma float64
	File                      string
	Trace                     []Request // of File, by arrival
	Requests                  int64
	Rate                      float64 // requests/s
	SLOS                      float64 // mean time to the first token
	Chunk                     int64   // tokens of a rank's batch
	Samples                   int64   // batches with loads of their own
	Seed                      int64
}

// Request is one prompt.
type Request struct {
	ArrivalS float64
	Tokens   int64
}

// On reports whether the scenario is of serving.
func (s *Serving) On() bool { return s.PromptTokens > 0 || s.File != "" }

// servingDefaults settles the keys of training that a batch of prefill determines:
// it is laid out as a step whose microbatches are the batches with loads of their
// own, without gradients.
func (r *resolver) servingDefaults() {
	if !r.s.Serving.On() {
		return
	}
	chunk, samples := r.s.Serving.Chunk, r.s.Serving.Samples
	if !r.wrote("serving.chunk") {
		chunk = byKey["serving.chunk"].def.(int64)
	}
	if !r.wrote("serving.samples") {
		samples = byKey["serving.samples"].def.(int64)
	}
	r.settle("training.sequence_length", chunk, "derived: serving.chunk")
	r.settle("training.microbatches", samples, "derived: serving.samples")
	r.settle("training.optimizer", "none", "derived: serving has no optimizer")
}

// readTrace reads serving.file.
func (r *resolver) readTrace() {
	path := r.s.Serving.File
	if path == "" {
		return
	}
	blame := []string{"serving.file"}
	if r.read == nil {
		r.fail(blame, "there is no folder to read it from", show(path), "scenarios in files")
		return
	}
	text, err := r.read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.fail(blame, "no such file", show(path), "a path relative to the scenario's file")
		return
	case err != nil:
		r.fail(blame, "cannot read the file", show(path), "a readable file of requests")
		return
	}
	if r.s.Serving.Trace, err = ParseTrace(path, string(text)); err != nil {
		r.fail(blame, err.Error(), show(path), "a CSV file with the heading arrival_s,tokens")
	}
}

// maxPrompt bounds a prompt's tokens.
const maxPrompt = 1 << 24

// ParseTrace reads requests from CSV text with the heading arrival_s,tokens; arrivals
// in seconds do not decrease. Errors name the file and the line.
func ParseTrace(name, text string) ([]Request, error) {
	var out []Request
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %s", name, i+1, fmt.Sprintf(format, args...))
		}
		if out == nil {
			if line != "arrival_s,tokens" {
				return nil, at("the heading is %q, want arrival_s,tokens", line)
			}
			out = []Request{}
			continue
		}
		arrival, tokens, ok := strings.Cut(line, ",")
		if !ok {
			return nil, at("%q is not arrival_s,tokens", line)
		}
		s, err := strconv.ParseFloat(strings.TrimSpace(arrival), 64)
		if err != nil || !(s >= 0) || math.IsInf(s, 0) {
			return nil, at("arrival_s is %q, must be seconds from 0", arrival)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(tokens), 10, 64)
		if err != nil || n < 1 || n > maxPrompt {
			return nil, at("tokens are %q, must be 1 to %d", tokens, maxPrompt)
		}
		if len(out) > 0 && s < out[len(out)-1].ArrivalS {
			return nil, at("arrival_s %g is before the request above", s)
		}
		out = append(out, Request{s, n})
	}
	if len(out) < 2 || out[len(out)-1].ArrivalS == out[0].ArrivalS {
		return nil, fmt.Errorf("%s: want at least two requests that arrive at different times", name)
	}
	return out, nil
}

// checkServing refuses what prefill is not simulated with.
func (r *resolver) checkServing() {
	sv, par := &r.s.Serving, &r.s.Parallel
	if !sv.On() {
		for _, f := range servingKeys {
			if g := r.given[f.key]; r.wrote(f.key) && g.value != f.def {
				r.fail([]string{f.key}, "there are no requests", show(g.raw), "serving.prompt_tokens or serving.file")
			}
		}
		return
	}
	t := &r.s.Training
	switch {
	case sv.File != "" && sv.PromptTokens > 0:
		r.fail([]string{"serving.file", "serving.prompt_tokens"}, "prompts are generated already", show(sv.File), "one of serving.file and serving.prompt_tokens")
	case !r.s.Routing.Uneven():
		r.fail([]string{"serving.prompt_tokens", "serving.file", "routing.load"}, "prefill is simulated with expert loads", show(EvenLoad), "routing.load or routing.file")
	case par.TP != 1 || par.CP != 1 || par.PP != 1 || par.EDP != 1:
		r.fail([]string{"parallel.tp", "parallel.cp", "parallel.pp", "parallel.ep"}, "prefill is simulated with data-parallel attention and experts over all ranks",
			fmt.Sprintf("tp %d, cp %d, pp %d, edp %d", par.TP, par.CP, par.PP, par.EDP), "tp, cp, pp and edp 1: ep as many as gpus")
	case t.SequenceLength != sv.Chunk || t.Microbatches != sv.Samples || t.MicroBatch != 1 || t.Optimizer != "none" || t.Recompute.Mode != "none" || t.Finetune != "none":
		r.fail([]string{"training.sequence_length", "training.microbatches", "training.micro_batch", "training.optimizer", "training.recompute", "training.finetune"},
			"a scenario of serving trains nothing; serving determines it", "keys of training", "no keys of training but precision")
	}
}
