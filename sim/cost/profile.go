package cost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// Source tells how a price came to be.
type Source string

// From most to least trusted.
const (
	Measured     Source = "measured"  // this very shape was measured
	Interpolated Source = "fitted"    // inside the shapes that were measured
	Derived      Source = "derived"   // by a stated rule from a fitted kernel or GPU
	Published    Source = "published" // a figure of a paper or a vendor
	Roofline     Source = "roofline"  // outside what was measured
)

// Estimate is a price.
type Estimate struct {
	Time   unit.Time
	RelErr float64 // half width of the 90 % interval, relative to Time
	Source Source
	Note   string // the rule, for Derived, Published and Roofline; else empty
}

// Profile prices kernels on one GPU. It is a small versioned file: parameters
// fitted to measured tables, and where those came from. A nil family has no
// fit; its kernels are derived or refused with an error.
type Profile struct {
	Name        string       `json:"name"`
	Version     int          `json:"version"`
	GPU         string       `json:"gpu"` // key of hw.GPUs
	DerivedFrom string       `json:"derived_from,omitempty"`
	Provenance  []Provenance `json:"provenance"`

	GEMM       map[unit.DType]*GEMMModel    `json:"gemm,omitempty"`
	Grouped    map[unit.DType]*GroupedModel `json:"grouped_gemm,omitempty"`
	Attention  *AttentionModel              `json:"attention,omitempty"`
	MoE        map[unit.DType]*MoEModel     `json:"moe,omitempty"`
	Memory     *MemoryModel                 `json:"memory_bound,omitempty"`
	Collective *CollectiveModel             `json:"collective,omitempty"`
	Exchange   *ExchangeModel               `json:"ep_alltoall,omitempty"`

	hw   *hw.GPU
	base *Profile // prices, by the deriving rule, what this profile has no fit for
}

// Version of the profile format that this program reads and writes.
const Version = 1

// Provenance is one table that a fit used.
type Provenance struct {
	Family  Family `json:"family"`
	Table   string `json:"table"`
	Source  string `json:"source"`
	Rows    int    `json:"rows"`
	SHA256  string `json:"sha256"`
	FitDate string `json:"fit_date"`
	// Noise says what the table tells of its own uncertainty; "" where nothing.
	Noise string `json:"noise,omitempty"`
	// Synthetic tells that a fake GPU made the numbers: the profile is for tests.
	Synthetic bool `json:"synthetic,omitempty"`
}

// NewProfile returns a profile of a GPU that has no fits yet and takes what it
// lacks from base, which may be nil.
func NewProfile(name string, g *hw.GPU, base *Profile) *Profile {
	p := &Profile{Name: name, Version: Version, GPU: g.Name, hw: g}
	p.DeriveFrom(base)
	return p
}

// DeriveFrom makes base price what p has no fit for; nil makes that an error.
func (p *Profile) DeriveFrom(base *Profile) {
	p.base, p.DerivedFrom = base, ""
	if base != nil {
		p.DerivedFrom = base.Name
	}
}

// ReadProfile parses a profile file. base gives the profile that the file says it
// is derived from.
func ReadProfile(data []byte, base func(name string) (*Profile, error)) (*Profile, error) {
	p := &Profile{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if p.Version != Version {
		return nil, fmt.Errorf("profile %q: version %d, this program reads version %d", p.Name, p.Version, Version)
	}
	var err error
	if p.hw, err = hw.LookupGPU(p.GPU); err != nil {
		return nil, fmt.Errorf("profile %q: %w", p.Name, err)
	}
	if p.DerivedFrom != "" {
		if p.base, err = base(p.DerivedFrom); err != nil {
			return nil, fmt.Errorf("profile %q: %w", p.Name, err)
		}
	}
	return p, nil
}

// Hardware is the GPU that the profile prices.
func (p *Profile) Hardware() *hw.GPU { return p.hw }

// Base is the profile that prices what this one has no fit for; nil without one.
func (p *Profile) Base() *Profile { return p.base }

// Families lists the families that have a fit of their own.
func (p *Profile) Families() []Family {
	var fs []Family
	add := func(f Family, has bool) {
		if has {
			fs = append(fs, f)
		}
	}
	a := p.Attention
	add(FamGEMM, len(p.GEMM) > 0)
	add(FamGroupedGEMM, len(p.Grouped) > 0)
	add(FamAttention, a != nil && len(a.Causal) > 0)
	add(FamEncoderAttn, a != nil && a.Encoder != nil)
	add(FamDecodeAttn, a != nil && len(a.Decode) > 0)
	add(FamMLA, a != nil && len(a.Latent) > 0)
	add(FamMoE, len(p.MoE) > 0)
	add(FamMemory, p.Memory != nil)
	add(FamCollective, p.Collective != nil)
	add(FamP2P, p.Collective != nil && slices.ContainsFunc(p.Provenance, func(v Provenance) bool { return v.Family == FamP2P }))
	add(FamAllToAll, p.Exchange != nil)
	return fs
}

// MissingError says that no profile can price a kernel, and what would help.
type MissingError struct {
	Profile string
	Kernel  Kernel
	Why     string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("no price for %q in profile %s: %s; measure it with `sim calibrate run --only %s/`",
		e.Kernel, e.Profile, e.Why, e.Kernel.Family())
}
