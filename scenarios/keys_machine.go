package scenarios

import (
	"orrery/models"
	"orrery/sim/hw"
)

func fixed(names ...string) func() []string { return func() []string { return names } }

var topKeys = []*field{
	{key: "name", how: "the file's name", doc: "Name of the scenario in reports.",
		at: func(s *Scenario) any { return &s.Name }},
	{key: "description", def: "", doc: "What the scenario asks, in a sentence.",
		at: func(s *Scenario) any { return &s.Description }},
	{key: "source", def: "", doc: "Where the run was published, if it was.",
		at: func(s *Scenario) any { return &s.Source }},
}

func gpuName(s string) string {
	if g, err := hw.LookupGPU(s); err == nil {
		return g.Name
	}
	return ""
}

func nodeName(s string) string {
	if n, err := hw.LookupNode(s); err == nil {
		return n.Name
	}
	return ""
}

func modelName(s string) string {
	if m, err := models.Lookup(s); err == nil {
		return m.Name
	}
	return ""
}

// Topologies of the fabric between NVLink domains.
const (
	SingleNode    = "single_node"
	RailOptimized = "rail_optimized"
	FatTree       = "fat_tree"
	NVLRack       = "nvl_rack"
)

var clusterKeys = []*field{
	{key: "cluster.gpu", required: true, catalogue: "gpus", names: hw.GPUNames, canon: gpuName, doc: "GPU, from the catalogue.",
		at: func(s *Scenario) any { return &s.Cluster.GPU }},
	{key: "cluster.gpus", auto: true, min: 1, max: 1 << 24, how: "tp x cp x pp x dp", doc: "GPUs of the job.",
		at: func(s *Scenario) any { return &s.Cluster.GPUs }},
	{key: "cluster.node", auto: true, catalogue: "nodes", names: hw.NodeNames, canon: nodeName, how: "the node the GPU is usually sold in", doc: "Server or rack tray, from the catalogue.",
		at: func(s *Scenario) any { return &s.Cluster.Node }},
	{key: "cluster.topology", auto: true, names: fixed(SingleNode, RailOptimized, FatTree, NVLRack),
		how: "single_node where one NVLink domain holds the job, nvl_rack where the domain is larger than a node, else rail_optimized",
		doc: "Fabric between NVLink domains.",
		at:  func(s *Scenario) any { return &s.Cluster.Topology }},
	{key: "cluster.profile", auto: true, how: "the GPU's, or that of the GPU it is derived from", doc: "Price profile: a name built in, or a file of `sim calibrate fit`.",
		at: func(s *Scenario) any { return &s.Cluster.Profile }},
	{key: "cluster.override.gpus_per_node", auto: true, min: 1, max: 1024, how: "the node's", doc: "GPUs of one server.",
		at: func(s *Scenario) any { return &s.Cluster.GPUsPerNode }},
	{key: "cluster.override.nvlink_domain", auto: true, min: 1, max: 1 << 16, how: "the node's", doc: "GPUs that NVLink joins.",
		at: func(s *Scenario) any { return &s.Cluster.NVLinkDomain }},
	{key: "cluster.override.nvlink_gbps", auto: true, unit: "1e9 B/s", min: 0.001, max: 1e6, how: "the GPU's", doc: "NVLink bandwidth of a GPU, in one direction.",
		at: func(s *Scenario) any { return &s.Cluster.NVLinkGBps }},
	{key: "cluster.override.nic_gbps", auto: true, unit: "1e9 B/s", min: 0.001, max: 1e6, how: "the node's", doc: "Network bandwidth of a GPU, in one direction (400 Gb/s is 50).",
		at: func(s *Scenario) any { return &s.Cluster.NICGBps }},
	{key: "cluster.override.host_gbps", auto: true, unit: "1e9 B/s", min: 0.001, max: 1e6, how: "the node's", doc: "Bandwidth between a GPU and the host's memory, each direction.",
		at: func(s *Scenario) any { return &s.Cluster.HostGBps }},
	{key: "cluster.override.hbm_gib", auto: true, unit: "GiB", min: 0.001, max: 1e6, how: "the GPU's", doc: "Device memory of a GPU.",
		at: func(s *Scenario) any { return &s.Cluster.HBMGiB }},
	{key: "cluster.override.hbm_gbps", auto: true, unit: "1e9 B/s", min: 0.001, max: 1e7, how: "the GPU's", doc: "Peak bandwidth of device memory.",
		at: func(s *Scenario) any { return &s.Cluster.HBMGBps }},
	{key: "cluster.override.power_w", auto: true, unit: "W", min: 1, max: 1e5, how: "the GPU's", doc: "Board power limit.",
		at: func(s *Scenario) any { return &s.Cluster.PowerW }},
	{key: "cluster.override.flops_factor", def: 1.0, min: 0.001, max: 1000, doc: "Peak FLOP/s of every format over the catalogue's.",
		at: func(s *Scenario) any { return &s.Cluster.FLOPsFactor }},
	{key: "cluster.override.oversubscription", def: 1.0, min: 1, max: 1000, doc: "Leaf to spine oversubscription of the fabric; 1 is none.",
		at: func(s *Scenario) any { return &s.Cluster.Oversub }},
}

// attn and experts shorten the tables of model keys.
func attn(f func(*models.Attention) any) func(*Scenario) any {
	return func(s *Scenario) any { return f(&s.Model.Attn) }
}

// experts makes the model a mixture of experts when a value is stored.
func experts(f func(*models.MoE) any) func(*Scenario) any {
	return func(s *Scenario) any {
		if s.Model.MoE == nil {
			s.Model.MoE = &models.MoE{}
		}
		return f(s.Model.MoE)
	}
}

var modelKeys = []*field{
	{key: "model.name", catalogue: "models", names: models.Names, canon: modelName, how: "the model is written inline", doc: "Model, from the catalogue; the keys below override it.",
		at: func(s *Scenario) any { return &s.Model.Name }},
	{key: "model.config", how: "none", doc: "Hugging Face `config.json`, relative to the scenario's file; instead of `name`.",
		at: func(s *Scenario) any { return new(string) }},
	{key: "model.title", how: "the model's", doc: "Name of the model in reports.",
		at: func(s *Scenario) any { return &s.Model.Title }},
	{key: "model.layers", min: 1, max: 10000, how: "the model's", doc: "Transformer layers.",
		at: func(s *Scenario) any { return &s.Model.Layers }},
	{key: "model.hidden", min: 1, max: 1 << 20, how: "the model's", doc: "Hidden size.",
		at: func(s *Scenario) any { return &s.Model.Hidden }},
	{key: "model.ffn", min: 0, max: 1 << 24, how: "the model's", doc: "Inner width of a dense MLP; 0 where no layer is dense.",
		at: func(s *Scenario) any { return &s.Model.FFN }},
	{key: "model.vocab", min: 1, max: 1 << 24, how: "the model's", doc: "Vocabulary, unpadded.",
		at: func(s *Scenario) any { return &s.Model.Vocab }},
	{key: "model.heads", min: 1, max: 1 << 16, how: "the model's", doc: "Query heads.",
		at: attn(func(a *models.Attention) any { return &a.Heads })},
	{key: "model.kv_heads", min: 1, max: 1 << 16, how: "the model's; inline: heads", doc: "Key/value heads of grouped-query attention.",
		at: attn(func(a *models.Attention) any { return &a.KVHeads })},
	{key: "model.head_dim", min: 1, max: 1 << 16, how: "the model's; inline: hidden / heads", doc: "Width of a head.",
		at: attn(func(a *models.Attention) any { return &a.HeadDim })},
	{key: "model.q_lora", min: 0, max: 1 << 20, how: "the model's", doc: "MLA: rank of the compressed query; 0 is not compressed.",
		at: attn(func(a *models.Attention) any { return &a.QLoRA })},
	{key: "model.kv_lora", min: 0, max: 1 << 20, how: "the model's", doc: "MLA: rank of the compressed key/value; 0 is no MLA.",
		at: attn(func(a *models.Attention) any { return &a.KVLoRA })},
	{key: "model.nope", min: 0, max: 1 << 16, how: "the model's", doc: "MLA: width of a head without RoPE.",
		at: attn(func(a *models.Attention) any { return &a.Nope })},
	{key: "model.rope", min: 0, max: 1 << 16, how: "the model's", doc: "MLA: width of a head with RoPE.",
		at: attn(func(a *models.Attention) any { return &a.Rope })},
	{key: "model.v_dim", min: 0, max: 1 << 16, how: "the model's", doc: "MLA: width of a value head.",
		at: attn(func(a *models.Attention) any { return &a.VDim })},
	{key: "model.window", min: 0, max: maxInt, unit: "tokens", how: "the model's", doc: "Keys that a layer with sliding-window attention sees; 0 is all.",
		at: attn(func(a *models.Attention) any { return &a.Window })},
	{key: "model.window_every", min: 0, max: 10000, how: "the model's", doc: "Which layers are windowed: 2 is every second from layer 0; 0 and 1 are all.",
		at: attn(func(a *models.Attention) any { return &a.WindowEvery })},
	{key: "model.global_every", min: 0, max: 10000, how: "the model's", doc: "Which layers are not windowed: 4 is every fourth (3, 7, ...); instead of `window_every`.",
		at: attn(func(a *models.Attention) any { return &a.GlobalEvery })},
	{key: "model.sinks", how: "the model's", doc: "A learned attention sink per head (gpt-oss).",
		at: attn(func(a *models.Attention) any { return &a.Sinks })},
	{key: "model.experts", min: 1, max: 1 << 16, moe: true, how: "the model's", doc: "Routed experts of a mixture-of-experts layer.",
		at: experts(func(m *models.MoE) any { return &m.Experts })},
	{key: "model.top_k", min: 1, max: 1 << 16, moe: true, how: "the model's", doc: "Experts that a token is sent to.",
		at: experts(func(m *models.MoE) any { return &m.TopK })},
	{key: "model.moe_ffn", min: 1, max: 1 << 24, moe: true, how: "the model's", doc: "Inner width of a routed expert.",
		at: experts(func(m *models.MoE) any { return &m.FFN })},
	{key: "model.shared_ffn", min: 0, max: 1 << 24, moe: true, how: "the model's", doc: "Inner width of all shared experts together.",
		at: experts(func(m *models.MoE) any { return &m.SharedFFN })},
	{key: "model.first_dense", min: 0, max: 10000, moe: true, how: "the model's", doc: "Leading layers that are dense.",
		at: experts(func(m *models.MoE) any { return &m.FirstDense })},
	{key: "model.moe_every", min: 0, max: 10000, moe: true, how: "the model's", doc: "Which layers after those are MoE: 2 is every second; 0 and 1 are all.",
		at: experts(func(m *models.MoE) any { return &m.Every })},
	{key: "model.router_bias", moe: true, how: "the model's", doc: "Expert biases of loss-free balancing.",
		at: experts(func(m *models.MoE) any { return &m.RouterBias })},
	{key: "model.latent", min: 0, max: 1 << 20, moe: true, how: "the model's", doc: "Width of latent experts; 0 is none.",
		at: experts(func(m *models.MoE) any { return &m.Latent })},
	{key: "model.gated", how: "the model's; inline: true", doc: "Gated MLP (SwiGLU, three matrices) or plain (two).",
		at: func(s *Scenario) any { return &s.Model.Gated }},
	{key: "model.norm", names: fixed("rms", "layer"), how: "the model's; inline: rms", doc: "Normalisation.",
		at: func(s *Scenario) any { return &s.Model.Norm }},
	{key: "model.plain_norm", how: "the model's", doc: "Layer norms without bias (MPT).",
		at: func(s *Scenario) any { return &s.Model.PlainNorm }},
	{key: "model.bias", how: "the model's", doc: "Biases on all linear layers.",
		at: func(s *Scenario) any { return &s.Model.Bias }},
	{key: "model.qkv_bias", how: "the model's", doc: "Biases on the query, key and value projections.",
		at: func(s *Scenario) any { return &s.Model.QKVBias }},
	{key: "model.qk_norm", how: "the model's", doc: "Norms on queries and keys.",
		at: func(s *Scenario) any { return &s.Model.QKNorm }},
	{key: "model.tied", how: "the model's", doc: "The output layer shares the embedding.",
		at: func(s *Scenario) any { return &s.Model.Tied }},
	{key: "model.positions", min: 0, max: maxInt, how: "the model's", doc: "Learned position embeddings; 0 with RoPE or ALiBi.",
		at: func(s *Scenario) any { return &s.Model.Positions }},
	{key: "model.mtp", min: 0, max: 100, how: "the model's", doc: "Multi-token-prediction layers, not counted in `layers`.",
		at: func(s *Scenario) any { return &s.Model.MTP }},
}
