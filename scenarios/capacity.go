package scenarios

// Capacity is a resolved capacity plan (`sim capacity`): train so many tokens of
// a scenario's model by a date, on machines that fail. Every field has a value.
type Capacity struct {
	Name        string
	Description string
	Source      string
	Scenario    string   // file or name of the catalogue: how a step is run
	Set         []string // overrides of its keys

	Tokens float64 // 0: as many as fit Days
	Days   float64 // deadline, counted from the start; 0 is none
	Start  string  // date, "2026-01-31"; "" if not given
	By     string
	Batch  string // BatchFixed or BatchPerGPU

	Failures   Failures
	Checkpoint Checkpoint

	RestartMinutes float64 // without loading the checkpoint
	ReadGBps       float64 // of loading it, all ranks together
	SlowShare      float64 // of segments that run with a straggler
	SlowBy         float64 // relative
	SpareNodes     int64   // AutoSpares: those that save more waiting than they cost
	RepairHours    float64

	USDPerGPUHour float64
	USDPerKWh     float64
	HostW         float64 // of a GPU's share of its server beside the GPU
	LoadShare     float64 // of the GPU's power limit while it trains
	IdleShare     float64 // while it waits
	PUE           float64

	Runs int64 // of the Monte Carlo
	Seed int64

	Options []CapacityOption
	Expect  []Expect
	Origins []Origin // of the keys outside lists, in the order of the schema
}

// How the global batch follows the number of GPUs.
const (
	BatchFixed  = "fixed"
	BatchPerGPU = "per_gpu"
)

// AutoSpares is the number of spare nodes that is left to be computed.
const AutoSpares = -1

// Failures are mean times between failures, in hours of a running job.
type Failures struct {
	Preset        string
	GPUHours      float64 // of one GPU
	NodeHours     float64 // of one server, beside its GPUs
	SwitchHours   float64 // of one leaf switch with its links and its share of the fabric above
	SoftwareHours float64 // of one GPU's share of the software
	GPUsPerSwitch int64
}

// Checkpoint is how the job saves its state.
type Checkpoint struct {
	Mode        string  // CheckpointBlocking or CheckpointBehind
	StorageGBps float64 // all ranks together
	OverheadS   float64 // beside bytes
	GB          float64 // 0: computed from the model
	Steps       int64   // between checkpoints; 0: the best
}

// Checkpoint modes.
const (
	CheckpointBlocking = "blocking" // training waits for the storage
	CheckpointBehind   = "behind"   // training waits for the copy to the host's memory only
)

// CapacityOption is a kind of machine to consider.
type CapacityOption struct {
	GPU           string  // "": the scenario's
	GPUs          []int64 // numbers of GPUs; nil: the scenario's and its halves and doubles
	USDPerGPUHour float64 // 0: the plan's
	Set           []string
}
