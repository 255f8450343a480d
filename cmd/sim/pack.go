package main

import (
	"fmt"
	"os"
	"time"

	"orrery/schedules/packing"
	"orrery/sim/unit"
)

// packCmd is `sim pack`: samples of unequal length into the units of a pipeline, by
// one packer or by all, timed by one model and held against a lower bound.
type packCmd struct {
	Algorithm    string   `default:"slimpack" help:"A packer of sim list packers, or all."`
	Lengths      string   `placeholder:"FILE" help:"Lengths in tokens: one a line, a column of a .csv, or a key of a .jsonl."`
	Column       string   `help:"Column of the .csv, or key of the .jsonl (length)."`
	Distribution string   `help:"A distribution of sim list distributions, web where there is no file."`
	Samples      int      `help:"Samples to draw (1024), or the most to take from the file (all)."`
	Seed         uint64   `default:"1" help:"Seed of the distribution."`
	DP           int      `name:"dp" default:"8" help:"Data-parallel replicas."`
	PP           int      `name:"pp" default:"4" help:"Pipeline stages."`
	CP           int      `name:"cp" default:"4" help:"Context-parallel ranks of a replica."`
	TP           int      `name:"tp" default:"1" help:"Tensor-parallel ranks, which share every cost."`
	Context      int      `default:"131072" help:"Longest sample, and the tokens of a row of classic packing; longer samples are cut."`
	PerStep      int      `name:"tokens-per-step" help:"Tokens of a step; absent, all samples are one step."`
	Model        string   `default:"llama3-8b" help:"Model that costs and memory are derived from, on H100s."`
	Cost         []string `sep:"none" placeholder:"KEY=VALUE" help:"A cost of a stage, in place of the derived one; a wrong key lists them all."`
	Memory       float64  `name:"memory-tokens" help:"Most tokens whose activations a rank may hold; absent, what 1F1B over rows of the context needs."`
	Ablation     bool     `help:"Leave out SlimPack's mechanisms, one at a time."`
	JSON         bool     `name:"json" help:"Print one JSON document and nothing else."`
}

// packReport is what `sim pack --json` prints.
type packReport struct {
	GPUs         int           `json:"gpus"`
	DP           int           `json:"dp"`
	PP           int           `json:"pp"`
	CP           int           `json:"cp"`
	TP           int           `json:"tp"`
	Context      int           `json:"context"`
	Model        string        `json:"model"`
	Steps        int           `json:"steps"`
	MemoryTokens float64       `json:"memory_tokens"` // limit of a rank
	TokenBytes   float64       `json:"token_bytes"`   // activations of a token on a rank
	Cost         packing.Cost  `json:"cost"`
	Lengths      packLengths   `json:"lengths"`
	Results      []*packResult `json:"results"`
}

// packLengths is what was packed.
type packLengths struct {
	Source     string `json:"source"`
	CutSamples int    `json:"cut_samples"` // that were longer than the context
	CutTokens  int    `json:"cut_tokens"`  // which they lost
	packing.Stats
}

// packResult is one packer's plan. SolveMS is the only number that depends on the
// clock.
type packResult struct {
	Algorithm string `json:"algorithm"`
	packing.Metrics
	TokensPerS float64 `json:"tokens_per_s"`
	SolveMS    float64 `json:"solve_ms"` // packing, validating and timing all steps

	describe string
}

func (c *packCmd) Run(std *streams) error {
	packers, err := c.packers()
	if err != nil {
		return badInput(err)
	}
	job, err := c.job()
	if err != nil {
		return badInput(err)
	}
	lengths, about, err := c.lengths()
	if err != nil {
		return badInput(err)
	}
	job.Lengths = lengths
	if err := job.Check(); err != nil {
		return badInput(err)
	}
	steps := packing.Steps(lengths, c.PerStep)
	r := &packReport{GPUs: c.DP * c.PP * c.CP * c.TP, DP: c.DP, PP: c.PP, CP: c.CP, TP: c.TP, Context: c.Context, Model: c.Model,
		Steps: len(steps), MemoryTokens: job.Memory(), TokenBytes: job.Footprint.Activation, Cost: job.Cost, Lengths: about}
	for _, p := range packers {
		result, err := runPacker(p, job, lengths, steps)
		if err != nil {
			return badInput(fmt.Errorf("%s: %w", p.name, err))
		}
		r.Results = append(r.Results, result)
	}
	if c.JSON {
		err = writeJSON(std.out, r)
	} else {
		err = c.print(std, r)
	}
	if err != nil {
		return err
	}
	if len(r.Results) == 1 && !r.Results[0].Fits {
		return checkFailed(fmt.Errorf("a rank holds %.0f tokens at its peak, the limit is %.0f; use a longer pipeline, more --cp, or a packer that cuts samples (slimpack, chunkflow)",
			r.Results[0].PeakTokens, r.MemoryTokens))
	}
	return nil
}

// namedPacker is a packer under the name that the report gives it.
type namedPacker struct {
	name string
	packing.Packer
}

// packers are those that are asked for.
func (c *packCmd) packers() ([]namedPacker, error) {
	var out []namedPacker
	if c.Algorithm == "all" {
		if c.Ablation {
			return nil, fmt.Errorf("--ablation is of slimpack, not of all packers")
		}
		for _, p := range packing.All() {
			out = append(out, namedPacker{p.Name(), p})
		}
		return out, nil
	}
	p, err := packing.Lookup(c.Algorithm)
	if err != nil {
		return nil, fmt.Errorf("--algorithm: %w", err)
	}
	if !c.Ablation {
		return []namedPacker{{p.Name(), p}}, nil
	}
	if _, slim := p.(packing.SlimPack); !slim {
		return nil, fmt.Errorf("--ablation is of slimpack, not of %s", p.Name())
	}
	for _, v := range packing.Ablation() {
		out = append(out, namedPacker{v.Name, v.Packs})
	}
	return out, nil
}

// lengths reads or draws the samples and cuts them at the context.
func (c *packCmd) lengths() ([]int, packLengths, error) {
	var about packLengths
	fail := func(err error) ([]int, packLengths, error) { return nil, about, err }
	if c.Samples < 0 || c.PerStep < 0 {
		return fail(fmt.Errorf("--samples %d, --tokens-per-step %d: must be 0 (absent) or more", c.Samples, c.PerStep))
	}
	if c.Lengths == "" {
		if c.Column != "" {
			return fail(fmt.Errorf("--column is of a file, name one with --lengths"))
		}
		name, n := c.Distribution, c.Samples
		if name == "" {
			name = "web"
		}
		if n == 0 {
			n = 1024
		}
		lengths, err := packing.Draw(name, n, c.Context, c.Seed)
		if err != nil {
			return fail(fmt.Errorf("--distribution: %w", err))
		}
		about.Source = fmt.Sprintf("%s, seed %d", name, c.Seed)
		about.Stats = packing.Describe(lengths)
		return lengths, about, nil
	}
	if c.Distribution != "" {
		return fail(fmt.Errorf("--lengths and --distribution exclude each other"))
	}
	f, err := os.Open(c.Lengths)
	if err != nil {
		return fail(fmt.Errorf("--lengths: %w", err))
	}
	lengths, err := packing.ReadLengths(f, c.Lengths, c.Column)
	_ = f.Close() // nothing was written
	if err != nil {
		return fail(err)
	}
	if c.Samples > 0 {
		lengths = lengths[:min(c.Samples, len(lengths))]
	}
	about.Source = c.Lengths
	lengths, about.CutSamples, about.CutTokens = packing.Truncate(lengths, max(1, c.Context))
	about.Stats = packing.Describe(lengths)
	return lengths, about, nil
}

// runPacker packs all steps.
func runPacker(p namedPacker, job packing.Job, lengths []int, steps [][]int) (*packResult, error) {
	start := time.Now()
	metrics, err := packing.Run(p.Packer, job, lengths, steps)
	if err != nil {
		return nil, err
	}
	took := unit.Seconds(time.Since(start).Seconds())
	total := packing.Total(metrics)
	tokens := 0
	for _, l := range lengths {
		tokens += l
	}
	return &packResult{Algorithm: p.name, Metrics: *total, TokensPerS: float64(tokens) / total.StepS, SolveMS: took.Seconds() * 1e3, describe: p.Describe()}, nil
}
