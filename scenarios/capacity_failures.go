package scenarios

// failurePreset is a published set of failure rates.
type failurePreset struct {
	name, source string
	f            Failures
}

// never is a mean time between failures of what does not fail, in hours.
const never = 1e15

// Llama 3's interruptions are counts over 54 days on 16,384 GPUs in servers of 8,
// two of which share a top-of-rack switch (arXiv:2407.21783, section 3.3.1 and
// table 5). By the table's rows: faulty GPU 148, HBM3 72, SRAM 19, system
// processor 17, silent corruption 6, thermal 6 are the GPU's; NIC 7, SSD, power
// supply 3 each, chassis, IO board, CPU, memory 2 each and unplanned maintenance
// of the host 32 are the server's; switch and cable 35 are the network's;
// software 54, dependency 2 and watchdog timeouts of unknown cause 7 are taken to
// grow with the number of GPUs.
func llama3Failures() Failures {
	const (
		hours    = 54 * 24
		gpus     = 16384
		gpu      = 148 + 72 + 19 + 17 + 6 + 6
		server   = 7 + 3 + 3 + 2 + 2 + 2 + 2 + 32
		network  = 35
		software = 54 + 2 + 7
	)
	return Failures{GPUHours: gpus * hours / float64(gpu), NodeHours: gpus / 8 * hours / float64(server),
		SwitchHours: gpus / 16 * hours / float64(network), SoftwareHours: gpus * hours / float64(software)}
}

// perNode is a rate of failures per thousand node-days, all causes.
func perNode(rate float64) Failures {
	return Failures{GPUHours: never, NodeHours: 24 * 1000 / rate, SwitchHours: never, SoftwareHours: never}
}

var failurePresets = []failurePreset{
	{"llama3", "published: Llama 3, arXiv:2407.21783, table 5 (419 interruptions of 16,384 H100 in 54 days)", llama3Failures()},
	{"rsc1", "published: arXiv:2410.21680, RSC-1 (A100, 6.50 failures per 1,000 node-days, all counted as the node's)", perNode(6.50)},
	{"rsc2", "published: arXiv:2410.21680, RSC-2 (A100, 2.34 failures per 1,000 node-days, all counted as the node's)", perNode(2.34)},
	{"none", "nothing fails", Failures{GPUHours: never, NodeHours: never, SwitchHours: never, SoftwareHours: never}},
}

func failurePresetNames() (names []string) {
	for _, p := range failurePresets {
		names = append(names, p.name)
	}
	return names
}
