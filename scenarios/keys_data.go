package scenarios

// net marks keys that are present only in models that list their layers
// (models.Model.Net): a transformer's sequences are whole.
func net(f *field) *field {
	f.net = true
	return f
}

// both marks keys that are present there and where samples are packed.
func both(f *field) *field {
	f.net, f.packed = true, true
	return f
}

var dataKeys = []*field{
	net(&field{key: "data.utterance_tokens", unit: "tokens", min: 1, max: 1e6, how: "training.sequence_length, all alike",
		doc: "Mean tokens of an utterance; lengths are log-normal, cut at training.sequence_length.",
		at:  func(s *Scenario) any { return &s.Data.UtteranceTokens }}),
	net(&field{key: "data.utterance_sigma", min: 0, max: 3, how: "0.5; 0 where all are alike", doc: "Standard deviation of the logarithm of an utterance's tokens.",
		at: func(s *Scenario) any { return &s.Data.UtteranceSigma }}),
	net(&field{key: "data.dialogue_utterances", def: 1.0, min: 1, max: 1e4, unit: "utterances", doc: "Mean utterances of a dialogue, which is what a sequence is; log-normal too.",
		at: func(s *Scenario) any { return &s.Data.DialogueUtterances }}),
	net(&field{key: "data.dialogue_sigma", min: 0, max: 3, how: "0.5; 0 where dialogue_utterances is 1", doc: "Standard deviation of the logarithm of a dialogue's utterances.",
		at: func(s *Scenario) any { return &s.Data.DialogueSigma }}),
	net(&field{key: "data.longest_dialogue", min: 1, max: 1e5, unit: "utterances", how: "4 x dialogue_utterances", doc: "Utterances at which dialogues are cut.",
		at: func(s *Scenario) any { return &s.Data.LongestDialogue }}),
	net(&field{key: "data.padding", def: "longest", names: fixed("longest", "max", "none"),
		doc: "Sequences are padded to the `longest` of the microbatch, or to the `max`imum that training.sequence_length and longest_dialogue allow; `none` packs them.",
		at:  func(s *Scenario) any { return &s.Data.Padding }}),
	both(&field{key: "data.seed", def: int64(1), min: 0, max: maxInt, doc: "Seed of the lengths that the step's sequences have.",
		at: func(s *Scenario) any { return &s.Data.Seed }}),
	net(&field{key: "data.consistency", def: false,
		doc: "Each example and an augmentation of it, whose lengths are drawn too, pass through the model, and a symmetric KL term joins their outputs (arXiv:2301.02010).",
		at:  func(s *Scenario) any { return &s.Data.Consistency }}),
	net(&field{key: "data.by_dialogue", def: false,
		doc: "A loop over the dialogues of the batch, as Co-GAT's published code has around the LSTM over words and each head's weighted sum; false batches them.",
		at:  func(s *Scenario) any { return &s.Data.ByDialogue }}),
}
