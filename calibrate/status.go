package calibrate

import (
	"slices"

	"orrery/sim/cost"
)

// FamilyStatus tells how a profile prices one family.
type FamilyStatus struct {
	Family cost.Family `json:"family"`
	// From is the profile with the fit: the profile's own name, the one that the
	// price is derived from, or "" where no hardware has been measured.
	From string `json:"from"`
	Rows int    `json:"rows"` // measured rows behind the fit
}

// ProfileStatus tells how a profile prices each family.
type ProfileStatus struct {
	Profile  string         `json:"profile"`
	Families []FamilyStatus `json:"families"`
}

// families in the order of a training step's weight.
var families = []cost.Family{cost.FamGEMM, cost.FamGroupedGEMM, cost.FamAttention, cost.FamMLA, cost.FamEncoderAttn, cost.FamDecodeAttn,
	cost.FamMoE, cost.FamMemory, cost.FamCollective, cost.FamP2P, cost.FamAllToAll}

// Status lists, for every profile, what is fitted to its own hardware's tables,
// what is derived from another profile, and what nobody measured.
func Status() ([]ProfileStatus, error) {
	var out []ProfileStatus
	for _, name := range ProfileNames() {
		p, err := Profile(name)
		if err != nil {
			return nil, err
		}
		st := ProfileStatus{Profile: name}
		for _, f := range families {
			fs := FamilyStatus{Family: f}
			for q := p; q != nil; q = q.Base() {
				if slices.Contains(q.Families(), f) {
					fs.From = q.Name
					for _, v := range q.Provenance {
						if v.Family == f {
							fs.Rows += v.Rows
						}
					}
					break
				}
			}
			st.Families = append(st.Families, fs)
		}
		out = append(out, st)
	}
	return out, nil
}
