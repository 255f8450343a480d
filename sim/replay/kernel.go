package replay

import "orrery/sim/cost"

// Kernel is a kernel with its shape; fields that its kind does not have are absent.
type Kernel struct {
	Kind string `json:"kind"`
	Text string `json:"text"` // as `sim price` takes it

	M      int64  `json:"m,omitempty"`
	N      int64  `json:"n,omitempty"`
	K      int64  `json:"k,omitempty"`
	DType  string `json:"dtype,omitempty"`
	Layout string `json:"layout,omitempty"`
	Groups int64  `json:"groups,omitempty"`
	Tokens int64  `json:"tokens,omitempty"`

	Batch    int64 `json:"batch,omitempty"`
	SeqQ     int64 `json:"q_tokens,omitempty"`
	SeqKV    int64 `json:"kv_tokens,omitempty"`
	Heads    int64 `json:"heads,omitempty"`
	KVHeads  int64 `json:"kv_heads,omitempty"`
	HeadDim  int64 `json:"head_dim,omitempty"`
	VDim     int64 `json:"v_dim,omitempty"`
	Window   int64 `json:"window,omitempty"`
	Causal   bool  `json:"causal,omitempty"`
	Backward bool  `json:"backward,omitempty"`

	Op         string `json:"op,omitempty"`
	ReadBytes  int64  `json:"read_bytes,omitempty"`
	WriteBytes int64  `json:"write_bytes,omitempty"`

	Bytes int64 `json:"bytes,omitempty"` // of a message
	Ranks int64 `json:"ranks,omitempty"`
}

func kernelOf(k cost.Kernel) Kernel {
	out := Kernel{Kind: string(k.Family()), Text: ""}
	if s, ok := k.(interface{ String() string }); ok {
		out.Text = s.String()
	}
	switch k := k.(type) {
	case cost.GEMM:
		out.M, out.N, out.K, out.DType, out.Layout, out.Batch = k.M, k.N, k.K, string(k.DType), string(k.Layout), k.Batch
	case cost.GroupedGEMM:
		out.Groups, out.Tokens, out.N, out.K, out.DType, out.Layout = k.Groups, k.Tokens, k.N, k.K, string(k.DType), string(k.Layout)
	case cost.Attention:
		out.Batch, out.SeqQ, out.SeqKV, out.Heads, out.KVHeads, out.HeadDim, out.VDim = k.Batch, k.SeqQ, k.SeqKV, k.Heads, k.KVHeads, k.HeadDim, k.VDim
		out.Window, out.Causal, out.Backward, out.DType = k.Window, k.Causal, k.Backward, string(k.DType)
	case cost.Memory:
		out.Op, out.ReadBytes, out.WriteBytes = k.Op, k.Read, k.Write
	case cost.Collective:
		out.Kind, out.Bytes, out.Ranks = string(k.Kind), k.Bytes, k.Group.Ranks
	case cost.P2P:
		out.Bytes, out.Ranks = k.Bytes, 2
	case cost.ExpertExchange:
		out.Kind, out.Tokens, out.Ranks, out.Bytes = "ep_"+k.Op, k.Tokens, k.Group.Ranks, int64(k.HBMBytes())
	}
	return out
}
