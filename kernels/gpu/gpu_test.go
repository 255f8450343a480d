package gpu_test

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"orrery/kernels/gpu"
	"orrery/kernels/gpu/fakecuda"
	"orrery/kernels/sample"
)

// fake points the launchers to the fake driver.
func fake(t *testing.T) {
	t.Helper()
	path, err := fakecuda.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	t.Setenv(gpu.LibraryEnv, path)
}

// each runs a test on every launcher of this binary.
func each(t *testing.T, f func(t *testing.T, dev gpu.Device)) {
	fake(t)
	for _, l := range gpu.Launchers() {
		t.Run(l.Name(), func(t *testing.T) {
			dev, err := l.Open(0)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, dev.Close()) })
			f(t, dev)
		})
	}
}

func floats(x ...float32) []byte {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func upload(t *testing.T, dev gpu.Device, data []byte) gpu.Ptr {
	t.Helper()
	p, err := dev.Alloc(int64(len(data)))
	require.NoError(t, err)
	require.NoError(t, dev.Upload(p, data))
	t.Cleanup(func() { require.NoError(t, dev.Free(p)) })
	return p
}

func TestNoDriver(t *testing.T) {
	t.Setenv(gpu.LibraryEnv, "libcuda-that-is-not-there.so.1")
	l, err := gpu.Lookup("")
	require.NoError(t, err)
	_, err = l.Count()
	require.ErrorContains(t, err, "install the NVIDIA driver")
	_, err = gpu.Open("", 0)
	require.ErrorContains(t, err, "no CUDA driver")
	_, err = gpu.Open("dlopn", 0)
	require.ErrorContains(t, err, `did you mean "dlopen"?`)
}

func TestNoGPU(t *testing.T) {
	fake(t)
	t.Setenv("ORRERY_FAKE_GPUS", "0")
	_, err := gpu.Open("", 0)
	require.ErrorContains(t, err, "sees no GPU")
	t.Setenv("ORRERY_FAKE_GPUS", "2")
	_, err = gpu.Open("", 2)
	require.ErrorContains(t, err, "there are 2")
}

func TestInfo(t *testing.T) {
	each(t, func(t *testing.T, dev gpu.Device) {
		info := dev.Info()
		require.Equal(t, "orrery fake GPU", info.Name)
		require.True(t, info.Synthetic)
		require.Equal(t, "12.4", info.CUDA)
		require.Equal(t, [2]int{9, 0}, info.Capability)
		require.Equal(t, 1980, info.ClockMHz)
	})
}

// A kernel computes, alone and from a graph, on the arguments that it was given.
func TestLaunch(t *testing.T) {
	each(t, func(t *testing.T, dev gpu.Device) {
		m, err := dev.Load([]byte(fakecuda.PTX))
		require.NoError(t, err)
		f, err := m.Function("fake_saxpy")
		require.NoError(t, err)
		s, err := dev.NewStream()
		require.NoError(t, err)
		y, x := upload(t, dev, floats(1, 2, 3)), upload(t, dev, floats(10, 20, 30))
		launch := func() {
			require.NoError(t, f.Launch(s, gpu.Dim{X: 1, Y: 1, Z: 1}, gpu.Dim{X: 32, Y: 1, Z: 1}, 0, y, x, float32(0.5), int32(2)))
		}
		launch()
		out := make([]byte, 12)
		require.NoError(t, s.Sync())
		require.NoError(t, dev.Download(out, y))
		require.Equal(t, floats(6, 12, 3), out)

		require.NoError(t, s.BeginCapture())
		launch()
		launch()
		g, err := s.EndCapture()
		require.NoError(t, err)
		require.NoError(t, dev.Download(out, y))
		require.Equal(t, floats(6, 12, 3), out, "capturing runs nothing")
		require.NoError(t, g.Launch(s))
		require.NoError(t, g.Launch(s))
		require.NoError(t, s.Sync())
		require.NoError(t, dev.Download(out, y))
		require.Equal(t, floats(26, 52, 3), out)
		require.NoError(t, g.Close())

		require.NoError(t, s.Fill(y, 0, 12))
		require.NoError(t, s.Copy(y, x, 4))
		require.NoError(t, dev.Sync())
		require.NoError(t, dev.Download(out, y))
		require.Equal(t, floats(10, 0, 0), out)
		require.NoError(t, s.Close())
		require.NoError(t, m.Unload())
	})
}

func TestTile(t *testing.T) {
	each(t, func(t *testing.T, dev gpu.Device) {
		pattern := []byte{1, 2, 3}
		for _, bytes := range []int64{1, 3, 4, 6, 20, 1000} {
			p, err := dev.Alloc(bytes)
			require.NoError(t, err)
			require.NoError(t, gpu.Tile(dev, p, bytes, pattern))
			got := make([]byte, bytes)
			require.NoError(t, dev.Download(got, p))
			for i := range got {
				require.Equal(t, pattern[i%3], got[i], "byte %d of %d", i, bytes)
			}
			require.NoError(t, dev.Free(p))
		}
	})
}

func TestEvents(t *testing.T) {
	each(t, func(t *testing.T, dev gpu.Device) {
		m, err := dev.Load([]byte(fakecuda.PTX))
		require.NoError(t, err)
		f, err := m.Function("fake_nothing")
		require.NoError(t, err)
		s, err := dev.NewStream()
		require.NoError(t, err)
		a, err := dev.NewEvent()
		require.NoError(t, err)
		b, err := dev.NewEvent()
		require.NoError(t, err)
		require.NoError(t, s.Record(a))
		for range 10 {
			require.NoError(t, f.Launch(s, gpu.Dim{X: 8, Y: 1, Z: 1}, gpu.Dim{X: 1024, Y: 1, Z: 1}, 0))
		}
		require.NoError(t, s.Record(b))
		require.NoError(t, b.Sync())
		us, err := b.Since(a)
		require.NoError(t, err)
		require.InEpsilon(t, 10*(2+8*1024*1e-3)+0.5, us, 0.01, "the fake's synthetic clock")
		for _, c := range []interface{ Close() error }{a, b, s} {
			require.NoError(t, c.Close())
		}
	})
}

func TestErrorsNameTheCall(t *testing.T) {
	each(t, func(t *testing.T, dev gpu.Device) {
		_, err := dev.Load([]byte("no ptx"))
		require.ErrorContains(t, err, "INVALID_PTX")
		_, err = dev.Alloc(1 << 50)
		require.ErrorContains(t, err, "OUT_OF_MEMORY")
		_, err = dev.Alloc(0)
		require.Error(t, err)
		p, err := dev.Alloc(16)
		require.NoError(t, err)
		require.NoError(t, dev.Free(p))
		require.Error(t, dev.Free(p), "twice")
		require.Error(t, dev.Upload(p, make([]byte, 16)), "freed")

		m, err := dev.Load([]byte(fakecuda.PTX))
		require.NoError(t, err)
		_, err = m.Function("missing")
		require.ErrorContains(t, err, "kernel missing")
		f, err := m.Function("fake_nothing")
		require.NoError(t, err)
		s, err := dev.NewStream()
		require.NoError(t, err)
		err = f.Launch(s, gpu.Dim{X: 1, Y: 1, Z: 1}, gpu.Dim{X: 2048, Y: 1, Z: 1}, 0)
		require.ErrorContains(t, err, "kernel fake_nothing")
		require.ErrorContains(t, f.Launch(s, gpu.Dim{X: 1, Y: 1, Z: 1}, gpu.Dim{X: 1, Y: 1, Z: 1}, 0, "text"), "type string")
	})
}

func TestTelemetry(t *testing.T) {
	t.Setenv(gpu.NVMLEnv, "libnvidia-ml-that-is-not-there.so")
	_, err := gpu.OpenTelemetry(0)
	require.ErrorContains(t, err, "comes with the driver")

	path, err := fakecuda.BuildNVML(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	t.Setenv(gpu.NVMLEnv, path)
	_, err = gpu.OpenTelemetry(1)
	require.ErrorContains(t, err, "no GPU 1")
	tel, err := gpu.OpenTelemetry(0)
	require.NoError(t, err)
	require.Equal(t, sample.State{ClockMHz: 1755, MemMHz: 2619, PowerW: 350, TempC: 60, Throttle: "power_cap"}, tel.State())

	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	h := gpu.Header(gpu.Info{Name: "x", Driver: "1", Synthetic: true}, "dlopen", tel, now)
	require.Equal(t, sample.Header{GPU: "x", Driver: "999.99.99", PowerCapW: 700, Date: "2026-01-02T02:04:05Z", Launcher: "dlopen", Synthetic: true}, h)
	require.NoError(t, tel.Close())
}

// Launchers of one binary measure the same: their medians agree within 2 %.
func TestLaunchersAgree(t *testing.T) {
	if len(gpu.Launchers()) < 2 {
		t.Skip("this binary has one launcher; kernels/check-cu.sh builds both (-tags cuda)")
	}
	medians := map[string]float64{}
	each(t, func(t *testing.T, dev gpu.Device) {
		m, err := dev.Load([]byte(fakecuda.PTX))
		require.NoError(t, err)
		f, err := m.Function("fake_nothing")
		require.NoError(t, err)
		s, err := dev.NewStream()
		require.NoError(t, err)
		a, err := dev.NewEvent()
		require.NoError(t, err)
		b, err := dev.NewEvent()
		require.NoError(t, err)
		var samples []float64
		for range 101 {
			require.NoError(t, s.Record(a))
			require.NoError(t, f.Launch(s, gpu.Dim{X: 256, Y: 1, Z: 1}, gpu.Dim{X: 1024, Y: 1, Z: 1}, 0))
			require.NoError(t, s.Record(b))
			require.NoError(t, b.Sync())
			us, err := b.Since(a)
			require.NoError(t, err)
			samples = append(samples, us)
		}
		median, _, _ := sample.Interval(samples)
		medians[t.Name()] = median
	})
	var all []float64
	for _, m := range medians {
		all = append(all, m)
	}
	require.InEpsilon(t, all[0], all[1], 0.02, "%v", medians)
}
