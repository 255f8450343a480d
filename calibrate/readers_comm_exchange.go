package calibrate

import (
	"strings"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func init() {
	readers = append(readers,
		reader{name: "DeepEP, normal kernels (aiconfigurator)", match: tableNamed("sglang_", "_wideep_deepep_normal_perf.csv"), read: readDeepEP},
		reader{name: "DeepEP, low-latency kernels (aiconfigurator)", match: tableNamed("sglang_", "_wideep_deepep_ll_perf.csv"), read: readDeepEPLowLatency},
		reader{name: "TensorRT-LLM's all-to-all (aiconfigurator)", match: tableNamed("trtllm_", "_trtllm_alltoall_perf.csv"), read: readTRTLLM},
	)
}

// deepEPNICGBps is one 400 Gb/s NIC a GPU, as DeepEP's nodes have.
const deepEPNICGBps = 50

// Formats of DeepEP's benchmark: dispatch in fp8 with block scales (only then do
// its rates stay below NVLink's peak), combine in bf16.
var deepEPFormats = []struct {
	op    string
	dtype unit.DType
}{{"dispatch", unit.FP8Block}, {"combine", unit.BF16}}

// deepEPExchange reads what the two tables of DeepEP share. It says why a row
// cannot be used: H200's table repeats rows of H100.
func deepEPExchange(r *attentionRow, g *hw.GPU) (cost.ExpertExchange, string) {
	nodes := r.int("node_num")
	perNode := int64(8)
	if strings.HasPrefix(g.Name, "gb") {
		perNode = 4 // a tray
	}
	e := cost.ExpertExchange{
		Tokens: r.int("num_token"), Hidden: r.int("hidden_size"), TopK: r.int("num_topk"), Experts: r.int("num_experts"),
		Group: cost.Group{Ranks: nodes * perNode, PerDomain: perNode},
	}
	if nodes > 1 {
		e.NICGBps = deepEPNICGBps
	}
	if !strings.Contains(strings.ToLower(r.text("device")), g.Name) {
		return e, "another GPU's row"
	}
	return e, ""
}

// readDeepEP reads DeepEP's normal kernels: notification and transfer run one
// after the other and count together.
func readDeepEP(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	const straggler = 200 // microseconds; notifications take 30-100
	out := newCollections(file)
	err := eachRow(file, func(line int, r *attentionRow) {
		e, why := deepEPExchange(r, g)
		if why != "" {
			out.rejected[why] += len(deepEPFormats)
			return
		}
		e.Backend = "deepep"
		for _, f := range deepEPFormats {
			e.Op, e.DType, e.SMs = f.op, f.dtype, r.int(f.op+"_sms")
			transfer, notify := r.float(f.op+"_transmit_us"), r.float(f.op+"_notify_us")
			if notify > straggler && notify > transfer {
				out.rejected["the notification waited for a straggler"]++
				continue
			}
			out.add(e, string(f.dtype), transfer+notify, line)
		}
	})
	return out.samples(), out.rejected, err
}

// readDeepEPLowLatency reads DeepEP's low-latency kernels (microseconds).
func readDeepEPLowLatency(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	out := newCollections(file)
	err := eachRow(file, func(line int, r *attentionRow) {
		e, why := deepEPExchange(r, g)
		if why != "" {
			out.rejected[why] += len(deepEPFormats)
			return
		}
		e.Backend = "deepep_ll"
		for _, f := range deepEPFormats {
			e.Op, e.DType = f.op, f.dtype
			out.add(e, string(f.dtype), r.float(f.op+"_avg_t_us"), line)
		}
	})
	return out.samples(), out.rejected, err
}

// readTRTLLM reads TensorRT-LLM's exchange inside one NVL72 (milliseconds).
func readTRTLLM(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	backends := map[string]string{"NVLinkOneSided": "nvlink_one_sided", "NVLinkTwoSided": "nvlink_two_sided"}
	out := newCollections(file)
	err := eachRow(file, func(line int, r *attentionRow) {
		dtype, ok := tableDTypes[r.text("moe_dtype")]
		backend := backends[r.text("kernel_source")]
		n := r.int("moe_ep_size")
		switch {
		case !ok || backend == "":
			out.rejected["unknown kernel or format"]++
			return
		case r.text("distribution") != "balanced":
			out.rejected["routing is not balanced"]++
			return
		}
		out.add(cost.ExpertExchange{
			Op: strings.TrimPrefix(r.text("op_name"), "alltoall_"), Backend: backend,
			Tokens: r.int("num_tokens"), Hidden: r.int("hidden_size"), TopK: r.int("topk"), Experts: r.int("num_experts"),
			Group: cost.Group{Ranks: n, PerDomain: n}, DType: dtype,
		}, string(dtype), r.float("latency")*1e3, line)
	})
	return out.samples(), out.rejected, err
}
