package scenarios

import "orrery/schedules/packing"

// packed marks keys that are present only where samples of unequal length are packed.
func packed(f *field) *field {
	f.packed = true
	return f
}

func distributionNames() []string {
	var names []string
	for _, d := range packing.Distributions() {
		names = append(names, d.Name)
	}
	return names
}

func packerNames() []string {
	var names []string
	for _, p := range packing.All() {
		names = append(names, p.Name())
	}
	return names
}

var packingKeys = []*field{
	packed(&field{key: "data.distribution", names: distributionNames, how: "none", doc: "Samples of unequal length, drawn from a distribution of `sim list distributions` and cut at training.sequence_length. With it or `lengths`, a step trains on packed samples under a document mask.",
		at: func(s *Scenario) any { return &s.Data.Distribution }}),
	packed(&field{key: "data.lengths", how: "none", doc: "File of lengths in tokens instead, relative to the scenario's: one a line, a column of a `.csv` or a key of a `.jsonl`; longer ones are cut at training.sequence_length.",
		at: func(s *Scenario) any { return &s.Data.File }}),
	packed(&field{key: "data.column", how: "length", doc: "Column of the `.csv`, or key of the `.jsonl`.",
		at: func(s *Scenario) any { return &s.Data.Column }}),
	packed(&field{key: "data.samples", min: 0, max: 1 << 26, unit: "samples", how: "0: as many as global_batch x sequence_length tokens hold, of a file at most all", doc: "Samples of one step; of a file the first.",
		at: func(s *Scenario) any { return &s.Data.Samples }}),
	packed(&field{key: "data.packer", catalogue: "packers", names: packerNames, canon: packerName, how: "slimpack", doc: "What turns the step's samples into the units of the pipelines (docs/packing.md); it also orders their passes. One step is packed by itself: wlb_llm's queue between steps is that of `sim pack`.",
		at: func(s *Scenario) any { return &s.Data.Packer }}),
	packed(&field{key: "data.without", names: fixed(mechanisms...), how: "none", doc: "Mechanisms of slimpack to leave out.",
		at: func(s *Scenario) any { return &s.Data.Without }}),
	packed(&field{key: "data.memory_tokens", min: 0, max: 1e9, unit: "tokens", how: "0: what the GPU's memory holds", doc: "Tokens of activations that packers may plan for on a rank.",
		at: func(s *Scenario) any { return &s.Data.MemoryTokens }}),
	packed(&field{key: "data.unit_tokens", min: 0, max: 1 << 30, unit: "tokens", how: "0: sequence_length / cp", doc: "Most tokens a rank in a unit, for packers that choose the size of units.",
		at: func(s *Scenario) any { return &s.Data.UnitTokens }}),
}

func packerName(s string) string {
	if p, err := packing.Lookup(s); err == nil {
		return p.Name()
	}
	return ""
}
