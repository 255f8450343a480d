package plan

// VocabKeptBytes is what a pass S of vocabulary-parallel 1F1B leaves on a rank for
// the next one: the softmax of the rank's share in fp32, 4 V/(p TP) a token, or in
// bf16 with fused cross entropy, and the hidden states. Where one S ends and the
// next begins both are there, which is as much as the loss needs beside its result
// (LogitsBytes).
func (p *Plan) VocabKeptBytes() int64 {
	par := p.Scenario.Parallel
	hidden := 2 * p.Tokens * p.Model.Hidden
	if p.Scenario.Schedule.Barriers == 2 && par.SP { // gathered again
		hidden /= par.TP
	}
	softmax := 4 * p.Tokens * p.Vocab / (par.TP * par.PP)
	if p.Scenario.Framework.FusedCrossEntropy {
		softmax /= 2
	}
	return softmax + hidden
}
