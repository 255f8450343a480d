package calibrate

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func init() {
	add := func(name, prefix string, row func(*attentionRow, *hw.GPU) (cost.Attention, string)) {
		readers = append(readers, reader{
			name:  name,
			match: func(rel string) bool { return hasTableName(rel, prefix) },
			read: func(file string, g *hw.GPU) ([]Sample, Rejected, error) {
				return readAttention(file, g, row)
			},
		})
	}
	add("causal attention (aiconfigurator)", "context_attention_", contextRow)
	add("encoder attention (aiconfigurator)", "encoder_attention_", encoderRow)
	add("decode attention (aiconfigurator)", "generation_attention_", decodeRow)
	add("latent attention (aiconfigurator)", "context_mla_", latentRow)
	readers = append(readers, reader{
		name:  "attention of Megatron with TransformerEngine (SimuMax)",
		match: func(rel string) bool { return strings.HasSuffix(rel, ".json") && strings.Contains(rel, "simumax/") },
		read:  readSimuMaxAttention,
	})
}

// hasTableName matches a CSV file by the start of its name.
func hasTableName(rel, prefix string) bool {
	return strings.HasPrefix(path.Base(rel), prefix) && strings.HasSuffix(rel, ".csv")
}

// attentionRow is one row of a table, by column name. The first bad number is kept.
type attentionRow struct {
	column map[string]int
	record []string
	err    error
}

func (r *attentionRow) text(name string) string {
	i, ok := r.column[name]
	if !ok || i >= len(r.record) {
		r.err = fmt.Errorf("no column %q", name)
		return ""
	}
	return r.record[i]
}

func (r *attentionRow) int(name string) int64 {
	v, err := strconv.ParseInt(r.text(name), 10, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("column %s: %w", name, err)
	}
	return v
}

func (r *attentionRow) float(name string) float64 {
	v, err := strconv.ParseFloat(r.text(name), 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("column %s: %w", name, err)
	}
	return v
}

// eachRow calls f for every row of a CSV table with a header.
func eachRow(file string, f func(line int, r *attentionRow)) (err error) {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	rd := csv.NewReader(in)
	records, err := rd.ReadAll()
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	if len(records) == 0 {
		return fmt.Errorf("%s: no header", filepath.Base(file))
	}
	column := map[string]int{}
	for i, c := range records[0] {
		column[c] = i
	}
	for i, rec := range records[1:] {
		r := &attentionRow{column: column, record: rec}
		f(i+2, r)
		if r.err != nil {
			return fmt.Errorf("%s:%d: %w", filepath.Base(file), i+2, r.err)
		}
	}
	return nil
}

// readAttention reads a table whose rows are attention kernels. Rows of the same
// shape are several collections: one sample with their median.
func readAttention(file string, g *hw.GPU, row func(*attentionRow, *hw.GPU) (cost.Attention, string)) ([]Sample, Rejected, error) {
	rejected := Rejected{}
	var order []cost.Attention
	collected := map[cost.Attention][]float64{}
	lines := map[cost.Attention]int{}
	err := eachRow(file, func(line int, r *attentionRow) {
		k, why := row(r, g)
		micros := r.float("latency") * 1e3 // tables are in milliseconds
		if r.err != nil {
			return
		}
		if why == "" && !(micros > 0) {
			why = "no time"
		}
		if why != "" {
			rejected[why]++
			return
		}
		if _, seen := collected[k]; !seen {
			order = append(order, k)
			lines[k] = line
		}
		collected[k] = append(collected[k], micros)
	})
	if err != nil {
		return nil, nil, err
	}
	samples := make([]Sample, 0, len(order))
	for _, k := range order {
		t := slices.Sorted(slices.Values(collected[k]))
		s := Sample{Kernel: k, DType: attentionDType(k), Micros: (t[(len(t)-1)/2] + t[len(t)/2]) / 2, Table: filepath.Base(file), Line: lines[k]}
		if len(t) > 1 {
			s.Spread = t[len(t)-1] / t[0]
		}
		samples = append(samples, s)
	}
	return samples, rejected, nil
}

// attentionDType labels a sample: queries are bf16 in all tables.
func attentionDType(a cost.Attention) string {
	if a.KVDType == unit.FP8 {
		return "bf16_kvfp8"
	}
	return string(a.DType)
}

// tableDTypes translates aiconfigurator's names.
var tableDTypes = map[string]unit.DType{
	"bfloat16": unit.BF16, "float16": unit.FP16, "fp8": unit.FP8, "fp8_block": unit.FP8Block, "nvfp4": unit.NVFP4,
}

func contextRow(r *attentionRow, g *hw.GPU) (cost.Attention, string) {
	a := cost.Attention{
		Batch: r.int("batch_size"), SeqQ: r.int("isl"), SeqKV: r.int("isl"),
		Heads: r.int("num_heads"), KVHeads: r.int("num_key_value_heads"), HeadDim: r.int("head_dim"),
		Causal: true, DType: tableDTypes[r.text("attn_dtype")],
	}
	source := r.text("kernel_source")
	switch source {
	case "vllm_triton_attn":
		return a, "fallback kernel in Triton (head dim 192 on Blackwell), ten times slower than the others"
	case "vllm_flashinfer_trtllmdecode": // takes over where the prompt is one token
		a.Decode = true
	}
	why := setKV(&a, r)
	return a, why
}

// setKV sets the format of the KV cache, or says why the row cannot be used.
func setKV(a *cost.Attention, r *attentionRow) string {
	kv, ok := tableDTypes[r.text("kv_cache_dtype")]
	if !ok || a.DType != unit.BF16 {
		return "unknown dtype"
	}
	a.KVDType = kv
	return ""
}

func encoderRow(r *attentionRow, g *hw.GPU) (cost.Attention, string) {
	a := cost.Attention{
		Batch: r.int("batch_size"), SeqQ: r.int("isl"), SeqKV: r.int("isl"),
		Heads: r.int("num_heads"), KVHeads: r.int("num_heads"), HeadDim: r.int("head_dim"),
		DType: tableDTypes[r.text("attn_dtype")],
	}
	if a.DType != unit.BF16 {
		return a, "unknown dtype"
	}
	return a, ""
}

func decodeRow(r *attentionRow, g *hw.GPU) (cost.Attention, string) {
	a := cost.Attention{
		Batch: r.int("batch_size"), SeqQ: r.int("isl"), SeqKV: r.int("isl") + r.int("step"),
		Heads: r.int("num_heads"), KVHeads: r.int("num_key_value_heads"), HeadDim: r.int("head_dim"),
		Causal: true, Decode: true, DType: tableDTypes[r.text("attn_dtype")],
	}
	why := setKV(&a, r)
	return a, why
}

// latentRow reads multi-head latent attention. What the kernel computes follows
// from its FLOPs: on Hopper 1088 per head and causal pair reach 600 TFLOP/s, so
// it is the absorbed form (keys 576, values 512 of one latent head); on Blackwell
// that would be up to twice the peak, so keys are 192 and values 128 of every head.
func latentRow(r *attentionRow, g *hw.GPU) (cost.Attention, string) {
	a := cost.Attention{
		Batch: r.int("batch_size"), SeqQ: r.int("isl"), SeqKV: r.int("isl") + r.int("step"),
		Heads: r.int("num_heads"), KVHeads: r.int("num_heads"), HeadDim: 192, VDim: 128,
		Causal: true, DType: tableDTypes[r.text("mla_dtype")],
	}
	if g.Arch == "sm90" {
		a.KVHeads, a.HeadDim, a.VDim = 1, 576, 512
	}
	if a.SeqKV > a.SeqQ {
		return a, "prefix in the cache"
	}
	why := setKV(&a, r)
	return a, why
}

// simuMaxSystem is the part of a SimuMax system file that holds measured
// efficiencies: a share of tflops by the text of a shape.
type simuMaxSystem struct {
	Accelerator struct {
		Op map[string]struct {
			TFLOPS   float64            `json:"tflops"`
			Accurate map[string]float64 `json:"accurate_efficient_factor"`
		} `json:"op"`
	} `json:"accelerator"`
}

var simuMaxField = regexp.MustCompile(`(\w+)=(\w+)`)

// readSimuMax returns the samples of one op, in the order of their shapes. A
// system file of another GPU than the folder's (the B200's has an A100's beside
// it) gives none.
func readSimuMax(file, op string, g *hw.GPU, f func(fields map[string]string, tflops float64) (Sample, string)) ([]Sample, Rejected, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var sys simuMaxSystem
	if err := json.Unmarshal(data, &sys); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	table := sys.Accelerator.Op[op]
	rejected := Rejected{}
	if !strings.HasPrefix(filepath.Base(file), g.Name+"_") {
		rejected["system file of another GPU"] += len(table.Accurate)
		return nil, rejected, nil
	}
	var samples []Sample
	shapes := make([]string, 0, len(table.Accurate))
	for shape := range table.Accurate {
		shapes = append(shapes, shape)
	}
	slices.Sort(shapes)
	for _, shape := range shapes {
		fields := map[string]string{}
		for _, m := range simuMaxField.FindAllStringSubmatch(shape, -1) {
			fields[m[1]] = m[2]
		}
		s, why := f(fields, table.Accurate[shape]*table.TFLOPS)
		if why != "" {
			rejected[why]++
			continue
		}
		s.Table = filepath.Base(file)
		s.Line = 1 + strings.Count(string(data[:strings.Index(string(data), shape)]), "\n")
		samples = append(samples, s)
	}
	return samples, rejected, nil
}

// readSimuMaxAttention reads causal attention, forward and backward, as
// Megatron-LM runs it. SimuMax counts the FLOPs of the full square, backward 2.5
// times forward (simu_tools/efficency_test/test_fa_efficiency.py).
func readSimuMaxAttention(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	var samples []Sample
	rejected := Rejected{}
	for _, op := range []string{"sdp_fwd", "sdp_bwd"} {
		s, rej, err := readSimuMax(file, op, g, func(f map[string]string, tflops float64) (Sample, string) {
			n := func(key string) int64 { v, _ := strconv.ParseInt(f[key], 10, 64); return v }
			a := cost.Attention{
				Batch: n("batch"), SeqQ: n("seq_len"), SeqKV: n("seq_len"), Heads: n("head_num"), KVHeads: n("kv_head_num"),
				HeadDim: n("qk_head_dim"), VDim: n("v_head_dim"), Causal: true, Backward: op == "sdp_bwd", DType: unit.BF16,
			}
			if a.VDim == a.HeadDim {
				a.VDim = 0
			}
			if f["qkv_contiguous"] != "True" {
				return Sample{}, "attention on strided views"
			}
			if min(a.Batch, a.SeqQ, a.Heads, a.KVHeads, a.HeadDim) < 1 || !(tflops > 0) {
				return Sample{}, "attention shape not understood"
			}
			full := a
			full.Causal = false
			return Sample{Kernel: a, DType: attentionDType(a), Micros: full.FLOPs() / tflops / 1e6}, ""
		})
		if err != nil {
			return nil, nil, err
		}
		samples = append(samples, s...)
		for why, k := range rej {
			rejected[why] += k
		}
	}
	return samples, rejected, nil
}
