package scenarios

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"orrery/schedules/balance"
)

// Routing is where the tokens of a mixture of experts go, and what evens it out.
type Routing struct {
	Load           string // "even", or a generator of package balance
	File           string
	Loads          []balance.Entry // of File
	Seed           int64
	Sigma, Rho     float64 // of the synthetic drift
	History        int64   // steps before the simulated one
	CapacityFactor float64 // 0 is dropless
	Pad            bool
	Balancer       string   // a balancer with its parameters
	Compare        []string // balancers that are simulated beside it
	Slots          int64    // redundant experts of a rank
	MinReplicas    int64    // least replicas of an expert that goes through relays
}

// Uneven reports whether ranks have loads of their own.
func (r *Routing) Uneven() bool { return r.File != "" || r.Load != EvenLoad && r.Load != "" }

// readLoads reads routing.file.
func (r *resolver) readLoads() {
	path, m := r.s.Routing.File, r.s.Model.MoE
	if path == "" || m == nil {
		return
	}
	blame := []string{"routing.file"}
	if r.read == nil {
		r.fail(blame, "there is no folder to read it from", show(path), "scenarios in files")
		return
	}
	text, err := r.read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.fail(blame, "no such file", show(path), "a path relative to the scenario's file")
		return
	case err != nil:
		r.fail(blame, "cannot read the file", show(path), "a readable file of loads")
		return
	}
	if r.s.Routing.Loads, err = balance.Read(path, text, int(r.s.Parallel.EP), int(m.Experts)); err != nil {
		r.fail(blame, strings.ReplaceAll(err.Error(), "\n", "; "), show(path), "loads as docs/balance.md has them")
	}
}

// checkRouting refuses keys that say nothing about an even load, and what is not
// simulated with another.
func (r *resolver) checkRouting() {
	ro, par := &r.s.Routing, &r.s.Parallel
	if r.s.Model.MoE == nil {
		for _, f := range routingKeys {
			if r.wrote(f.key) {
				r.fail([]string{f.key}, "the model has no experts", show(r.given[f.key].raw), "a mixture of experts")
			}
		}
		return
	}
	if !ro.Uneven() {
		for _, f := range routingKeys {
			if r.wrote(f.key) && !reflect.DeepEqual(r.given[f.key].value, f.def) {
				r.fail([]string{f.key}, "the load is even", show(r.given[f.key].raw), `routing.load = "lognormal:imbalance=2" or another that is not even, or routing.file`)
			}
		}
		return
	}
	switch {
	case ro.File != "" && ro.Load != EvenLoad:
		r.fail([]string{"routing.file", "routing.load"}, "the load is generated already", show(ro.File), "one of routing.file and routing.load")
	case ro.File != "" && (ro.Sigma > 0 || ro.Rho < 1 || ro.History > 0):
		r.fail([]string{"routing.sigma", "routing.rho", "routing.history", "routing.file"}, "loads of a file are as they are", fmt.Sprintf("sigma %g, rho %g, history %d", ro.Sigma, ro.Rho, ro.History), "generated loads, routing.load")
	case r.s.Framework.MoEImbalance > 1:
		r.fail([]string{"framework.moe_imbalance", "routing.load"}, "the load has an imbalance of its own", fmt.Sprint(r.s.Framework.MoEImbalance), "1, or an even load")
	case strings.HasPrefix(ro.Load, "rank_skew") && (ro.Sigma > 0 || ro.Rho < 1 || ro.History > 0):
		r.fail([]string{"routing.sigma", "routing.rho", "routing.history", "routing.load"}, "rank_skew draws token by token and does not drift", fmt.Sprintf("sigma %g, rho %g, history %d", ro.Sigma, ro.Rho, ro.History), "another kind of load")
	case par.EP == 1:
		r.fail([]string{"routing.load", "routing.file", "parallel.ep"}, "one rank holds all experts, ep is 1", show(ro.Load), "ep above 1, or an even load")
	case r.s.Schedule.Slices > 1:
		r.fail([]string{"schedule.slices", "routing.load", "routing.file"}, "loads are of whole microbatches", fmt.Sprint(r.s.Schedule.Slices), "1, or an even load")
	case r.s.Schedule.Offload > 0:
		r.fail([]string{"schedule.offload", "routing.load", "routing.file"}, "what is offloaded is not told by load", fmt.Sprint(r.s.Schedule.Offload), "0, or an even load")
	case r.s.Encoder != nil || r.s.Generator != nil:
		r.fail([]string{"routing.load", "routing.file"}, "expert loads are not simulated beside an encoder or a generator yet", show(ro.Load), "an even load, or a scenario without them")
	case r.s.Data.Packed():
		r.fail([]string{"routing.load", "routing.file"}, "expert loads are of microbatches of equal size, and samples are packed", show(ro.Load), "an even load, or a scenario without packing")
	case ro.Pad && ro.CapacityFactor == 0:
		r.fail([]string{"routing.pad"}, "there is no capacity to fill up to", "true", "false, or routing.capacity_factor")
	}
	r.checkExpected()
}

// checkExpected holds the balancers of [[expect]] to those that are simulated.
func (r *resolver) checkExpected() {
	known := []string{balancerOf(r.s.Routing.Balancer)}
	for _, c := range r.s.Routing.Compare {
		name := balancerOf(c)
		if slices.Contains(known, name) {
			r.fail([]string{"routing.compare", "routing.balancer"}, "a balancer is there twice", show(name), "each balancer once")
		}
		known = append(known, name)
	}
	for _, e := range r.s.Expect {
		if e.Balancer != "" && !slices.Contains(known, e.Balancer) {
			r.fail([]string{"routing.compare", "routing.balancer"}, "[[expect]] names a balancer that is not simulated", show(e.Balancer), strings.Join(known, ", "))
		}
	}
}

// balancerOf is the name of a balancer with parameters.
func balancerOf(text string) string {
	b, _, err := balance.ParseBalancer(text)
	if err != nil {
		return text
	}
	return b.Name()
}
