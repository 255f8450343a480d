package plan

import (
	"math"
	"math/rand/v2"

	"orrery/models"
	"orrery/scenarios"
)

// drawBatches draws the length of every sequence of the step and makes the
// microbatches' shapes. Data-parallel ranks get different sequences and the step
// waits for the slowest: the one with the most tokens, padding included, stands
// for all.
func (p *Plan) drawBatches() {
	s := p.Scenario
	if s.Model.Net == nil {
		return
	}
	d := drawing{s: s, rng: rand.New(rand.NewPCG(uint64(s.Data.Seed), 0))}
	passes := 1
	if s.Data.Consistency {
		passes = 2
	}
	most := int64(-1)
	for range s.Parallel.DP {
		var rank [][]models.Batch
		tokens := int64(0)
		for range p.Microbatches {
			var mb []models.Batch
			for pass := range passes {
				b, own := d.batch(s.Training.MicroBatch)
				mb = append(mb, b)
				tokens += b.Tokens
				p.paddedTokens += b.Tokens
				p.ownTokens += own
				if pass == 0 { // an augmentation is no example
					p.stepTokens += own
				}
			}
			rank = append(rank, mb)
		}
		if tokens > most {
			most, p.Batches = tokens, rank
		}
	}
}

// StepTokens is how many tokens of examples a step trains on, over all ranks:
// without padding and augmentations.
func (p *Plan) StepTokens() int64 {
	if p.Varlen != nil {
		return int64(p.Varlen.Job.Tokens())
	}
	if p.Model.Net == nil {
		return p.Scenario.Training.GlobalBatch * p.Scenario.Training.SequenceLength
	}
	return p.stepTokens
}

// PaddingShare is the share of the rows of tokens, over all ranks, that are
// padding.
func (p *Plan) PaddingShare() float64 {
	if p.Varlen != nil {
		own, padded := p.Varlen.packedTokens()
		return 1 - float64(own)/float64(padded)
	}
	if p.paddedTokens == 0 {
		return 0
	}
	return 1 - float64(p.ownTokens)/float64(p.paddedTokens)
}

// drawing draws sequences with a generator of their own.
type drawing struct {
	s   *scenarios.Scenario
	rng *rand.Rand
}

// batch draws so many sequences and pads them, or packs them. tokens is how many
// are no padding.
func (d drawing) batch(sequences int64) (b models.Batch, tokens int64) {
	data, longest := d.s.Data, d.s.Training.SequenceLength
	b.Dialogues = sequences
	for range sequences {
		turns := d.length(data.DialogueUtterances, data.DialogueSigma, data.LongestDialogue)
		b.Turns = max(b.Turns, turns)
		b.Utterances += turns
		b.TurnPairs += turns * turns
		for range turns {
			n := d.length(data.UtteranceTokens, data.UtteranceSigma, longest)
			b.Length = max(b.Length, n)
			tokens += n
			b.TokenPairs += n * n
		}
	}
	b.Tokens = tokens
	switch data.Padding {
	case "longest":
		b = models.Rectangle(sequences, b.Turns, b.Length)
	case "max":
		b = models.Rectangle(sequences, data.LongestDialogue, longest)
	}
	return b, tokens
}

// length draws from a log-normal distribution with the given mean, cut at 1 and
// the longest.
func (d drawing) length(mean, sigma float64, longest int64) int64 {
	x := math.Exp(math.Log(mean) - sigma*sigma/2 + sigma*d.rng.NormFloat64())
	return min(max(int64(math.Round(min(x, float64(longest)))), 1), longest)
}

// BatchBytes is what the passes of a microbatch keep for their backward passes,
// in a model that lists its layers.
func (p *Plan) BatchBytes(microbatch int) int64 {
	sum := 0.0
	for _, b := range p.Batches[microbatch] {
		for _, l := range p.Model.Net {
			sum += l.SavedBytes(b)
		}
	}
	return int64(sum)
}
