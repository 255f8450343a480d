package scenarios

import (
	"fmt"

	"orrery/schedules/pipeline"
)

// copies is the number of copies of every stage that the schedule holds, 1 for all
// but bidirectional ones.
func (r *resolver) copies() int64 {
	s, err := r.s.Schedule.Order()
	if err != nil {
		return 1 // not chosen yet, or an error that is told elsewhere
	}
	return int64(pipeline.Replicas(s))
}

// stages divides the layers among the stages: pp x vp, less where there are
// copies of each.
func (r *resolver) stages() {
	p, layers := &r.s.Parallel, r.s.Model.Layers
	n, _ := product(p.PP, p.VP)
	stages := "pp x vp"
	if own, ok := r.llmStages(); ok {
		if n, stages = own, "the LLM's stages"; n < 1 {
			r.fail([]string{"parallel.pp", "encoder.devices", "generator.devices"}, "encoder and generator leave no pipeline rank for the LLM", fmt.Sprint(p.PP), fmt.Sprintf("%d or more", p.PP-n+1))
			return
		}
	}
	if c := r.copies(); c > 1 && n > 1 { // with a single chunk the schedule says what it needs
		n, stages = n/c, fmt.Sprintf("pp x vp / %d", c)
	}
	if r.wrote("parallel.layers_per_stage") {
		sum := int64(0)
		for _, l := range p.LayersPerStage {
			sum += l
		}
		if sum != layers {
			r.fail([]string{"parallel.layers_per_stage"}, "does not sum to the model's layers", fmt.Sprintf("a sum of %d", sum), fmt.Sprintf("a sum of %d", layers))
		}
		if r.s.Schedule.AccountEmbedding {
			r.fail([]string{"schedule.account_embedding"}, "layers_per_stage is given already", "true", "one of them")
		}
		r.settle("schedule.account_embedding", false, "derived: layers_per_stage")
		return
	}
	if n == 0 || n > layers+2 {
		r.fail([]string{"parallel.vp", "parallel.pp"}, "more stages than layers", fmt.Sprintf("pp %d, vp %d", p.PP, p.VP), fmt.Sprintf("%s up to model.layers (%d)", stages, layers))
		return
	}
	if p.PP > 1 && layers%n != 0 && (layers+2)%n == 0 {
		r.settle("schedule.account_embedding", true, "derived: "+stages+" divides layers + 2, not layers")
	}
	r.settle("schedule.account_embedding", false, "default")
	split := divide(layers, n, r.s.Schedule.AccountEmbedding)
	mtp := r.s.Model.MTP > 0 && n > 1 && !r.s.Schedule.AccountEmbedding
	if mtp {
		split = fillFront(layers, n)
	}
	if split == nil {
		r.fail([]string{"parallel.vp", "parallel.pp"}, "more stages than layers", fmt.Sprintf("pp %d, vp %d", p.PP, p.VP), fmt.Sprintf("%s up to model.layers (%d)", stages, layers))
		return
	}
	how := "derived: layers / (" + stages + ")"
	switch {
	case mtp:
		how += ", rounded up from the front; the last stages also hold MTP"
	case r.s.Schedule.AccountEmbedding:
		how = "derived: (layers + 2) / (" + stages + "), less 1 at both ends"
	case layers%n != 0:
		how += ", the rest in the middle"
	}
	r.settle("parallel.layers_per_stage", split, how)
}

// divide splits layers among n stages as evenly as possible; the remainder goes
// to the middle stages, so that the ends, which also hold the embedding and the
// loss, have fewer. With account these two count as a layer each, as Megatron's
// get_num_layers_to_build does. nil if a stage would hold nothing at all.
func divide(layers, n int64, account bool) []int64 {
	total := layers
	if account {
		total += 2
	}
	base, rest := total/n, total%n
	if base == 0 {
		return nil
	}
	out := make([]int64, n)
	for i := range out {
		out[i] = base
	}
	for i := range rest {
		out[(n-rest)/2+i]++
	}
	if account {
		out[0]--
		out[n-1]--
	}
	if out[0] < 0 || out[n-1] < 0 {
		return nil
	}
	return out
}

// fillFront gives each stage the mean number of layers, rounded up, until none
// is left: the last stages stay light for the MTP modules and two output
// layers, as Megatron-Bridge lays DeepSeek-V3 out (deepseek_v3 recipe, pipeline
// layout of 16 stages: 4 layers on fifteen, 1 on the last).
func fillFront(layers, n int64) []int64 {
	per := (layers + n - 1) / n
	out := make([]int64, n)
	for i := range out {
		out[i] = min(per, layers)
		layers -= out[i]
	}
	return out
}
