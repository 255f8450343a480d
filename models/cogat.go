package models

import "slices"

// coGAT is Co-GAT (arXiv:2012.13260) as its authors' code runs it
// (RaleLee/Co-GAT, nn/encode.py, decode.py and relation.py, hidden size 256): a
// BiLSTM over the words of each utterance and the maximum over them; graph
// attention among the utterances of a speaker; a BiLSTM over the dialogue for
// each task; graph attention over the nodes of both tasks, fully connected, with
// extra single-headed layers before it; a decoder for each task. A speaker's
// graph is a mask on the full one and costs as much.
func coGAT(vocab, embedding int64, extra int, acts, sentiments int64) []Layer {
	const d, heads, tasks = 256, 8, 2
	residual := Add{Width: d, PerTurn: 1, Over: Turns}
	task := LSTM{In: d, Hidden: d / 2, Bidirectional: true, Over: Turns}
	return slices.Concat([]Layer{
		Embedding{Vocab: vocab, Width: embedding},
		LSTM{In: embedding, Hidden: d / 2, Bidirectional: true, Over: Tokens},
		Pool{Width: d},
		Graph{In: d, Out: d, Heads: heads, PerTurn: 1},
		Graph{In: heads * d, Out: d, Heads: 1, PerTurn: 1},
		residual,
		task, residual, task, residual,
	}, repeat(extra, Graph{In: d, Out: d, Heads: 1, PerTurn: tasks}), []Layer{
		Graph{In: d, Out: d, Heads: heads, PerTurn: tasks},
		Graph{In: heads * d, Out: d, Heads: 1, PerTurn: tasks},
		Add{Width: d, PerTurn: tasks, Over: Turns},
		Dense{In: d, Out: d, Over: Turns}, residual,
		Dense{In: d, Out: sentiments, Over: Turns},
		Loss{Classes: sentiments, Over: Turns},
		LSTM{In: d, Hidden: d, Over: Turns}, residual,
		Dense{In: d, Out: acts, Over: Turns},
		Loss{Classes: acts, Over: Turns},
	})
}

// The README's settings: embeddings of 800 and two graph layers (a single stack
// of eight heads and one) for Mastodon, embeddings of 128 and three for
// DailyDialog. Labels are counted from the data when the code starts: 15 acts and
// 3 sentiments, 4 acts and 7 emotions are assumed, as are the vocabularies.
func init() {
	const source = "arXiv:2012.13260; layers and settings: RaleLee/Co-GAT, README.md and nn/; vocabulary assumed"
	register(network("co-gat-mastodon", "Co-GAT for Mastodon", source, coGAT(5_000, 800, 0, 15, 3)...))
	register(network("co-gat-dailydialog", "Co-GAT for DailyDialog", source, coGAT(20_000, 128, 1, 4, 7)...), "co-gat")
}
