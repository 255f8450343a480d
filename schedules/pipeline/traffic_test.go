package pipeline

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The outputs that leave a device, counted from the order, are those of the stages
// whose neighbours are elsewhere, for every microbatch and slice.
func TestSends(t *testing.T) {
	for _, s := range All() {
		shapes := smallShapes(s)
		rapid.Check(t, func(t *rapid.T) {
			shape := rapid.SampledFrom(shapes).Draw(t, "shape")
			order, err := s.Order(shape)
			require.NoError(t, err)
			want := make([]int, shape.Devices)
			for mb := range shape.Microbatches {
				for stage := 1; stage < Stages(s, shape); stage++ {
					before := s.Device(shape, Slot{Stage: int32(stage - 1), Microbatch: int32(mb)})
					after := s.Device(shape, Slot{Stage: int32(stage), Microbatch: int32(mb)})
					if before != after {
						want[before] += shape.slices()
						want[after] += shape.slices()
					}
				}
			}
			require.Equal(t, want, Sends(s, shape, order), s.Name())
		})
	}
}

// What the papers say of the volume between stages: v times that of 1F1B for v
// chunks on a ring (and the way back to the first device), twice for a V.
func TestSendsOfThePapers(t *testing.T) {
	p, m := 4, 8
	for name, want := range map[string]int{"1f1b": 2 * m * (p - 1), "interleaved_1f1b": 2 * m * (2*p - 1), "zbv": 2 * 2 * m * (p - 1), "seq1f1b": 4 * 2 * m * (p - 1)} {
		s, err := Lookup(name)
		require.NoError(t, err)
		shape, err := UsualShape(s.Check, p, m)
		require.NoError(t, err)
		order, err := s.Order(shape)
		require.NoError(t, err)
		total := 0
		for _, n := range Sends(s, shape, order) {
			total += n
		}
		require.Equal(t, want, total, name)
	}
}

// Every schedule has a shape to be compared in, if not at these devices or
// microbatches.
func TestUsualShape(t *testing.T) {
	for _, s := range All() {
		rapid.Check(t, func(t *rapid.T) {
			p, m := size(t, "p", 1, 8), size(t, "m", 1, 20)
			shape, err := UsualShape(s.Check, p, m)
			if err != nil {
				require.EqualError(t, err, s.Check(Shape{Devices: p, Virtual: 1, Microbatches: m, Slices: 1}).Error())
				return
			}
			require.NoError(t, s.Check(shape))
			require.Equal(t, p, shape.Devices)
			require.GreaterOrEqual(t, shape.Microbatches, m)
		})
	}
	shape, err := UsualShape(dualPipeV{}.Check, 4, 5)
	require.NoError(t, err)
	require.Equal(t, Shape{Devices: 4, Virtual: 2, Microbatches: 8, Slices: 1}, shape)
	_, err = UsualShape(none{}.Check, 4, 8)
	require.Error(t, err)
	_, err = UsualShape(oneFOneB{}.Check, 0, 8)
	require.ErrorContains(t, err, "devices: 0")
}
