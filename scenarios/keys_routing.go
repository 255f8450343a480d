package scenarios

import (
	"orrery/schedules/balance"
)

// EvenLoad is the value of routing.load that sends every rank as much.
const EvenLoad = "even"

func balancerNames() []string {
	var names []string
	for _, b := range balance.All() {
		names = append(names, b.Name())
	}
	return names
}

// loadSpec reports what is wrong with a generator of loads.
func loadSpec(text string) error {
	if text == EvenLoad {
		return nil
	}
	_, err := balance.ParseGenerator(text)
	return err
}

func balancerSpec(text string) error {
	_, _, err := balance.ParseBalancer(text)
	return err
}

var routingKeys = []*field{
	{key: "routing.load", moe: true, def: EvenLoad, spec: loadSpec, forms: "`even`, or a kind of load with its parameters, `lognormal:imbalance=2` (docs/balance.md)",
		doc: "Where tokens want to go. `even`: all ranks alike but for framework.moe_imbalance. What an auxiliary loss or a bias leaves is the imbalance of a `lognormal` load; a router that is forced to be balanced is the balancer `ideal`.",
		at:  func(s *Scenario) any { return &s.Routing.Load }},
	{key: "routing.file", moe: true, def: "", doc: "Loads from a file (.json, .csv, .ids; docs/balance.md), relative to the scenario; layers and microbatches that it lacks repeat those that it has.",
		at: func(s *Scenario) any { return &s.Routing.File }},
	{key: "routing.seed", moe: true, def: int64(1), min: 0, max: maxInt, doc: "Seed of generated loads.",
		at: func(s *Scenario) any { return &s.Routing.Seed }},
	{key: "routing.sigma", moe: true, def: 0.0, min: 0, max: 10, doc: "Synthetic drift: standard deviation of an expert's log popularity from microbatch to microbatch.",
		at: func(s *Scenario) any { return &s.Routing.Sigma }},
	{key: "routing.rho", moe: true, def: 1.0, min: 0, max: 1, doc: "Synthetic drift: correlation of one microbatch with the next.",
		at: func(s *Scenario) any { return &s.Routing.Rho }},
	{key: "routing.history", moe: true, def: int64(0), min: 0, max: 1000, unit: "steps", doc: "Steps before this one that balancers which look back have seen.",
		at: func(s *Scenario) any { return &s.Routing.History }},
	{key: "routing.capacity_factor", moe: true, def: 0.0, min: 0, max: 1 << 16, doc: "Tokens that a rank may send to an expert over the mean; what is above is dropped (Megatron-Core's moe_expert_capacity_factor); 0 is dropless.",
		at: func(s *Scenario) any { return &s.Routing.CapacityFactor }},
	{key: "routing.pad", moe: true, def: false, doc: "Experts are filled up to the capacity.",
		at: func(s *Scenario) any { return &s.Routing.Pad }},
	{key: "routing.balancer", moe: true, def: "none", spec: balancerSpec, forms: "names of `sim list balancers`, with parameters as in `eplb:window=24,interval=24`",
		doc: "Who evens the load out.",
		at:  func(s *Scenario) any { return &s.Routing.Balancer }},
	{key: "routing.compare", moe: true, def: []string{}, spec: balancerSpec, forms: "balancers as above",
		doc: "Balancers that are simulated beside it, on the same loads.",
		at:  func(s *Scenario) any { return &s.Routing.Compare }},
	{key: "routing.slots", moe: true, def: int64(2), min: 0, max: 1 << 14, doc: "Redundant expert slots of a rank.",
		at: func(s *Scenario) any { return &s.Routing.Slots }},
	{key: "routing.min_replicas", moe: true, def: int64(4), min: 0, max: 1 << 14, doc: "Least replicas of an expert whose weights go through relays (UltraEP: 4, in its figures 6); 0 is never.",
		at: func(s *Scenario) any { return &s.Routing.MinReplicas }},
}
