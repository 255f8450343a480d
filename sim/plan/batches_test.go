package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/plan"
)

func listed(t require.TestingT, values map[string]any) *plan.Plan {
	all := map[string]any{"model.name": "co-gat", "framework.preset": "ddp", "cluster.gpus": int64(1),
		"training.sequence_length": int64(64), "training.micro_batch": int64(8), "training.microbatches": int64(1)}
	for k, v := range values {
		all[k] = v
	}
	return newPlan(t, all)
}

// The lengths that are drawn lie between 1 and the longest, the same each time,
// and padding only adds to them; what is an example's is counted once.
func TestDrawnBatches(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mean := float64(rapid.IntRange(1, 64).Draw(rt, "tokens"))
		turns := float64(rapid.IntRange(1, 20).Draw(rt, "turns"))
		values := map[string]any{"data.utterance_tokens": mean, "data.dialogue_utterances": turns,
			"cluster.gpus": rapid.Int64Range(1, 8).Draw(rt, "gpus"), "training.microbatches": rapid.Int64Range(1, 3).Draw(rt, "microbatches"),
			"data.seed": rapid.Int64Range(0, 1000).Draw(rt, "seed"), "data.consistency": rapid.Bool().Draw(rt, "consistency")}
		passes := 1
		if values["data.consistency"] == true {
			passes = 2
		}
		of := map[string]*plan.Plan{}
		for _, padding := range []string{"none", "longest", "max"} {
			values["data.padding"] = padding
			p := listed(rt, values)
			again := listed(rt, values)
			require.Equal(rt, p.Batches, again.Batches)
			require.Equal(rt, p.StepTokens(), again.StepTokens())
			require.Len(rt, p.Batches, int(p.Microbatches))
			for _, mb := range p.Batches {
				require.Len(rt, mb, passes)
				for _, b := range mb {
					require.Equal(rt, int64(8), b.Dialogues)
					require.LessOrEqual(rt, b.Length, int64(64))
					require.LessOrEqual(rt, b.Turns, p.Scenario.Data.LongestDialogue)
					require.GreaterOrEqual(rt, b.Utterances, b.Dialogues)
					require.GreaterOrEqual(rt, b.Tokens, b.Utterances)
					require.LessOrEqual(rt, b.Tokens, b.Utterances*b.Length)
					require.LessOrEqual(rt, b.TokenPairs, b.Tokens*b.Length)
					require.GreaterOrEqual(rt, b.TokenPairs*b.Utterances, b.Tokens*b.Tokens) // mean of squares
					require.LessOrEqual(rt, b.TurnPairs, b.Utterances*b.Turns)
				}
			}
			of[padding] = p
		}
		require.Zero(rt, of["none"].PaddingShare())
		require.LessOrEqual(rt, of["longest"].PaddingShare(), of["max"].PaddingShare())
		require.Equal(rt, of["none"].StepTokens(), of["max"].StepTokens())
		require.Equal(rt, of["none"].StepTokens(), of["longest"].StepTokens())
	})
}

// Over many sequences the mean is the one that was asked for.
func TestDrawnMean(t *testing.T) {
	p := listed(t, map[string]any{"training.micro_batch": int64(4000), "data.utterance_tokens": 13.0, "data.dialogue_utterances": 7.9,
		"data.longest_dialogue": int64(100), "training.sequence_length": int64(512), "data.padding": "none"})
	b := p.Batches[0][0]
	require.InEpsilon(t, 7.9, float64(b.Utterances)/float64(b.Dialogues), 0.03)
	require.InEpsilon(t, 13, float64(b.Tokens)/float64(b.Utterances), 0.02)
}

// All parameters are one rank's, and the ledger holds them with their states.
func TestListedLayersAreHeldWhole(t *testing.T) {
	p := listed(t, nil)
	dense, expert := p.RankParams(0)
	require.Equal(t, p.Model.Params(), dense)
	require.Zero(t, expert)
	l := p.Static(0)
	require.Equal(t, 18*float64(dense), l.Weights+l.Gradients+l.Optimizer) // bf16 copy, fp32 gradient, master and moments
	require.Zero(t, l.Logits)
}
