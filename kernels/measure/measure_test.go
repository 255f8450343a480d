package measure

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/kernels/bench"
	"orrery/kernels/gpu"
	"orrery/kernels/gpu/fakecuda"
	"orrery/kernels/sample"
)

// nothing is a case of the fake driver's empty kernel on so many blocks.
func nothing(t *testing.T, blocks uint32) (gpu.Device, bench.Case) {
	t.Helper()
	path, err := fakecuda.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	t.Setenv(gpu.LibraryEnv, path)
	dev, err := gpu.Open("", 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev, bench.Case{Family: "launch", Kernel: "fake_nothing", Shape: "blocks=1", DType: "none", Prepare: func(context.Context, gpu.Device, uint64) (bench.Prepared, error) {
		m, err := dev.Load([]byte(fakecuda.PTX))
		require.NoError(t, err)
		f, err := m.Function("fake_nothing")
		require.NoError(t, err)
		return &prepared{launch: func(s gpu.Stream) error {
			return f.Launch(s, gpu.Dim{X: blocks, Y: 1, Z: 1}, gpu.Dim{X: 1024, Y: 1, Z: 1}, 0)
		}, close: m.Unload}, nil
	}}
}

type prepared struct {
	launch func(gpu.Stream) error
	close  func() error
	reps   []int
}

func (p *prepared) Enqueue(s gpu.Stream, rep int) error {
	p.reps = append(p.reps, rep)
	return p.launch(s)
}
func (p *prepared) Close() error { return p.close() }

func options() Options {
	at := time.Unix(0, 0)
	return Options{Now: func() time.Time { at = at.Add(time.Millisecond); return at }, MinSamples: 10, MaxSamples: 50}
}

// What comes out is what the fake's synthetic clock says: 2 us and 1 ns a thread.
func TestCase(t *testing.T) {
	for _, blocks := range []uint32{1, 64, 1024} {
		dev, c := nothing(t, blocks)
		opt := options()
		reads := 0
		opt.State = func() sample.State {
			reads++
			return sample.State{ClockMHz: 1000 + reads, PowerW: 100, TempC: 40 + reads, Throttle: "power_cap"}
		}
		row, err := Case(context.Background(), dev, c, opt)
		require.NoError(t, err)
		require.InEpsilon(t, 2+1.024*float64(blocks), row.Median, 0.02)
		require.True(t, row.Within)
		require.GreaterOrEqual(t, row.N, 10)
		require.Equal(t, "us", row.Unit)
		require.Equal(t, c.ID(), row.ID())
		require.Equal(t, "power_cap", row.Throttle)
		require.InDelta(t, 100, row.PowerW, 1e-9)
		require.Positive(t, reads)
	}
}

// A slower kernel measures slower.
func TestCaseSeesASlowdown(t *testing.T) {
	dev, c := nothing(t, 64)
	before, err := Case(context.Background(), dev, c, options())
	require.NoError(t, err)
	slow(t, "fake_nothing", 1.05)
	after, err := Case(context.Background(), dev, c, options())
	require.NoError(t, err)
	require.InDelta(t, 1.05, after.Median/before.Median, 0.01)
}

// slow makes a kernel of the fake driver slower.
func slow(t *testing.T, kernel string, factor float64) {
	t.Helper()
	handle, err := purego.Dlopen(os.Getenv(gpu.LibraryEnv), purego.RTLD_NOW|purego.RTLD_GLOBAL)
	require.NoError(t, err)
	var f func(string, float64)
	purego.RegisterLibFunc(&f, handle, "orrery_fake_slow")
	f(kernel, factor)
}

func TestCaseEnds(t *testing.T) {
	dev, c := nothing(t, 1024)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Case(ctx, dev, c, options())
	require.ErrorIs(t, err, context.Canceled)

	c.Prepare = func(context.Context, gpu.Device, uint64) (bench.Prepared, error) {
		return nil, errors.New("element 3 is off")
	}
	_, err = Case(context.Background(), dev, c, options())
	require.ErrorContains(t, err, "element 3 is off")
	_, err = Case(context.Background(), dev, c, Options{})
	require.ErrorContains(t, err, "0 samples")
}

// A budget ends a case that does not settle; all samples are kept.
func TestCaseKeepsWhatDoesNotSettle(t *testing.T) {
	dev, c := nothing(t, 64)
	n := uint32(0)
	inner := c.Prepare
	c.Prepare = func(ctx context.Context, d gpu.Device, seed uint64) (bench.Prepared, error) {
		p, err := inner(ctx, d, seed)
		require.NoError(t, err)
		m, err := dev.Load([]byte(fakecuda.PTX))
		require.NoError(t, err)
		f, err := m.Function("fake_nothing")
		require.NoError(t, err)
		q := p.(*prepared)
		q.launch = func(s gpu.Stream) error { // 300 us and up, never twice the same
			n += 300
			return f.Launch(s, gpu.Dim{X: 300 + n, Y: 1, Z: 1}, gpu.Dim{X: 1024, Y: 1, Z: 1}, 0)
		}
		return q, nil
	}
	opt := options()
	opt.MaxTime = 20 * time.Millisecond
	row, err := Case(context.Background(), dev, c, opt)
	require.NoError(t, err)
	require.False(t, row.Within)
	require.Len(t, row.Samples, row.N)
	require.Less(t, row.N, opt.MaxSamples)
}

// The order of readings changes nothing.
func TestStates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		reading := rapid.Custom(func(t *rapid.T) sample.State {
			return sample.State{ClockMHz: rapid.IntRange(0, 2000).Draw(t, "clock"), MemMHz: rapid.IntRange(0, 3000).Draw(t, "mem"),
				PowerW: float64(rapid.IntRange(0, 700).Draw(t, "power")), TempC: rapid.IntRange(0, 90).Draw(t, "temp"),
				Throttle: rapid.SampledFrom([]string{"none", "power_cap", "power_cap+sw_thermal", "hw_thermal"}).Draw(t, "throttle")}
		})
		all := rapid.SliceOfN(reading, 1, 9).Draw(t, "readings")
		mixed := rapid.Permutation(all).Draw(t, "mixed")
		a, b := (&states{all: all}).sum(), (&states{all: mixed}).sum()
		require.InDelta(t, a.PowerW, b.PowerW, 1e-9)
		a.PowerW, b.PowerW = 0, 0
		require.Equal(t, a, b)
	})
}
