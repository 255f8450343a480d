package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"orrery/models"
	"orrery/schedules/packing"
	"orrery/sim/unit"
)

// nodeGPUs is the GPUs of an H100 server.
const nodeGPUs = 8

// job is the machine and the costs, without samples.
func (c *packCmd) job() (packing.Job, error) {
	job := packing.Job{DP: c.DP, PP: c.PP, CP: c.CP, Context: c.Context, MemoryTokens: c.Memory}
	if c.TP < 1 || c.PP < 1 {
		return job, fmt.Errorf("--tp %d, --pp %d: must be 1 or more", c.TP, c.PP)
	}
	m, err := models.Lookup(c.Model)
	if err != nil {
		return job, fmt.Errorf("--model: %w", err)
	}
	if m.Attn.Window > 0 {
		return job, fmt.Errorf("--model %s: the costs of packing have no sliding windows; give --cost pair_ps of a model without", c.Model)
	}
	job.Cost, job.Footprint = modelCost(m, c.PP, c.TP)
	return job, overrideCost(&job, c.Cost)
}

// modelCost derives what a stage of a model costs on an H100: the layers and the
// output layer dealt evenly over the stages, everything split over tp ranks, whose
// communication is not counted.
func modelCost(m *models.Model, pp, tp int) (packing.Cost, packing.Footprint) {
	const passes = 3 // forward and twice that, in Megatron's count
	layers, ranks := float64(m.Layers), float64(tp)
	one := m.PackedFLOPs([]int64{1}, m.Vocab)
	kv, activation := 0.0, 0.0
	for i := range m.Layers {
		for _, a := range m.Activations(i) {
			b := a.PerRank(int64(tp), 1, true)
			activation += b / layers
			if a.Name == "attn.k" || a.Name == "attn.v" {
				kv += b / layers
			}
		}
	}
	query := 2 * float64(m.Attn.Heads*m.Attn.HeadDim)
	if m.Attn.MLA() {
		query = float64(m.Attn.Heads * (m.Attn.Nope + m.Attn.Rope + m.Attn.VDim))
	}
	stage := layers / float64(pp)
	c := packing.Derive(packing.Derivation{
		Layers:      stage,
		TokenFLOPs:  (one.Linear + one.Logits) / passes / layers / ranks,
		PairFLOPs:   one.Core / passes / 0.5 / layers / ranks, // a sample of one token has half a pair
		KVBytes:     kv,
		QueryBytes:  2 * query / ranks,
		HiddenBytes: 2 * float64(m.Hidden) / ranks,
		Node:        max(1, nodeGPUs/tp),
	})
	return c, packing.Footprint{Activation: stage * activation, KV: stage * kv}
}

// costKey is a cost that --cost sets, in its own unit.
type costKey struct {
	doc  string
	unit float64 // of the field, in the key's unit
	at   func(*packing.Job) *float64
}

var costKeys = map[string]costKey{
	"token_us":         {"forward of a token, all but attention scores", 1e-6, func(j *packing.Job) *float64 { return &j.Cost.TokenS }},
	"pair_fs":          {"forward of a pair of a query and a key", 1e-15, func(j *packing.Job) *float64 { return &j.Cost.PairS }},
	"query_pairs":      {"pairs that a query costs beyond its own", 1, func(j *packing.Job) *float64 { return &j.Cost.QueryPairs }},
	"back_token":       {"backward over forward, tokens", 1, func(j *packing.Job) *float64 { return &j.Cost.BackToken }},
	"back_pair":        {"backward over forward, pairs", 1, func(j *packing.Job) *float64 { return &j.Cost.BackPair }},
	"last_token_us":    {"more for a token on the last stage", 1e-6, func(j *packing.Job) *float64 { return &j.Cost.LastTokenS }},
	"unit_us":          {"fixed time of a forward unit", 1e-6, func(j *packing.Job) *float64 { return &j.Cost.UnitS }},
	"unit_back_us":     {"fixed time of a backward unit", 1e-6, func(j *packing.Job) *float64 { return &j.Cost.UnitBackS }},
	"hop_us":           {"latency between stages", 1e-6, func(j *packing.Job) *float64 { return &j.Cost.HopS }},
	"hop_token_ns":     {"a token's transfer between stages", 1e-9, func(j *packing.Job) *float64 { return &j.Cost.HopTokenS }},
	"kv_token_ns":      {"exchange of a token's keys and values in a node", 1e-9, func(j *packing.Job) *float64 { return &j.Cost.KVTokenS }},
	"far_kv_token_ns":  {"the same between nodes", 1e-9, func(j *packing.Job) *float64 { return &j.Cost.FarKVTokenS }},
	"query_kv":         {"bytes of a query and its output over a key and value", 1, func(j *packing.Job) *float64 { return &j.Cost.QueryKV }},
	"activation_bytes": {"kept of a token until its backward", 1, func(j *packing.Job) *float64 { return &j.Footprint.Activation }},
	"kv_bytes":         {"keys and values among them", 1, func(j *packing.Job) *float64 { return &j.Footprint.KV }},
}

// overrideCost sets the costs that are given, of one stage on one rank.
func overrideCost(job *packing.Job, texts []string) error {
	names := slices.Sorted(maps.Keys(costKeys))
	seen := map[string]bool{}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || value == "" {
			return fmt.Errorf("--cost %q is not of the form key=value", text)
		}
		k, known := costKeys[key]
		if !known {
			if near := unit.Nearest(key, names); near != "" {
				return fmt.Errorf("--cost %s: there is no cost of that name; did you mean %q?", key, near)
			}
			var docs []string
			for _, n := range names {
				docs = append(docs, n+" ("+costKeys[n].doc+")")
			}
			return fmt.Errorf("--cost %s: there is no cost of that name; there are %s", key, strings.Join(docs, ", "))
		}
		if seen[key] {
			return fmt.Errorf("--cost %s is there twice", key)
		}
		seen[key] = true
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("--cost %s is %q, not a number", key, value)
		}
		*k.at(job) = x * k.unit
	}
	return nil
}
