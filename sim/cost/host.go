package cost

import (
	"fmt"

	"orrery/sim/unit"
)

// HostCopy moves bytes between a GPU and its host's memory, one way, over a link
// with a published rate in 1e9 B/s.
type HostCopy struct {
	Bytes int64
	GBps  float64
}

// FamHostCopy is the family of copies to and from the host.
const FamHostCopy Family = "host_copy"

// Family implements Kernel.
func (HostCopy) Family() Family { return FamHostCopy }

// FLOPs implements Kernel.
func (HostCopy) FLOPs() float64 { return 0 }

// HBMBytes implements Kernel.
func (c HostCopy) HBMBytes() float64 { return float64(c.Bytes) }

func (c HostCopy) String() string {
	return fmt.Sprintf("host_copy bytes=%d link=%gGB/s", c.Bytes, c.GBps)
}

// What copies with pinned memory reach of the link's rate, and what starting one
// costs. Assumed: PCIe's packets leave 85 to 90 %.
const (
	hostShare  = 0.85
	hostMicros = 10
	hostErr    = 0.2
)

func (c HostCopy) price() (Estimate, error) {
	if c.Bytes < 0 || !(c.GBps > 0) {
		return Estimate{}, fmt.Errorf("%s makes no sense", c)
	}
	us := hostMicros + float64(c.Bytes)/(c.GBps*1e3*hostShare)
	return Estimate{Time: unit.Seconds(us * 1e-6), RelErr: hostErr, Source: Published, Note: fmt.Sprintf("the link's published rate, of which %.0f %% is assumed", 100*hostShare)}, nil
}
