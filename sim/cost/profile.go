package cost

import (
	"fmt"

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
	RelErr float64 // half width of the 90 % interval, relative
	Source Source
	Note   string // the rule, for Derived and Roofline; else empty
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

	hw *hw.GPU
}

// Provenance is one table that a fit used.
type Provenance struct {
	Family  Family `json:"family"`
	Table   string `json:"table"`
	Source  string `json:"source"`
	Rows    int    `json:"rows"`
	SHA256  string `json:"sha256"`
	FitDate string `json:"fit_date"`
}

// MissingError says that no profile can price a kernel, and what would help.
type MissingError struct {
	Profile string
	Kernel  Kernel
	Why     string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("no price for %q in profile %s: %s; measure it with `sim calibrate measure --family %s`",
		e.Kernel, e.Profile, e.Why, e.Kernel.Family())
}
