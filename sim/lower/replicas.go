package lower

import (
	"orrery/schedules/balance"
	"orrery/sim/cost"
	"orrery/sim/unit"
)

// What UltraEP's kernels do on the critical path (arXiv:2606.04101, section 5 and
// its artifact): plan, send weights to replicas, and only then dispatch tokens,
// since both want the links. In the backward pass the weights are sent again
// behind the gradient that does not need them, and the replicas' gradients are
// added up behind the backward pass of router and attention. With a schedule that
// splits the backward pass that sum goes with the gradients for inputs.

// replicate appends what has to happen before tokens may go to replicas.
func (s *shapes) replicate(b *builder) {
	if s.share == nil {
		return
	}
	decide := s.share.Decide
	if b.recomp {
		decide = s.share.Again
	}
	if decide > 0 {
		b.compute("plan replicas", ExpertPlanning, cost.Reported{Op: "plan_replicas", Latency: decide, Source: planSource})
	}
	if s.share.Sent > 0 && (!b.recomp || s.share.Streamed) { // placements last
		b.comm("send expert weights", ExpertWeights, s.weightsKernel())
	}
}

// replicateAgain sends streamed weights for the backward pass, whose slots other
// layers have used since, and returns that message; -1 where none is needed.
func (s *shapes) replicateAgain(b *builder) int {
	if s.share == nil || !s.share.Streamed || s.share.Sent == 0 || s.resent || s.lora {
		return -1
	}
	return b.side("send expert weights again", ExpertWeights, s.weightsKernel())
}

// reduceReplicas adds the gradients of replicas that are gone after this layer to
// those of the main copies. UltraEP's kernel is made small enough to share its SMs
// with the kernels beside it, which it does not slow down (its authors' blog, section
// 2, and arXiv:2606.04101v3, section 6.1), so that it takes none from them.
func (s *shapes) reduceReplicas(b *builder) {
	switch {
	case s.share == nil || s.lora:
	case s.share.Streamed && s.share.Reduced > 0:
		t := balance.GradReduceTime(s.share.Reduced, 2*s.weightBytes())
		b.side("add up replica gradients", ExpertWeights, cost.Reported{Op: "replica_gradients", Latency: t, Source: gradSource})
	case s.share.Shadows > 0: // a tree, as the weights came
		b.side("add up shadow gradients", ExpertWeights, s.transfer("shadow_gradients", int64(s.share.Shadows), 2*s.weightBytes(), false))
	}
}

// sumLasting adds the gradients of n copies that last from step to step to those of
// their main copies, and renewLasting sends them the new weights: once a step, taken
// as hidden behind nothing.
func (s *shapes) sumLasting(b *builder, n int64) {
	if n > 0 && !s.lora {
		each := unit.Bytes(float64(s.p.Routing.Setup.Prices.Params()) * s.fw.GradDType.Bytes())
		b.comm("add up lasting replicas", ExpertWeights, s.transfer("lasting_gradients", n, each, false))
	}
}

func (s *shapes) renewLasting(b *builder, n int64) {
	if n > 0 && !s.lora {
		b.comm("renew lasting replicas", ExpertWeights, s.transfer("lasting_weights", n, s.weightBytes(), false))
	}
}

const (
	planSource    = "times of UltraEP's README; LPLB's 100-200 us by its README and maintainer"
	weightsSource = "fitted to UltraEP's figure 16: 8 us and 733 GB/s a rank, 24 us with relays"
	gradSource    = "fitted to UltraEP's README: 0.955 ms + 0.245 ms a replica of 75.5 MB"
	// replicaSMs are those of UltraEP's transfers (README: 42).
	replicaSMs = 42
)

// weightBytes is one expert's weights on a rank, in bf16.
func (s *shapes) weightBytes() unit.Bytes { return s.p.Routing.Setup.Prices.WeightBytes() }

// weightsKernel is the sending of replicas' weights, as long as its busiest rank.
func (s *shapes) weightsKernel() cost.Kernel {
	k := s.transfer("expert_weights", int64(s.share.Sent), s.weightBytes(), s.share.Streamed)
	if s.share.Streamed && s.share.Relayed > 0 {
		k.Latency += balance.RelayTime
	}
	return k
}

// transfer is n experts' worth of bytes from the busiest rank. Copies of balancers
// that stay within an NVLink domain go over NVLink, others over the slowest link of
// the group.
func (s *shapes) transfer(op string, n int64, each unit.Bytes, streamed bool) cost.Reported {
	k := cost.Reported{Op: op, Latency: balance.SendLatency, Bytes: n * int64(each), GBps: balance.SendGBps,
		NVLinkGBps: balance.TestbedNVLinkGBps, SMs: replicaSMs, Source: weightsSource}
	if g := s.p.Groups.EP; !streamed && g.Domains() > 1 {
		k.GBps, k.NVLinkGBps = s.p.NIC(g, cost.AllToAll), 0
	}
	return k
}
