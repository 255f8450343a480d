package net

// Constants of NCCL 2.30.7's cost model (src/tuning/cost_model.cc, nvls.cc;
// NVIDIA/nccl @5067397c). Latencies in microseconds, bandwidths in GB/s.

// Algo is an NCCL algorithm.
type Algo int

// The algorithms that are modelled. CollNet needs a SHARP network and is not.
const (
	Tree Algo = iota
	Ring
	NVLS
	NVLSTree
	PAT
	numAlgos
)

func (a Algo) String() string {
	if a < 0 || a >= numAlgos {
		return "?"
	}
	return [numAlgos]string{"Tree", "Ring", "NVLS", "NVLSTree", "PAT"}[a]
}

// Proto is an NCCL protocol.
type Proto int

// The protocols: 8-byte lines with flags, 128-byte lines with flags, plain.
const (
	LL Proto = iota
	LL128
	Simple
	numProtos
)

func (p Proto) String() string {
	if p < 0 || p >= numProtos {
		return "?"
	}
	return [numProtos]string{"LL", "LL128", "Simple"}[p]
}

// Generation is a GPU generation as NCCL's tables index it.
type Generation int

// The generations.
const (
	Volta Generation = iota
	Ampere
	Hopper
	Blackwell
	numGenerations
)

var baseLatencyUs = [numAlgos][numProtos]float64{
	Tree: {6.8, 14, 8.4},
	Ring: {6.6, 14, 8.4},
	PAT:  {8, 8, 8},
}

// Latency of one hop, by where it goes.
var (
	nvlinkLatencyUs = [numAlgos][numProtos]float64{
		Tree: {.6, 1.25, 4}, Ring: {.6, 1.9, 3.4}, NVLS: {0, 0, 25}, NVLSTree: {0, 0, 25}, PAT: {0, 0, 4},
	}
	pcieLatencyUs = [numAlgos][numProtos]float64{
		Tree: {1, 1.9, 4}, Ring: {1, 2.5, 5.7}, PAT: {0, 0, 4},
	}
	netLatencyUs = [numAlgos][numProtos]float64{
		Tree: {5, 8.5, 14}, Ring: {2.7, 4, 14}, NVLS: {0, 0, 18}, NVLSTree: {0, 0, 20.9}, PAT: {0, 0, 14},
	}
)

// byScale is a constant for 1, 2 and more nodes.
type byScale [3]float64

func (b byScale) at(nodes int) float64 { return b[min(nodes, 3)-1] }

var (
	// Rows are GPU generations on one node; between nodes the row is the CPU's,
	// 0 for Intel and 1 for AMD.
	llMaxGBps = [numGenerations]byScale{
		Volta: {39, 39, 20.4}, Ampere: {87.7, 22.5, 19}, Hopper: {141, 45, 35}, Blackwell: {282, 90, 70},
	}
	ringLL128PerChannel = [numGenerations]byScale{
		Volta: {20, 20, 20}, Ampere: {20, 20, 20}, Hopper: {36.7, 36.7, 36.7}, Blackwell: {40, 40, 40},
	}
	treeLL128PerChannel = [numGenerations]byScale{
		Volta: {20, 20, 20}, Ampere: {20, 20, 20}, Hopper: {36.7, 36.7, 29}, Blackwell: {55.6, 31.67, 20},
	}
	treePerChannel = [numGenerations]byScale{
		Volta: {26.5, 18.5, 10}, Ampere: {24, 23.6, 17.8}, Hopper: {38.7, 41.4, 36}, Blackwell: {70, 42.8, 24},
	}
	nvlsTreePerChannel = [numGenerations]byScale{
		Hopper: {0, 57.7, 45.5}, Blackwell: {0, 96, 80},
	}
	nvlsEfficiency = [numGenerations]float64{Hopper: .85, Blackwell: .74}
)

// treeCorrection scales the tree's bandwidth by floor(log2(bytes/64)): trees
// do not follow the model at medium sizes (cost_model.cc).
var treeCorrection = [numProtos][24]float64{
	LL:     {1, 1, 1, 1, .9, .8, .7, .7, .7, .7, .6, .5, .4, .4, .5, .6, .7, .8, .9, 1, 1, 1, 1, 1},
	LL128:  {1, 1, 1, 1, 1, .9, .8, .8, .8, .7, .6, .6, .6, .6, .6, .6, .8, .9, .9, .9, .9, 1, 1, 1},
	Simple: {.9, .9, .9, .9, .9, .9, .9, .8, .7, .6, .6, .5, .5, .5, .5, .6, .7, .8, .7, .7, .8, .9, .9, .9},
}
