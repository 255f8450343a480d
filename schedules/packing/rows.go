package packing

// whole is the slice of a whole sample.
func (j *Job) whole(sample int32) Slice { return Slice{Sample: sample, X1: int32(j.Lengths[sample])} }

// row is a unit of whole samples on replica r.
func (j *Job) row(r int, samples []int32) Unit {
	u := Unit{First: int32(r * j.CP), Width: int32(j.CP), Slices: make([]Slice, len(samples))}
	for i, s := range samples {
		u.Slices[i] = j.whole(s)
	}
	return u
}

// dealt is the plan of classic packers: rows dealt to the replicas in turn, the
// same units forward and backward.
func (j *Job) dealt(rows [][]int32) *Plan {
	units := make([]Unit, len(rows))
	for i, samples := range rows {
		units[i] = j.row(i%j.DP, samples)
	}
	return &Plan{Forward: units, Backward: units}
}

// padded is rows whose samples are all padded to the longest of the row, so many
// that the row has at most Context tokens then; dealt to the replicas in turn.
func (j *Job) padded(order []int32) *Plan {
	var rows [][]int32
	longest := 0
	for _, i := range order {
		with := max(longest, j.Lengths[i])
		if n := len(rows); n == 0 || (len(rows[n-1])+1)*with > j.Context {
			rows, with = append(rows, nil), j.Lengths[i]
		}
		longest = with
		rows[len(rows)-1] = append(rows[len(rows)-1], i)
	}
	plan := j.dealt(rows)
	for u := range plan.Forward { // shared with Backward
		longest := int32(0)
		for _, s := range plan.Forward[u].Slices {
			longest = max(longest, s.X1)
		}
		for i := range plan.Forward[u].Slices {
			s := &plan.Forward[u].Slices[i]
			s.Pad = longest - s.X1
		}
	}
	return plan
}
