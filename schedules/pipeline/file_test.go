package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// An order that is written and read runs as the schedule that made it.
func TestReadOrderRoundTrip(t *testing.T) {
	// The grammar knows no modules.
	singles := slices.DeleteFunc(All(), func(s Schedule) bool { _, ok := s.(Multimodal); return ok })
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(singles).Draw(t, "schedule")
		shape := drawAccepted(t, s)
		c := drawCosts(t)
		want, err := Simulate(s, shape, c)
		require.NoError(t, err)
		text := FormatOrder(Cells(want.Order, shape.Slices > 1))
		f, err := ReadOrder(text)
		require.NoError(t, err)
		require.Equal(t, shape, f.Shape)
		got, err := Simulate(f, f.Shape, c)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

// drawAccepted draws among all small shapes that the schedule accepts: most shapes
// drawn blindly are refused, and rapid gives up on a test that skips too often.
func drawAccepted(t *rapid.T, s Schedule) Shape {
	var shapes []Shape
	for p := range 6 {
		for v := range 3 {
			for m := range 9 {
				for n := range 8 {
					shape := Shape{Devices: p + 1, Virtual: v + 1, Microbatches: m + 1, Slices: n + 1}
					if s.Check(shape) == nil {
						shapes = append(shapes, shape)
					}
				}
			}
		}
	}
	return rapid.SampledFrom(shapes).Draw(t, "shape")
}

// An order with two copies of each stage is read back with both.
func TestReadOrderBothWays(t *testing.T) {
	for _, s := range []Schedule{dualPipe{}, chimera{}} {
		shape, c := Shape{Devices: 4, Virtual: 2, Microbatches: 8, Slices: 1}, Costs{F: 10, I: 12, W: 8, Comm: 1}
		want, err := Simulate(s, shape, c)
		require.NoError(t, err)
		f, err := ReadOrder(FormatOrder(Cells(want.Order, false)))
		require.NoError(t, err)
		require.Equal(t, shape, f.Shape)
		require.Equal(t, 2, f.Replicas())
		for _, slots := range want.Order {
			for _, slot := range slots {
				require.Equal(t, s.(Bidirectional).Copy(shape, slot), f.Copy(shape, slot), "%v", slot)
			}
		}
		got, err := Simulate(f, shape, c)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestReadOrderRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no devices"},
		{"0F0,0B0\n\n", "device 1 (line 2) has no passes"},
		{"0F0,0X0\n", `line 1, cell 2: "0X0" is not an action`},
		{"0F0,0F0.1,0B0\n", "1 passes name a slice and 2 do not"},
		{"0F0,0B0\n1F0,1B0,2F0,2B0\n", "stages 0 to 2 in 1 copies are not divided by the 2 devices"},
		{"0F0,0B0\n1F1,1B1\n", "2 forward passes; the highest numbers (2 stages, 2 microbatches, 1 slices) ask for 4"},
		{"0F0,0B0,1F0\n1B0\n", "microbatch 0 runs through stage 1 on device 0 and on device 1"},
		{"0F0,0B0,1F0,1B0\n1F1,1B1\n0F1,0F1,0B1\n", "5 forward passes"},
		{"0F0,0B0,1F0,1B0,1F1,1B1\n0F1,0B1\n", "stage 0 is on 2 devices and stage 1 on 1"},
		{"0F0,0F0,0B0\n1F0,1B1\n", "3 forward passes"},
		{"0F0,0F0,0B0\n1F1,1F0,1B0\n", "stage 0 lacks the passes of microbatch 1"},
		{"0F0,(0F1;0B0)OVERLAP_F_B,0B1\n1F0,1F1,1B1,1B0\n", "0B0.0 on device 0 waits for 1B0.0, which device 1 runs later"},
		{"0F2147483647\n", "more than"},
		{"0F0\n1F0\n", "lacks passes"},
		// Each device waits for what the other runs later.
		{"0F0,0B0,0F1,0B1\n1F1,1F0,1B0,1B1\n", "deadlock: device 0 never gets to run 0B0.0: 0B0.0 on device 0 waits for 1B0.0, which device 1 runs later; 1F1.0 on device 1 waits for 0F1.0, which device 0 runs later"},
		{"0B0,0F0\n", "0B0.0 on device 0 waits for 0F0.0, which device 0 runs later"},
		{"0F0,0W0,0I0\n", "0W0.0 on device 0 waits for 0I0.0, which device 0 runs later"},
	} {
		_, err := ReadOrder(c.text)
		require.ErrorContains(t, err, c.want, "%q", c.text)
	}
}

// TestReadOrderGolden reads PyTorch's and torchtitan's own files.
func TestReadOrderGolden(t *testing.T) {
	dir := filepath.Join(sharedSchedules(t), "golden")
	for name, want := range map[string]FileOrder{
		"pytorch_zb1p_2rank_2stagep_compute.csv":          {Shape: Shape{2, 2, 8, 1, 0}},
		"pytorch_zb1p_2rank_2stagep_comms.csv":            {Shape: Shape{2, 2, 8, 1, 0}, Untimed: 96},
		"pytorch_dualpipev_4rank_10mb.csv":                {Shape: Shape{4, 2, 10, 1, 0}, Pairs: 41},
		"torchtitan_custom_schedule_2rank_4stage_8mb.csv": {Shape: Shape{2, 2, 8, 1, 0}},
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		f, err := ReadOrder(string(text))
		require.NoError(t, err, name)
		require.Equal(t, want.Shape, f.Shape, name)
		require.Equal(t, want.Untimed, f.Untimed, name)
		require.Equal(t, want.Pairs, f.Pairs, name)
	}
}

// FuzzReadOrder: no text makes the reader panic, and what it accepts runs and
// survives another round.
func FuzzReadOrder(f *testing.F) {
	for _, text := range []string{"0F0,0B0\n", "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n", "0F0.0,0F0.1,0B0.1,0B0.0\n", "0F0,(0F1;0B0)OVERLAP_F_B,0B1\n", "0F0,1F1,1B1,0B0\n1F0,0F1,1B0,0B1\n", "0UNSHARD,0F0,0I0,0W0\n", "9F9\n", ",\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ReadOrder(text)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		again, err := ReadOrder(FormatOrder(Cells(o.order, o.Shape.Slices > 1)))
		require.NoError(t, err)
		require.Equal(t, o.order, again.order)
	})
}
