package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/sweep"
)

var update = flag.Bool("update", false, "rewrite what is generated of docs/")

// holdPage holds a page of docs/ to what it should be, or rewrites it with -update.
func holdPage(t *testing.T, name string, want func(have string) string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "docs", name)) // want may change the folder
	require.NoError(t, err)
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	text := want(string(have))
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return
	}
	require.Equal(t, text, string(have), "docs/%s is not current: go test ./cmd/sim -run Docs -update", name)
}

// between replaces what stands between a mark and the end that follows it.
func between(t *testing.T, text, mark, with string) string {
	t.Helper()
	before, rest, ok := strings.Cut(text, "<!-- "+mark+" -->\n")
	require.True(t, ok, mark)
	_, after, ok := strings.Cut(rest, "<!-- end -->")
	require.True(t, ok, mark)
	return before + "<!-- " + mark + " -->\n" + with + "<!-- end -->" + after
}

// simPrints runs a command line of a page.
func simPrints(t *testing.T, line string) string {
	var out, errs bytes.Buffer
	args := strings.Fields(strings.ReplaceAll(line, "\\\n", " "))
	code := runMain(context.Background(), args, &streams{out: &out, err: &errs})
	require.Zero(t, code, "%s: %s", line, errs.String())
	return out.String()
}

// fieldDocs describes the fields of a JSON document.
type fieldDocs struct {
	of     reflect.Type
	fields [][2]string // name, meaning
}

// fieldTables are tables of documents' fields; every field is described, in its order.
func fieldTables(t *testing.T, docs []fieldDocs) string {
	t.Helper()
	var b strings.Builder
	for _, d := range docs {
		fmt.Fprintf(&b, "\n| field of the %s | meaning |\n|---|---|\n", strings.ToLower(d.of.Name()))
		at := 0
		for i := range d.of.NumField() {
			name, _, _ := strings.Cut(d.of.Field(i).Tag.Get("json"), ",")
			if name == "" {
				continue
			}
			require.Less(t, at, len(d.fields), name)
			require.Equal(t, name, d.fields[at][0])
			fmt.Fprintf(&b, "| `%s` | %s |\n", name, d.fields[at][1])
			at++
		}
		require.Equal(t, len(d.fields), at)
	}
	return b.String() + "\n"
}

// resultDocs describes the fields of `sim run --json`, in their order.
var resultDocs = []struct{ field, unit, doc string }{
	{"name", "", "the scenario's name"},
	{"step_time_s", "s", "one training step, the slowest rank's jitter included"},
	{"step_time_rel_error", "1", "half width of the 90 % interval of the step time, relative"},
	{"tokens_per_s_per_gpu", "tokens/s", "tokens of the global batch, without padding and augmentations, over step time and GPUs"},
	{"model_tflops_per_gpu", "1e12 FLOP/s", "by Megatron's count of the model's FLOPs (causal attention halved, no recomputation)"},
	{"hardware_tflops_per_gpu", "1e12 FLOP/s", "with recomputed layers, sliding windows counted as they are, and without what LoRA leaves out"},
	{"mfu", "1", "model FLOP/s over the dense peak of the training precision"},
	{"bubble_fraction", "1", "share of the step in which the mean rank waits for other pipeline ranks"},
	{"exposed_comm_fraction", "1", "share of the step in which the mean rank waits for communication"},
	{"peak_memory_gib", "GiB", "largest allocation of any rank; `fits` adds fragmentation and contexts"},
	{"megatron_estimate_gib", "GiB", "Megatron-LM's own theoretical estimate, to compare; absent where it does not apply"},
	{"memory_gib_by_stage", "GiB", "for each pipeline rank: `stage`, `peak_gib`, `at` (the op that made the peak) and `breakdown_gib` (weights, gradients, optimizer, activations, those of encoder and generator, logits, workspace, gathered parameters); `expert_rank` is the rank of an expert-parallel group that needs so much, with the layer and microbatch that it receives most of then"},
	{"fits", "", "whether the peak, 3 % fragmentation and 2 GiB of contexts fit the GPU"},
	{"fit_advice", "", "by how much the job does not fit, and the cheapest change that makes it fit"},
	{"breakdown_s", "s", "where the mean rank's time goes; the rows add up to `step_time_s`. Classes of kernels (attention, attention_linear, mlp, experts, router_permute, norms_elementwise, casts, embedding_head, optimizer, recurrent, graph_attention), recompute, host, what is exposed of each kind of communication, pipeline_send, bubble, jitter"},
	{"phases_s", "s", "the mean rank's passes: forward, backward_input, backward_weight, recompute, exposed communication inside them included"},
	{"hidden_comm_s", "s", "communication of the mean rank that ran behind compute, by kind"},
	{"critical_path", "1", "share of each kind of work on the longest chain of ops"},
	{"launching", "1", "launches of the mean rank: `bound_fraction`, the share of the step in which the GPU waits for the host (`wait_fraction`) or runs kernels shorter than their launch; `kernels` launched in a step; `per_kernel_us`, what a launch takes; where the fraction is 0.2 or more `changes` that help, each alone (`change`, `speedup` of the tokens a second, `bound_fraction`)"},
	{"packing", "", "of samples of unequal length: `packer`; `lengths` (`source`, samples cut at the context, quantiles, histogram by octaves); by the packers' own model of the passes `step_s`, the certified `lower_bound_s`, `gap`, units, samples sliced or on other lanes, padding, imbalances (max over mean) of replicas, stages, context parallelism and units, variation of the units' times, peak of activations; of the run `simulated_passes_s` (when the last pass ends), `simulated_gap` over the bound and what it is made of (`simulated_gap_split`: `bubble`, `imbalance` of lanes, `exchange` of context parallelism that attention does not hide, `kernels`: what units lose to launches and to being small, and what the packers' model is off), `simulated_imbalance_dp` and `_stages`, `simulated_peak_gib` of the first stage beside `memory_limit_gib`; `baseline`, the same samples in rows of the context, with its `speedup` and `longest_row`, over the mean one; absent where sequences are whole"},
	{"padding_fraction", "1", "share of the rows of tokens that are padding; absent without padding"},
	{"gpus", "", "GPUs of the job"},
	{"schedule", "", "the pipeline schedule that ran"},
	{"schedule_fit", "", "with `zb_auto` and `zbv_auto`, what the order was fitted to: `forward_s`, `backward_input_s`, `backward_weight_s`, `send_s` (medians over the ranks) and `memory_limit` in microbatches"},
	{"profile", "", "the price profile"},
	{"price_sources", "1", "share of kernel time by how it was priced: fitted, derived, published, roofline"},
	{"experts", "", "where `routing` gives ranks loads of their own; means over layers, microbatches and groups: `balancer`, `imbalance_before` and `imbalance_after` (largest load of a rank over the mean), `over_bound` (largest load over its certified lower bound), `worst` (group, rank, layer, microbatch, pairs, over_mean), `fraction_of_ideal` (speed over that of an ideal router), `balancing_s_per_layer` (planning and sending weights, forward), `planning_s`, `weights_exposed_s`, `exchange_exposed_s` (of the mean rank and step), `replicas` of a layer and microbatch, `moved_gib`, `replica_memory_gib`, `activation_over_ideal` (peak), `remote_fraction`, `dropped_fraction`, `padded_fraction`, and `compared`: the same for each of routing.compare, with its `step_time_s`, `model_tflops_per_gpu`, `peak_memory_gib` and `fits`"},
	{"expect", "", "for each `[[expect]]`: `metric`, `expected`, `got`, `error` (signed, relative), `tolerance`, `ok`, `source`, and `balancer` where it is of one of routing.compare"},
	{"warnings", "", "what makes the answer less certain"},
	{"modules", "", "for the encoder and the generator beside the LLM, of one rank: `module`, `params`, `tokens_per_microbatch` and `max_tokens_per_microbatch`, `forward_s` and `backward_s` of the mean microbatch, `live_units` (microbatches held at most), `unit_gib` (of the mean one), `peak_gib`; absent where there is neither"},
}

// docs/scenario.md is generated: run this test with -update.
func TestScenarioDocsAreCurrent(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, scenarios.WriteDocs(&b))
	b.WriteString("\n## The result\n\n`sim run FILE --json` prints one JSON document; `--out DIR` writes it to `result.json`.\n\n| field | unit | meaning |\n|---|---|---|\n")
	for _, d := range resultDocs {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.field, d.unit, d.doc)
	}
	holdPage(t, "scenario.md", func(string) string { return b.String() })
}

// docs/sweep.md is generated: run this test with -update. Its example is a sweep
// of the catalogue, which is read and whose points are made.
func TestSweepDocsAreCurrent(t *testing.T) {
	const example = "sweeps/parallelism"
	text, ok := scenarios.Sweep(example)
	require.True(t, ok)
	spec, err := sweep.Load(example)
	require.NoError(t, err)
	_, err = spec.Points()
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, sweep.WriteDocs(&b, text))
	holdPage(t, "sweep.md", func(string) string { return b.String() })
}

// Every field of the result is documented, in order, and no other.
func TestResultDocsNameEveryField(t *testing.T) {
	var fields, documented []string
	r := reflect.TypeFor[sim.Result]()
	for i := range r.NumField() {
		name, _, _ := strings.Cut(r.Field(i).Tag.Get("json"), ",")
		fields = append(fields, name)
	}
	for _, d := range resultDocs {
		documented = append(documented, d.field)
	}
	require.Equal(t, fields, documented)
}
