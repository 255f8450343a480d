package balance

import "orrery/sim/unit"

// What UltraEP's mechanisms take on its authors' testbed (Blackwell class, EP64,
// 42 SMs for communication), fitted to their README and figures 13 and 16. The
// kernels of another machine need their own measurements.

// SendLatency, SendGBps and RelayTime are what [FanOut.Time] is made of: the start,
// the rate of a rank, on NVLink of TestbedNVLinkGBps (Blackwell, one direction), and
// the second stage where there are relays (the mean over six published times, which
// need 15 to 32 us).
const (
	SendLatency       = 8 * unit.Microsecond
	SendGBps          = 733
	RelayTime         = 24 * unit.Microsecond
	TestbedNVLinkGBps = 900
)

// DirectTime is the time of weight distribution without relays: 8 us and the
// sends of the busiest rank at 733 GB/s. It is within 3 % of the six published
// times, and 0 where nothing is sent.
func DirectTime(maxSent int, weights unit.Bytes) unit.Time {
	if maxSent == 0 {
		return 0
	}
	return SendLatency + unit.Seconds(float64(maxSent)*float64(weights)/(SendGBps*1e9))
}

// Time is the time of a fan-out: that of its busiest sender, and of the second
// stage where there are relays.
func (f *FanOut) Time(weights unit.Bytes) unit.Time {
	t := DirectTime(f.MaxSent(), weights)
	if f.Relayed > 0 {
		t += RelayTime
	}
	return t
}

// MaxReduced is the most replicas whose gradients any home adds up.
func (p *Plan) MaxReduced() int {
	of := make([]int, len(p.Loads))
	most := 0
	for e := range len(p.First) - 1 {
		home := p.Copies[p.First[e]].Rank
		of[home] += p.count(e) - 1
		most = max(most, of[home])
	}
	return most
}

// count is how many copies an expert has.
func (p *Plan) count(e int) int { return int(p.First[e+1] - p.First[e]) }

// GradReduceTime is the time of reducing replicas' gradients to their main
// copies, n at the busiest home (deterministic mode): 0.955 ms + n x 0.245 ms for
// experts of 75.5 MB in fp32, within 1 % of three published times. That it grows
// with the bytes is assumed. In training it overlaps the backward pass of the
// router and attention.
func GradReduceTime(n int, gradients unit.Bytes) unit.Time {
	if n == 0 {
		return 0
	}
	return unit.Seconds((0.955e-3 + 0.245e-3*float64(n)) * float64(gradients) / 75.497472e6)
}

// PlanTime is the planner's kernel on one SM, 35 us + 0.83 us a replica (within
// 1 us of the README's three times), and the building of transfer tasks, 38 us.
// Rerouting, 37 us, hides behind weight distribution.
func PlanTime(replicas int) unit.Time {
	return unit.Micros(35 + 0.83*float64(replicas) + 38)
}

// DecideTime is what a balancer takes on the critical path of every layer to make
// a plan for p: UltraEP and EPLB+ by [PlanTime] (EPLB+ takes 153 us for 107 replicas,
// UltraEP's table 3; here 162), LPLB by [solverTime]. Nothing is published for
// FasterMoE, whose model is a few operations an expert, and those that look back
// decide beside the critical path: both are 0.
func DecideTime(b Balancer, p *Plan) unit.Time {
	switch b.(type) {
	case ultraEP, ultraAlgorithm1, eplbPlus:
		return PlanTime(len(p.Replicas))
	case lplb:
		return solverTime(len(p.Loads))
	}
	return 0
}

// DecideAgainTime is what deciding takes when a forward pass is recomputed. UltraEP
// keeps the plans of all microbatches in flight, and EPLB+ runs on its data plane;
// LPLB's planner is called with the tokens of every forward pass and keeps none.
func DecideAgainTime(b Balancer, p *Plan) unit.Time {
	if _, ok := b.(lplb); ok {
		return DecideTime(b, p)
	}
	return 0
}

// solverTime is LPLB's gathering of loads and solver: "~100 us for intra-node
// optimization (longer for inter-node)" (its README), "100-200 us" in all (its
// maintainer, deepseek-ai/LPLB issue 3). That the longer time is that of more ranks
// than a server of 8 GPUs has is assumed.
func solverTime(ranks int) unit.Time {
	if ranks <= 8 {
		return 100 * unit.Microsecond
	}
	return 200 * unit.Microsecond
}
