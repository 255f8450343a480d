package scenarios

import "orrery/sim/hw"

// capacityField is one key of a capacity plan.
type capacityField struct {
	field
	in   func(*Capacity) any // pointer to the value; of lists to the last entry's
	from string              // where the default is from; "" is "default"
}

func lastOption(c *Capacity) *CapacityOption { return &c.Options[len(c.Options)-1] }
func lastExpected(c *Capacity) *Expect       { return &c.Expect[len(c.Expect)-1] }

// CapacityMetrics are what [[expect]] of a plan may name: figures of the chosen
// machine.
var CapacityMetrics = []string{"gpus", "step_time_s", "goodput", "interruptions", "mtbf_hours", "days", "tokens",
	"checkpoint_interval_s", "spare_nodes", "gpu_hours", "cost_usd", "energy_mwh"}

var capacitySchema = capacityKeys()

func capacityKeys() []*capacityField {
	f := func(key, doc string, in func(*Capacity) any, set func(*capacityField)) *capacityField {
		c := &capacityField{field: field{key: key, doc: doc}, in: in}
		c.holds = in(&Capacity{Options: make([]CapacityOption, 1), Expect: make([]Expect, 1)})
		c.max = anyNumber
		if set != nil {
			set(c)
		}
		return c
	}
	required := func(c *capacityField) { c.required = true }
	def := func(v any, from string) func(*capacityField) {
		return func(c *capacityField) { c.def, c.from = v, from }
	}
	number := func(unit string, lo, hi float64, then func(*capacityField)) func(*capacityField) {
		return func(c *capacityField) {
			c.unit, c.min, c.max = unit, lo, hi
			if then != nil {
				then(c)
			}
		}
	}
	how := func(text string) func(*capacityField) {
		return func(c *capacityField) { c.how, c.auto = text, true }
	}
	names := func(list []string, then func(*capacityField)) func(*capacityField) {
		return func(c *capacityField) { c.names = fixed(list...); then(c) }
	}
	hours := number("h", 1e-3, anyNumber, how("the preset's"))
	return []*capacityField{
		f("name", "Name of the plan in reports.", func(c *Capacity) any { return &c.Name }, func(c *capacityField) { c.how = "the file's name" }),
		f("description", "What the plan asks, in a sentence.", func(c *Capacity) any { return &c.Description }, def("", "")),
		f("source", "Where the run was published, if it was.", func(c *Capacity) any { return &c.Source }, def("", "")),
		f("scenario", "How a step is run: a scenario's file, relative to the plan, or one of `sim list scenarios`.", func(c *Capacity) any { return &c.Scenario }, required),
		f("set", "Overrides of the scenario's keys, each `\"path.to.key=value\"`.", func(c *Capacity) any { return &c.Set }, def([]string{}, "")),

		f("train.tokens", "Tokens to train.", func(c *Capacity) any { return &c.Tokens }, number("tokens", 1, 1e18, how("as many as fit `days`"))),
		f("train.days", "Deadline, in days from the start.", func(c *Capacity) any { return &c.Days }, number("days", 0.001, 36500, how("from `start` to `by`; none without"))),
		f("train.start", "First day, `2026-01-31`.", func(c *Capacity) any { return &c.Start }, def("", "")),
		f("train.by", "Last day.", func(c *Capacity) any { return &c.By }, def("", "")),
		f("train.batch", "Whether the global batch stays as the scenario has it or grows with the GPUs (microbatches stay).",
			func(c *Capacity) any { return &c.Batch }, names([]string{BatchFixed, BatchPerGPU}, def(BatchFixed, ""))),

		f("failures.preset", "Published failure rates that the keys below default to.", func(c *Capacity) any { return &c.Failures.Preset }, names(failurePresetNames(), def("llama3", ""))),
		f("failures.gpu_mtbf_hours", "Mean time between failures of one GPU.", func(c *Capacity) any { return &c.Failures.GPUHours }, hours),
		f("failures.node_mtbf_hours", "Of one server beside its GPUs.", func(c *Capacity) any { return &c.Failures.NodeHours }, hours),
		f("failures.switch_mtbf_hours", "Of one leaf switch with its links and its share of the fabric above.", func(c *Capacity) any { return &c.Failures.SwitchHours }, hours),
		f("failures.software_mtbf_hours", "Of one GPU's share of the software.", func(c *Capacity) any { return &c.Failures.SoftwareHours }, hours),
		f("failures.gpus_per_switch", "GPUs below a leaf switch.", func(c *Capacity) any { return &c.Failures.GPUsPerSwitch },
			number("", 1, maxInt, def(int64(16), "published: two servers a rack, arXiv:2407.21783, section 3.3.1"))),

		f("checkpoint.storage_gbps", "What the storage takes from all ranks together.", func(c *Capacity) any { return &c.Checkpoint.StorageGBps }, number("1e9 B/s", 1e-3, 1e9, required)),
		f("checkpoint.mode", "`blocking`: training waits for the storage; `behind`: for the copy to the host's memory only.", func(c *Capacity) any { return &c.Checkpoint.Mode },
			names([]string{CheckpointBlocking, CheckpointBehind}, def(CheckpointBlocking, ""))),
		f("checkpoint.overhead_s", "What training waits for each checkpoint beside bytes: ranks agree, plan and meet.", func(c *Capacity) any { return &c.Checkpoint.OverheadS },
			number("s", 0, 1e6, def(1.0, "assumed"))),
		f("checkpoint.gb", "Size of a checkpoint.", func(c *Capacity) any { return &c.Checkpoint.GB }, number("1e9 B", 1e-6, 1e9, how("weights in 2 bytes and the optimizer's states"))),
		f("checkpoint.interval_steps", "Steps between checkpoints.", func(c *Capacity) any { return &c.Checkpoint.Steps }, number("steps", 1, maxInt, how("the best"))),

		f("restart.minutes", "From a failure to loading the checkpoint: detect, replace, start.", func(c *Capacity) any { return &c.RestartMinutes },
			number("min", 0, 1e6, def(10.0, "published as an upper bound: MegaScale, arXiv:2402.15627"))),
		f("restart.read_gbps", "What the storage gives to all ranks together.", func(c *Capacity) any { return &c.ReadGBps }, number("1e9 B/s", 1e-3, 1e9, how("`checkpoint.storage_gbps`"))),

		f("stragglers.share", "Share of the time between checkpoints in which one GPU is slow, beyond the spread that every step time contains.", func(c *Capacity) any { return &c.SlowShare },
			number("1", 0, 1, def(0.0, "assumed"))),
		f("stragglers.slowdown", "By how much it stretches a step.", func(c *Capacity) any { return &c.SlowBy },
			number("1", 0, 1000, def(0.1, "published: MegaScale, arXiv:2402.15627 (about 10 %)"))),

		f("spares.nodes", "Spare servers.", func(c *Capacity) any { return &c.SpareNodes }, number("", 0, maxInt, how("those with which the run takes the fewest node-hours"))),
		f("spares.repair_hours", "From a server's failure until it is a spare again.", func(c *Capacity) any { return &c.RepairHours }, number("h", 0, 1e6, def(24.0, "assumed"))),

		f("money.usd_per_gpu_hour", "Rent of a GPU with its share of everything, spares too.", func(c *Capacity) any { return &c.USDPerGPUHour },
			number("USD", 0, 1e6, def(2.0, "published as an assumption: DeepSeek-V3, arXiv:2412.19437, table 1"))),
		f("money.usd_per_kwh", "Electricity, where the rent does not contain it.", func(c *Capacity) any { return &c.USDPerKWh }, number("USD", 0, 1e6, def(0.0, "the rent contains it"))),

		f("energy.host_w_per_gpu", "Power of a GPU's share of its server.", func(c *Capacity) any { return &c.HostW },
			number("W", 0, 1e5, def(575.0, "published: DGX H100, 10.2 kW at most with 8 GPUs of 700 W"))),
		f("energy.load", "Share of the GPU's power limit that it draws while it trains.", func(c *Capacity) any { return &c.LoadShare }, number("1", 0, 2, def(1.0, "assumed"))),
		f("energy.idle", "Share of it while the job checkpoints, restarts or waits, and of spares.", func(c *Capacity) any { return &c.IdleShare }, number("1", 0, 2, def(0.15, "assumed"))),
		f("energy.pue", "Power of the building over that of its servers.", func(c *Capacity) any { return &c.PUE },
			number("1", 1, 10, def(1.1, "published: Google's fleet in 2023"))),

		f("montecarlo.runs", "Simulated runs.", func(c *Capacity) any { return &c.Runs }, number("", 1, 1e6, def(int64(1000), ""))),
		f("montecarlo.seed", "Seed of their random numbers.", func(c *Capacity) any { return &c.Seed }, number("", 0, maxInt, def(int64(1), ""))),

		f("option.gpu", "GPU, from the catalogue.", func(c *Capacity) any { return &lastOption(c).GPU }, func(c *capacityField) {
			c.names, c.canon, c.catalogue, c.how = hw.GPUNames, gpuName, "gpus", "the scenario's"
		}),
		f("option.gpus", "Numbers of GPUs; data parallelism follows.", func(c *Capacity) any { return &lastOption(c).GPUs }, number("", 1, 1<<24, func(c *capacityField) {
			c.how = "the scenario's, and up to 8 times fewer and more in steps of two"
		})),
		f("option.usd_per_gpu_hour", "Rent of this GPU.", func(c *Capacity) any { return &lastOption(c).USDPerGPUHour }, number("USD", 1e-6, 1e6, func(c *capacityField) { c.how = "the plan's" })),
		f("option.set", "Overrides of the scenario's keys for this machine.", func(c *Capacity) any { return &lastOption(c).Set }, def([]string{}, "")),

		f("expect.metric", "Figure of the chosen machine.", func(c *Capacity) any { return &lastExpected(c).Metric }, names(CapacityMetrics, required)),
		f("expect.value", "Published value.", func(c *Capacity) any { return &lastExpected(c).Value }, number("", -anyNumber, anyNumber, required)),
		f("expect.tolerance", "Relative difference that still counts as met.", func(c *Capacity) any { return &lastExpected(c).Tolerance }, number("1", 0, 10, def(0.1, ""))),
		f("expect.source", "Where the value was published.", func(c *Capacity) any { return &lastExpected(c).Source }, def("", "")),
	}
}

// CapacityDefault is the default of a key of capacity plans and where it is from, for
// other commands that assume the same; nil of a key that has none.
func CapacityDefault(key string) (value any, from string) {
	for _, f := range capacitySchema {
		if f.key == key {
			return f.def, f.from
		}
	}
	return nil, ""
}
