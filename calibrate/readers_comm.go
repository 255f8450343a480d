package calibrate

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"orrery/sim/cost"
	"orrery/sim/hw"
)

func init() {
	readers = append(readers,
		reader{name: "nccl-tests in one domain (aiconfigurator)", match: tableNamed("nccl_", "_nccl_perf.csv"), read: readNCCL},
		reader{name: "vLLM's custom all-reduce (aiconfigurator)", match: tableNamed("vllm_", "_custom_allreduce_perf.csv"), read: readCustomAllReduce},
		reader{name: "send and receive (vidur)", match: tableNamed("network__", "__send_recv.csv"), read: readVidurSend},
		reader{name: "all-reduce (vidur)", match: tableNamed("network__", "__all_reduce.csv"), read: rejectVidurAllReduce},
	)
}

// tableNamed matches files by both ends of their names.
func tableNamed(prefix, suffix string) func(rel string) bool {
	return func(rel string) bool {
		name := path.Base(rel)
		return strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix)
	}
}

// collections gathers the rows of one table by kernel: rows of the same kernel
// and format are several collections, of which the median counts.
type collections struct {
	table    string
	rejected Rejected
	order    []collected
	micros   map[collected][]float64
	line     map[collected]int
}

type collected struct {
	kernel cost.Kernel
	dtype  string
}

func newCollections(file string) *collections {
	return &collections{table: filepath.Base(file), rejected: Rejected{},
		micros: map[collected][]float64{}, line: map[collected]int{}}
}

func (c *collections) add(k cost.Kernel, dtype string, micros float64, line int) {
	if !(micros > 0) {
		c.rejected["no time"]++
		return
	}
	key := collected{k, dtype}
	if _, seen := c.line[key]; !seen {
		c.order = append(c.order, key)
		c.line[key] = line
	}
	c.micros[key] = append(c.micros[key], micros)
}

func (c *collections) samples() []Sample {
	out := make([]Sample, 0, len(c.order))
	for _, key := range c.order {
		t := slices.Sorted(slices.Values(c.micros[key]))
		s := Sample{Kernel: key.kernel, DType: key.dtype, Micros: (t[(len(t)-1)/2] + t[len(t)/2]) / 2, Table: c.table, Line: c.line[key]}
		if len(t) > 1 {
			s.Spread = t[len(t)-1] / t[0]
		}
		out = append(out, s)
	}
	return out
}

// ncclOps are nccl-tests' names.
var ncclOps = map[string]cost.CollectiveKind{
	"all_reduce": cost.AllReduce, "all_gather": cost.AllGather, "reduce_scatter": cost.ReduceScatter, "alltoall": cost.AllToAll,
}

// commElement is the size of an element of a communication table, in bytes.
var commElement = map[string]int64{"half": 2, "bfloat16": 2, "float16": 2, "int8": 1}

// readNCCL reads nccl-tests sweeps: sizes are in elements of nccl-tests' "size"
// (the gathered buffer of all-gather, the input of reduce-scatter and
// all-to-all), latencies in milliseconds. Integers only matter where NCCL adds.
func readNCCL(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	out := newCollections(file)
	err := eachRow(file, func(line int, r *attentionRow) {
		kind, known := ncclOps[r.text("op_name")]
		dtype, n := r.text("nccl_dtype"), r.int("num_gpus")
		size, ok := commElement[dtype]
		if !known || !ok {
			out.rejected["unknown operation or format"]++
			return
		}
		out.add(cost.Collective{
			Kind: kind, Bytes: size * r.int("message_size"), Group: cost.Group{Ranks: n, PerDomain: n},
			Integer: dtype == "int8" && (kind == cost.AllReduce || kind == cost.ReduceScatter),
		}, dtype, r.float("latency")*1e3, line)
	})
	return out.samples(), out.rejected, err
}

// readCustomAllReduce reads vLLM's own all-reduce, replayed from a CUDA graph or
// launched one by one.
func readCustomAllReduce(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	out := newCollections(file)
	err := eachRow(file, func(line int, r *attentionRow) {
		dtype, n := r.text("allreduce_dtype"), r.int("num_gpus")
		size, ok := commElement[dtype]
		if !ok {
			out.rejected["unknown format"]++
			return
		}
		out.add(cost.Collective{
			Kind: cost.AllReduce, Bytes: size * r.int("message_size"), Group: cost.Group{Ranks: n, PerDomain: n}, Custom: r.text("backend"),
		}, dtype, r.float("latency")*1e3, line)
	})
	return out.samples(), out.rejected, err
}

// vidurNICGBps is the rate of the NICs of vidur's machines where it is known: a
// DGX H100 has one of 400 Gb/s a GPU. Its A100 machines reach 7.8 GB/s a pair, no
// DGX's 200 Gb/s.
var vidurNICGBps = map[string]float64{"h100_dgx": 50}

// readVidurSend reads sends between two GPUs: of one node, or of two nodes.
func readVidurSend(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	machine := strings.Split(filepath.Base(file), "__")[1]
	out := newCollections(file)
	err := eachRow(file, func(line int, r *attentionRow) {
		k := cost.P2P{Bytes: r.int("size")}
		switch {
		case strings.Contains(machine, "pairwise"):
			out.rejected["GPUs joined in pairs by NVLink bridges, no NVSwitch machine"]++
			return
		case r.int("devices_per_node") == 1 && vidurNICGBps[machine] == 0:
			out.rejected["a network whose rate is not stated, slower than the machine's NICs"]++
			return
		case r.int("devices_per_node") == 1:
			k.NICGBps = vidurNICGBps[machine]
		}
		out.add(k, "bf16", r.float("time_stats.send_recv.median")*1e3, line)
	})
	return out.samples(), out.rejected, err
}

// rejectVidurAllReduce counts the rows of an older NCCL's all-reduce: its times of
// small messages hold the launch from the host, its bandwidth stays below that of
// the nccl-tests sweeps (data README 3.2), and its network is not stated.
func rejectVidurAllReduce(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	rejected := Rejected{}
	err := eachRow(file, func(int, *attentionRow) {
		rejected["an older NCCL with launches from the host; nccl-tests sweeps supersede it"]++
	})
	if err != nil {
		return nil, nil, fmt.Errorf("vidur all-reduce: %w", err)
	}
	return nil, rejected, nil
}
