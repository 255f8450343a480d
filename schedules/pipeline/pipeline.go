// Package pipeline holds the orders in which pipeline stages run the forward
// and backward passes of microbatches, as pure functions of sizes.
//
// A schedule is one file that implements [Schedule] and calls register from
// init; the conformance test then holds it to the invariants of every schedule
// and to the reference vectors of its name.
package pipeline

import "fmt"

// Phase is the kind of a pass.
type Phase uint8

// Phases. B is the fused backward; I and W are its halves (gradient for
// inputs, gradient for weights).
const (
	F Phase = iota
	B
	I
	W
	// S is the share of the output layer that every device has where the
	// vocabulary is cut over the pipeline ([VocabularyParallel]); no [Schedule] has it.
	S
)

// String is the phase's letter in PyTorch's pipeline grammar.
func (p Phase) String() string {
	if p > S {
		return fmt.Sprintf("Phase(%d)", uint8(p))
	}
	return "FBIWS"[p : p+1]
}

// Slot is one pass of one stage over one microbatch (or slice of it).
type Slot struct {
	Phase Phase
	// Paired: this backward runs together with the forward before it in the order,
	// as DualPipe overlaps them.
	Paired     bool
	Stage      int32 // global stage, 0..Stages-1; counted in the direction of the microbatch
	Microbatch int32
	Slice      int32
}

// Shape is the size of a pipeline.
type Shape struct {
	Devices      int // p, ranks of the pipeline
	Virtual      int // v, model chunks per device
	Microbatches int // m
	Slices       int // n, slices per microbatch; 0 counts as 1
	// Group is Megatron's microbatch_group_size_per_vp_stage (interleaved
	// schedules); 0 means the schedule's default.
	Group int
}

// Overlapping is a schedule with pairs of passes that run together.
type Overlapping interface{ Overlaps() bool }

// Schedule is an order of passes.
type Schedule interface {
	// Name is the schedule's name in scenarios ("1f1b").
	Name() string
	// Describe is one line for `sim list schedules`, with the source.
	Describe() string
	// Check returns what is wrong with the shape for this schedule, or nil.
	Check(Shape) error
	// Device returns the device that runs a pass; its phase and slice play no part,
	// and its microbatch does only where the schedule is [Bidirectional] or
	// [Multimodal].
	Device(Shape, Slot) int
	// Order gives each device's passes in the order they run, or Check's error.
	Order(Shape) ([][]Slot, error)
}
