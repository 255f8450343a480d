// Package net says how long data takes between ranks: closed forms of
// collectives, NCCL's choice of algorithm and protocol, the links of a machine
// and the route between two ranks, the rates of flows that share links, and
// where the ranks of a parallel group sit.
//
// Rates are in GB/s = 1e9 B/s and per direction; a full-duplex cable is two
// links.
package net

// Collective is a pattern of communication among a group of ranks. The bytes of
// each follow nccl-tests (doc/PERFORMANCE.md): the full buffer of all-reduce and
// broadcast, the gathered buffer of all-gather, the input buffer of
// reduce-scatter, the send buffer of one rank of all-to-all.
type Collective string

// The collectives; the values are those of package cost.
const (
	AllReduce     Collective = "all_reduce"
	AllGather     Collective = "all_gather"
	ReduceScatter Collective = "reduce_scatter"
	AllToAll      Collective = "all_to_all"
	Broadcast     Collective = "broadcast"
	SendRecv      Collective = "p2p"
)
