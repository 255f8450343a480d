package packing

func init() { register(seq1F1B{}) }

// seq1F1B cuts rows of first-fit decreasing into PP slices of equal forward time
// and runs 1F1B over slices, those of a row last in, first out (Seq1F1B,
// arXiv:2406.03488, section 3.3: slices of equal FLOPs, not equal tokens).
type seq1F1B struct{}

func (seq1F1B) Name() string { return "seq1f1b" }

func (seq1F1B) Describe() string {
	return "rows of ffd cut into pp slices of equal forward time, backward in reverse (Seq1F1B, arXiv:2406.03488)"
}

func (seq1F1B) Pack(j *Job) (*Plan, error) {
	rows := firstFit(j.Lengths, descending(j.Lengths), j.Context)
	plan := &Plan{}
	for i, row := range rows {
		whole := j.row(i%j.DP, row)
		c := cutter{job: j, unit: Unit{First: whole.First, Width: whole.Width}, forward: true, quantum: 1}
		units := c.even(row, j.PP)
		plan.Forward = append(plan.Forward, units...)
		plan.Backward = append(plan.Backward, reversed(units)...)
	}
	return plan, nil
}
