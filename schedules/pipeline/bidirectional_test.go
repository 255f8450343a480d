package pipeline

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// drawTwoWay is a shape that Check of both bidirectional schedules accepts.
func drawTwoWay(t *rapid.T) Shape {
	p := 2 * size(t, "p/2", 1, 6)
	return Shape{Devices: p, Virtual: 2, Microbatches: p * size(t, "m/p", 2, 5)}
}

// T = ideal + (p/2-1)(FB + B - 3W) where a forward takes as long as a backward for
// inputs and one for weights no longer (deepseek-ai/DualPipe, README): a pair FB
// takes F+B here, B = I+W. The peak is p+1 on every device.
func TestDualPipeClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, c := drawTwoWay(t), drawCosts(t)
		c.F, c.W, c.Comm = c.I, min(c.W, c.I), 0
		r := simulated(t, "dualpipe", shape, c)
		p, m := unit.Time(shape.Devices), unit.Time(shape.Microbatches)
		b := c.I + c.W
		require.Equal(t, m*(c.F+b)+(p/2-1)*(c.F+b+b-3*c.W), r.Makespan)
		for _, peak := range r.Peak {
			require.Equal(t, shape.Devices+1, peak)
		}
	})
}

// Two devices have no bubble, whatever the passes take.
func TestDualPipeOfTwoHasNoBubble(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCosts(t)
		c.Comm = 0
		shape := Shape{Devices: 2, Virtual: 2, Microbatches: 2 * size(t, "m/2", 2, 20)}
		r := simulated(t, "dualpipe", shape, c)
		require.Equal(t, unit.Time(shape.Microbatches)*(c.F+c.I+c.W), r.Makespan)
	})
}

// T = 2m+p-2 passes where a backward takes as long as a forward, F(3m + (p-2)(m/p+1))
// where it takes twice as long (Chimera, arXiv:2107.06925, section 3.4); the peak
// grows from p/2+1 on the outer devices to p on the inner two.
func TestChimeraClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := drawTwoWay(t)
		shape.Microbatches /= size(t, "groups of", 1, 2)
		shape.Microbatches -= shape.Microbatches % shape.Devices
		p, m := shape.Devices, shape.Microbatches
		pass := unit.Time(size(t, "pass", 1, 50))
		require.Equal(t, unit.Time(2*m+p-2)*pass, simulated(t, "chimera", shape, Costs{F: pass, I: pass}).Makespan)
		r := simulated(t, "chimera", shape, Costs{F: pass, I: pass, W: pass})
		require.Equal(t, unit.Time(3*m+(p-2)*(m/p+1))*pass, r.Makespan)
		for d, peak := range r.Peak {
			require.Equal(t, p/2+1+min(d, p-1-d), peak, "device %d", d)
		}
	})
}

// What a device does with the microbatches down, the one opposite does with those up.
func TestTwoWaySymmetry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := drawTwoWay(t)
		for _, c := range []struct {
			s     Schedule
			other func(mb int) int // the microbatch in the place of mb, the other way
		}{
			{dualPipe{}, func(mb int) int { return (mb + shape.Microbatches/2) % shape.Microbatches }},
			{chimera{}, func(mb int) int { return mb - mb%shape.Devices + (mb+shape.Devices/2)%shape.Devices }},
		} {
			order, err := c.s.Order(shape)
			require.NoError(t, err)
			for d, slots := range order {
				mirrored := slices.Clone(slots)
				for i := range mirrored {
					mirrored[i].Microbatch = int32(c.other(int(mirrored[i].Microbatch)))
				}
				require.Equal(t, mirrored, order[shape.Devices-1-d], "%s, device %d", c.s.Name(), d)
			}
		}
	})
}

func TestTwoWayRefuses(t *testing.T) {
	for _, c := range []struct {
		s     Schedule
		shape Shape
		want  string
	}{
		{dualPipe{}, Shape{Devices: 3, Virtual: 2, Microbatches: 8}, "an even number of devices, got 3; 2 or 4 would do"},
		{dualPipe{}, Shape{Devices: 1, Virtual: 2, Microbatches: 8}, "got 1; 2 would do"},
		{dualPipe{}, Shape{Devices: 4, Virtual: 2, Microbatches: 6}, "6 microbatches are fewer than twice the 4 devices; 8 would do"},
		{dualPipe{}, Shape{Devices: 4, Virtual: 2, Microbatches: 9}, "9 cannot be halved; 8 or 10 would do"},
		{dualPipe{}, Shape{Devices: 4, Virtual: 1, Microbatches: 8}, "two model chunks"},
		{dualPipe{}, Shape{Devices: 4, Virtual: 2, Microbatches: 8, Slices: 2}, "slices"},
		{dualPipe{}, Shape{Devices: 4, Virtual: 2, Microbatches: 8, Group: 2}, "group"},
		{chimera{}, Shape{Devices: 5, Virtual: 2, Microbatches: 5}, "got 5; 4 or 6 would do"},
		{chimera{}, Shape{Devices: 4, Virtual: 2, Microbatches: 10}, "8 or 12 would do"},
		{chimera{}, Shape{Devices: 4, Virtual: 2, Microbatches: 2}, "fewer than the 4 devices; 4 would do"},
		{chimera{}, Shape{Devices: 4, Virtual: 4, Microbatches: 8}, "two model chunks"},
	} {
		require.ErrorContains(t, c.s.Check(c.shape), c.want, "%s %+v", c.s.Name(), c.shape)
	}
}
