package scenarios

import (
	"fmt"
	"io"
	"strings"
)

const docsHead = `# Scenarios

<!-- Generated from the schema (scenarios.WriteDocs); do not edit. -->

A scenario is one question: this model, trained this way, on this machine. It is a
TOML file, read strictly: a key that is not on this page, a value of another type or
out of its bounds, or keys that contradict each other are errors with the file, line
and column, what was found, what is allowed and the nearest valid name.

    sim check scenario.toml                      # every value and where it came from
    sim run scenario.toml --set parallel.tp=4    # the same question, one value changed

A value comes from the first of these that has one:

1. ` + "`--set key=value`" + ` (names need no quotes: ` + "`--set training.precision=fp8`" + `)
2. the file
3. the catalogue of GPUs, nodes and models
4. the other keys, where they determine it
5. the preset of ` + "`framework.preset`" + `
6. the default below

## What follows from what

    gpus = tp x cp x pp x dp
    global_batch = micro_batch x dp x microbatches
    tp x cp x dp = etp x ep x edp
    entries of layers_per_stage = pp x vp

Any one of these may be ` + "`\"auto\"`" + ` where the others determine it; gpus or dp, global_batch
or microbatches, and edp may simply be left out. What is not determined, or does not come
out whole, is an error. ` + "`\"auto\"`" + ` on another key is the same as leaving it out.

Layers are divided evenly; a remainder goes to the middle stages, because the ends hold the
embedding and the loss. See schedule.account_embedding.

`

var sectionTexts = map[string]string{
	"":                 "At the top of the file:",
	"cluster":          "The machine.",
	"cluster.override": "Figures that differ from the catalogue's.",
	"model": "One of: `name` of the catalogue; `config`, a Hugging Face config.json; or the sizes, written inline " +
		"(layers, hidden, heads, vocab, and ffn or experts, top_k and moe_ffn). Further keys override single figures.",
	"training": "One step.",
	"data": "What the sequences of a step are, where the model lists its layers (`sim list models`: the `-slu` and `co-gat` ones); " +
		"every sequence of the step has a length drawn with the seed. Such models run data parallel only. " +
		"Or, from `distribution` on, samples of unequal length that a packer turns into the units of the pipelines: every replica is simulated with its own. " +
		"Without these keys every sequence has training.sequence_length tokens.",
	"parallel":  "Who holds what.",
	"schedule":  "The order of passes in a pipeline.",
	"framework": "What the training framework does. The defaults are the preset's.",
	"encoder": "What goes before the LLM: a transformer over images or sound, whose output takes the place of tokens in the " +
		"sequence. Without this section there is none. The items of a sample vary: their numbers and lengths are drawn, or read from a file.",
	"generator": "What goes behind the LLM, as a diffusion transformer that learns to make images of the LLM's output. Without this section there is none.",
	"routing":   "Where tokens go in a mixture of experts, and who evens it out (docs/balance.md).",
	"serving":   "Requests to a served model, for `sim prefill`: chunked prefill, data-parallel attention, experts over all ranks.",
	"expect":    "Published figures that `sim run` and `sim verify` hold the result against; any number of `[[expect]]` entries.",
}

// WriteDocs writes the reference of the language, docs/scenario.md: each
// section's keys with types, units, defaults and allowed values, and the table
// of presets with their sources.
func WriteDocs(w io.Writer) error {
	var b strings.Builder
	b.WriteString(docsHead)
	section := "none yet"
	for _, f := range schema {
		if s := sectionOf(f.key); s != section {
			section = s
			title := "[" + s + "]"
			switch s {
			case "":
				title = "Top"
			case "expect":
				title = "[[expect]]"
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n", title, sectionTexts[s])
		}
		kind := f.kind()
		if f.unit != "" {
			kind += ", " + f.unit
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", short(f.key), kind, cell(f.defaultText()), cell(f.allowedText()), cell(f.doc+f.ofText()))
	}
	writePresets(&b)
	_, err := io.WriteString(w, strings.ReplaceAll(b.String(), "\n\n\n", "\n\n"))
	return err
}

func writePresets(b *strings.Builder) {
	b.WriteString("\n## Presets\n\nA preset sets defaults only: the file and --set win over it.\n\n")
	for _, p := range presets {
		fmt.Fprintf(b, "- `%s`: %s. Sources: %s.\n", p.name, p.doc, p.source)
	}
	b.WriteString("\n| key |")
	for _, p := range presets {
		fmt.Fprintf(b, " %s |", p.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(presets)) + "\n")
	for i, r := range presets[0].rules { // all presets have the same keys in the same order
		fmt.Fprintf(b, "| `%s` |", r.key)
		for _, p := range presets {
			rule := p.rules[i]
			say := rule.say
			if say == "" {
				say = display(rule.value(blank()))
			}
			fmt.Fprintf(b, " %s |", cell(say))
		}
		b.WriteString("\n")
	}
}

// defaultText is what a key is where nothing is said.
func (f *field) defaultText() string {
	switch {
	case f.required:
		return "required"
	case f.def == nil:
		return f.how
	}
	if s, ok := f.def.(string); ok && s == "" {
		return "none"
	}
	return display(f.def)
}

// ofText names the schedules that alone have the key.
func (f *field) ofText() string {
	if len(f.of) == 0 {
		return ""
	}
	return " Only with `" + strings.Join(f.of, "` or `") + "`."
}

// allowedText is allowed without the kind, which has its own column.
func (f *field) allowedText() string {
	s := f.allowed()
	for _, kind := range []string{"an integer from ", "a number from ", "a list of integers from ", "a list of "} {
		s = strings.TrimPrefix(s, kind)
	}
	return s
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
