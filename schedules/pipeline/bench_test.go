package pipeline

import "testing"

// The size at which schedules are to be fast: 10 ms for an order
// and its time, 100 ms where the order is searched for (the V-shaped ones that are
// reordered, the automatic ones, and weight gradients in pieces).
const benchmarkDevices, benchmarkMicrobatches = 16, 256

// BenchmarkSchedules makes and times the order of every schedule, and of the
// automatic ones.
func BenchmarkSchedules(b *testing.B) {
	c := Costs{F: 10, I: 12, W: 8, Comm: 1}
	for _, s := range All() {
		shape, err := UsualShape(s.Check, benchmarkDevices, benchmarkMicrobatches)
		if err != nil {
			continue // one device only
		}
		if shape.Slices > 1 {
			shape.Slices = 4
			if s.Check(shape) != nil { // as many slices as devices; as much in flight
				shape.Slices, shape.Microbatches = benchmarkDevices, 4*benchmarkMicrobatches/benchmarkDevices
			}
		}
		benchmarkSchedule(b, s.Name(), func() (*Timing, error) { return Simulate(s, shape, c) })
	}
	for _, a := range Autos() {
		shape, err := UsualShape(a.Check, benchmarkDevices, benchmarkMicrobatches)
		if err != nil {
			b.Fatal(err)
		}
		benchmarkSchedule(b, a.Name(), func() (*Timing, error) {
			s, err := a.Order(shape, c, 2*benchmarkDevices)
			if err != nil {
				return nil, err
			}
			return Simulate(s, shape, c)
		})
	}
	shape := Shape{Devices: benchmarkDevices, Virtual: 2, Microbatches: benchmarkMicrobatches, Slices: 4}
	benchmarkSchedule(b, "mepipe_svpp_pieces", func() (*Timing, error) { return MEPipePieces(shape, 8, 0, c) })
}

func benchmarkSchedule(b *testing.B, name string, run func() (*Timing, error)) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		ops := 0
		for b.Loop() {
			t, err := run()
			if err != nil {
				b.Fatal(err)
			}
			for _, slots := range t.Order {
				ops += len(slots)
			}
		}
		b.ReportMetric(float64(ops)/b.Elapsed().Seconds(), "ops/s")
	})
}
