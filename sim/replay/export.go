// Package replay hands one pipeline rank's share of a simulated step to a real
// GPU, and holds what that GPU measured against what was simulated. An Export
// says what runs, in which order, and what the simulator predicts; kernels/replay.py
// runs it with PyTorch and writes a Result; Compare joins the two.
package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Format and Version name the export's format; a reader refuses others.
const (
	Format  = "orrery-replay"
	Version = 1
)

// Export is one pipeline rank's share of a step. Times are integers in
// picoseconds, so that sums are exact.
type Export struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Digest  string `json:"digest"` // SHA-256 of what runs, in hex: see work

	Name     string `json:"name"`
	Scenario string `json:"scenario"`
	GPU      string `json:"gpu"`
	Profile  string `json:"profile"`
	Schedule string `json:"schedule"`
	Rank     int    `json:"pipeline_rank"`

	Model    Model    `json:"model"`
	Settings Settings `json:"settings"`
	Chunks   []Chunk  `json:"chunks"`
	Blocks   []Block  `json:"blocks"`
	Passes   []Pass   `json:"passes"`
	// Messages are the rank's ops on other lanes than compute: on one GPU they are
	// replaced by nothing, and what they would bring is made up.
	Messages []Message `json:"messages"`
	Memory   Memory    `json:"memory"`
	StepPS   int64     `json:"step_ps"`   // of the simulated job, bubbles and messages included
	ReplayPS int64     `json:"replay_ps"` // sum over passes
}

// Model is the shape of a layer as one tensor-parallel rank holds it.
type Model struct {
	Name      string  `json:"name"`
	Hidden    int64   `json:"hidden"`
	Heads     int64   `json:"heads"`
	KVHeads   int64   `json:"kv_heads"`
	HeadDim   int64   `json:"head_dim"`
	FFN       int64   `json:"ffn"`
	Vocab     int64   `json:"vocab"` // padded, of this rank
	Norm      string  `json:"norm"`
	Gated     bool    `json:"gated"`
	QKNorm    bool    `json:"qk_norm"`
	Window    int64   `json:"window"`
	MLA       bool    `json:"mla"`
	QLoRA     int64   `json:"q_lora"`
	KVLoRA    int64   `json:"kv_lora"`
	NopeDim   int64   `json:"nope_dim"`
	RopeDim   int64   `json:"rope_dim"`
	VDim      int64   `json:"v_dim"`
	Experts   int64   `json:"experts"` // of the whole model
	Local     int64   `json:"local_experts"`
	TopK      int64   `json:"top_k"`
	MoEFFN    int64   `json:"moe_ffn"`
	SharedFFN int64   `json:"shared_ffn"`
	Rows      []int64 `json:"rows_by_expert"` // tokens that reach each local expert in a pass
	Routing   string  `json:"routing"`        // even or zipf
}

// Settings are the sizes of a pass and the behaviour of the framework.
type Settings struct {
	DType             string   `json:"dtype"`
	MicroBatch        int64    `json:"micro_batch"`
	SequenceTokens    int64    `json:"sequence_tokens"`
	Slices            int64    `json:"slices"`
	PassTokens        int64    `json:"pass_tokens"` // in tensor-parallel regions
	BetweenTokens     int64    `json:"between_tokens"`
	TP                int64    `json:"tp"`
	SequenceParallel  bool     `json:"sequence_parallel"`
	Recompute         string   `json:"recompute"` // none, selective, full
	RecomputeParts    []string `json:"recompute_parts"`
	GradDType         string   `json:"grad_dtype"`
	FusedKernels      bool     `json:"fused_kernels"`
	FusedCrossEntropy bool     `json:"fused_cross_entropy"`
	FlashAttention2   bool     `json:"flash_attention_2"`
	HostPerLaunchPS   int64    `json:"host_per_launch_ps"`
}

// Chunk is one stage that the rank holds.
type Chunk struct {
	Stage      int32  `json:"stage"`
	FirstLayer int64  `json:"first_layer"`
	Layers     int64  `json:"layers"`
	MoE        []bool `json:"moe"`         // by layer
	KeepsInput []bool `json:"keeps_input"` // by layer: fully recomputed
	Embedding  bool   `json:"embedding"`
	Head       bool   `json:"head"`
}

// Block is a sequence of kernels that several passes run.
type Block struct {
	Name string `json:"name"`
	Ops  []Op   `json:"ops"`
}

// Op is one kernel with its prediction.
type Op struct {
	Name      string `json:"name"`
	Class     string `json:"class"`
	Lane      string `json:"lane"` // compute, or comm: listed, not run
	Kernel    Kernel `json:"kernel"`
	Recompute bool   `json:"recompute"`
	Wgrad     bool   `json:"wgrad"`
	Launches  int64  `json:"launches"`
	// StartPS is within the block; InStepPS is its time in the step, in pieces
	// where it overlaps with messages; AlonePS that of the kernel whole.
	StartPS  int64   `json:"start_ps"`
	InStepPS int64   `json:"in_step_ps"`
	AlonePS  int64   `json:"alone_ps"`
	RelError float64 `json:"rel_error"` // half width of the 90 % interval, relative
	Source   string  `json:"source"`
	Note     string  `json:"note"`
}

// Use is a block in a pass.
type Use struct {
	Block int   `json:"block"`
	Layer int64 `json:"layer"` // of the model; -1 for embedding, head and optimizer
}

// Pass is one slot of the schedule on the compute lane. The five parts add up to
// DurationPS; EndPS less StartPS is more where a pass waits between its parts.
type Pass struct {
	Ops        []int32 `json:"ops"`  // of the simulated program
	Kind       string  `json:"kind"` // F, B, I, W, optimizer
	Stage      int32   `json:"stage"`
	Microbatch int32   `json:"microbatch"`
	Slice      int32   `json:"slice"`
	Blocks     []Use   `json:"blocks"`

	StartPS     int64 `json:"start_ps"`
	EndPS       int64 `json:"end_ps"`
	DurationPS  int64 `json:"duration_ps"`
	ComputePS   int64 `json:"compute_ps"`
	ExposedPS   int64 `json:"exposed_comm_ps"`
	ContendedPS int64 `json:"contended_ps"`
	HostPS      int64 `json:"host_ps"`
	Launches    int64 `json:"launches"`
	// ReplayPS is what a GPU without neighbours should take: the kernels alone, or
	// their launches where those take longer.
	ReplayPS    int64   `json:"replay_ps"`
	RelError    float64 `json:"rel_error"`
	BeforeBytes int64   `json:"before_bytes"` // activations from its start on
	AfterBytes  int64   `json:"after_bytes"`  // and from its end on
}

// Message is an op of another lane.
type Message struct {
	Op         int32    `json:"op"`
	Lane       string   `json:"lane"`
	Kind       string   `json:"kind"`
	Kernels    []Kernel `json:"kernels"`
	StartPS    int64    `json:"start_ps"`
	DurationPS int64    `json:"duration_ps"`
}

// Memory is what the rank holds. Peak and curve are the simulator's; the replay
// holds neither optimizer states nor buffers of messages.
type Memory struct {
	Ledger          []Item  `json:"ledger"`
	HeldBytes       int64   `json:"held_bytes"` // under the whole curve
	Curve           []Point `json:"curve"`
	Tensors         []Lived `json:"activations"`
	PeakBytes       int64   `json:"peak_bytes"` // with logits and workspace
	ReplayPeakBytes int64   `json:"replay_peak_bytes"`
}

// Item is one entry of the ledger.
type Item struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Point is what the rank holds from a time on.
type Point struct {
	AtPS  int64 `json:"at_ps"`
	Bytes int64 `json:"bytes"`
}

// Lived is memory that comes with one pass or goes with it.
type Lived struct {
	Op      int32 `json:"op"` // of the simulated program
	AtStart bool  `json:"at_start"`
	Bytes   int64 `json:"bytes"` // negative where it is given back
	AtPS    int64 `json:"at_ps"`
}

// work is what a GPU runs: passes, their kernels and sizes. Prices, memory and the
// GPU that they are of are left out, so that a result can be held against the
// prices of another day and GPU.
func (e *Export) work() *Export {
	w := &Export{Format: e.Format, Version: e.Version, Name: e.Name, Rank: e.Rank, Model: e.Model, Settings: e.Settings, Chunks: e.Chunks}
	w.Settings.FlashAttention2, w.Settings.HostPerLaunchPS = false, 0
	for _, b := range e.Blocks {
		ops := make([]Op, len(b.Ops))
		for i, op := range b.Ops {
			ops[i] = Op{Name: op.Name, Lane: op.Lane, Kernel: op.Kernel, Recompute: op.Recompute, Wgrad: op.Wgrad}
			ops[i].Kernel.Text, ops[i].Kernel.Op = "", "" // how it is priced; its sizes stay
		}
		w.Blocks = append(w.Blocks, Block{b.Name, ops})
	}
	for _, p := range e.Passes {
		w.Passes = append(w.Passes, Pass{Kind: p.Kind, Stage: p.Stage, Microbatch: p.Microbatch, Slice: p.Slice, Blocks: p.Blocks})
	}
	return w
}

func (e *Export) digest() (string, error) {
	b, err := json.Marshal(e.work())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Write writes the export as JSON.
func (e *Export) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(e)
}

// ReadExport reads an export; unknown fields, another version and changed
// content are errors.
func ReadExport(r io.Reader) (*Export, error) {
	var e Export
	if err := strict(r, &e); err != nil {
		return nil, err
	}
	if e.Format != Format || e.Version != Version {
		return nil, fmt.Errorf("format %q version %d, want %q version %d", e.Format, e.Version, Format, Version)
	}
	d, err := e.digest()
	if err != nil {
		return nil, err
	}
	if d != e.Digest {
		return nil, fmt.Errorf("digest %.12s… does not match the content (%.12s…): the export was changed", e.Digest, d)
	}
	return &e, e.check()
}

// check refuses references that lead nowhere.
func (e *Export) check() error {
	for i, p := range e.Passes {
		for _, u := range p.Blocks {
			if u.Block < 0 || u.Block >= len(e.Blocks) {
				return fmt.Errorf("pass %d: block %d, there are %d", i, u.Block, len(e.Blocks))
			}
		}
	}
	return nil
}

// maxDocument bounds what is read, in bytes.
const maxDocument = 1 << 30

// strict decodes one JSON document without unknown fields and nothing after it.
func strict(r io.Reader, v any) error {
	data, err := io.ReadAll(io.LimitReader(r, maxDocument))
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("not the expected JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON document")
	}
	return nil
}
