// Package program holds what runs: ops in lanes, with dependencies, as a
// struct of arrays. It knows shapes of work, not GPUs or times.
package program

// OpID indexes the ops of a Program; ops are numbered in topological order:
// every dependency of an op, and every earlier op of its lane, has a lower ID.
type OpID int32

// None is the absent op.
const None OpID = -1

// LaneID indexes the lanes of a Program. Ops of one lane run in the order of
// their IDs, one at a time (a CUDA stream, a NIC queue, a host thread).
type LaneID int32

// WorkID indexes a table of distinct pieces of work. Ops with the same WorkID
// have the same duration.
type WorkID int32

// Program is a static schedule of ops. All slices but Dep, Flow* and Mem* have one entry
// an op; Dep[DepAt[i]:DepAt[i+1]] are op i's dependencies beside the previous
// op of its lane.
type Program struct {
	Lane  []LaneID
	Work  []WorkID
	DepAt []int32 // len = ops+1
	Dep   []OpID
	Lanes []Lane
	// Works describes each WorkID; durations come from elsewhere.
	Works []Work

	// Memory events, sorted by op: op MemOp[i] changes the memory of MemRank[i]
	// by MemBytes[i] of class MemClass[i], at its start when MemAtStart[i], else
	// at its end.
	Mem []MemEvent
}

// Lane is a resource that runs one op at a time.
type Lane struct {
	Rank int32  // the (folded) rank that owns it
	Name string // compute, tp, dp, pp_send …
}

// Work is one distinct piece of work.
type Work struct {
	Name string // as shown: "F chunk 0", "grad reduce-scatter layer 3"
	Kind Kind
	// Stage, Microbatch tell what it belongs to in an op's own arguments; they
	// live in Op tags, not here.
}

// Kind groups work for breakdowns and colours.
type Kind uint8

// Kinds of work (DESIGN section 6).
const (
	Other Kind = iota
	Forward
	Backward       // for inputs and weights, fused
	BackwardInput  // I
	BackwardWeight // W
	Recompute
	Send        // pipeline send/receive
	GradReduce  // gradient reduce-scatter or all-reduce
	ParamGather // parameter all-gather
	Optimizer
	TPComm
	CPComm
	EPComm
	Host
	Offload // copies of activations to the host's memory and back
	NumKinds
)

// String is the kind's name in reports and JSON.
func (k Kind) String() string {
	return [...]string{"other", "forward", "backward", "backward_input", "backward_weight", "recompute",
		"pipeline_send", "grad_reduce", "param_gather", "optimizer", "tp_comm", "cp_comm", "ep_comm", "host", "offload"}[k]
}

// MemEvent changes a rank's memory at the start or the end of an op.
type MemEvent struct {
	Op      OpID
	Rank    int32
	Class   uint8 // index into a table of names that the builder owns
	AtStart bool
	Bytes   int64
}

// Len is the number of ops.
func (p *Program) Len() int { return len(p.Lane) }

// Deps returns op i's dependencies beside the previous op of its lane.
func (p *Program) Deps(i OpID) []OpID { return p.Dep[p.DepAt[i]:p.DepAt[i+1]] }

// Add appends an op and returns its ID. Its dependencies must be there already.
func (p *Program) Add(lane LaneID, work WorkID, deps ...OpID) OpID {
	if len(p.DepAt) == 0 {
		p.DepAt = append(p.DepAt, 0)
	}
	id := OpID(len(p.Lane))
	p.Lane = append(p.Lane, lane)
	p.Work = append(p.Work, work)
	for _, d := range deps {
		if d != None {
			p.Dep = append(p.Dep, d)
		}
	}
	p.DepAt = append(p.DepAt, int32(len(p.Dep)))
	return id
}

// AddLane appends a lane.
func (p *Program) AddLane(rank int32, name string) LaneID {
	p.Lanes = append(p.Lanes, Lane{rank, name})
	return LaneID(len(p.Lanes) - 1)
}

// AddWork appends a kind of work.
func (p *Program) AddWork(w Work) WorkID {
	p.Works = append(p.Works, w)
	return WorkID(len(p.Works) - 1)
}
