package packing

// Variant is SlimPack without some of its mechanisms.
type Variant struct {
	Name  string
	Packs SlimPack
}

// Ablation lists SlimPack whole and with each mechanism left out, then without any.
func Ablation() []Variant {
	return []Variant{
		{"all", SlimPack{}},
		{"no slices", SlimPack{NoSlices: true}},
		{"no asymmetry", SlimPack{NoAsymmetry: true}},
		{"no assignment", SlimPack{NoAssignment: true}},
		{"no search", SlimPack{NoSearch: true}},
		{"no merge", SlimPack{NoMerge: true}},
		{"no ramps", SlimPack{NoRamps: true}},
		{"none", SlimPack{NoSlices: true, NoAsymmetry: true, NoAssignment: true, NoSearch: true, NoMerge: true, NoRamps: true}},
	}
}
