package pipeline

import "orrery/sim/unit"

// slicedSample is transcribed from vectors.csv (costs 10, 12, 8; transfers 1).
// The rows of bfs_looped and torch_interleaved_1f1b follow PyTorch's schedules,
// seq1f1b's thunlp's and sail-sg's code; the others were rebuilt from papers.
var slicedSample = []struct {
	name     string
	shape    Shape
	costs    Costs
	makespan unit.Time
	peak     []int
}{
	{"bfs_looped", Shape{4, 2, 8, 1, 0}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 576, []int{16, 16, 16, 16}},
	{"torch_interleaved_1f1b", Shape{4, 2, 5, 1, 0}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 396, []int{10, 10, 8, 6}},
	{"seq1f1b", Shape{4, 1, 4, 4, 0}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 594, []int{7, 6, 5, 4}},
	{"seq1f1b", Shape{4, 1, 4, 8, 0}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 1092, []int{11, 10, 9, 8}},
	{"terapipe", Shape{4, 1, 4, 8, 0}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 1056, []int{32, 32, 32, 32}},
	{"mepipe_svpp", Shape{4, 2, 4, 2, 2}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 598, []int{9, 8, 7, 6}},
	{"mepipe_svpp", Shape{4, 2, 4, 16, 1}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 4080, []int{35, 34, 33, 32}},
	{"slimpipe", Shape{4, 1, 4, 8, 0}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 1056, []int{14, 12, 10, 8}},
	{"slimpipe", Shape{4, 1, 4, 16, 0}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 2016, []int{22, 20, 18, 16}},
}
