package calibrate

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"orrery/sim/cost"
	"orrery/sim/hw"
)

// sharedKernels finds ../shared/data/kernels/<dir> beside the module, or skips.
func sharedKernels(t *testing.T, dir string) string {
	t.Helper()
	root, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(root)
		if parent == root {
			t.Skip("no go.mod above the test: cannot find ../shared/data/kernels")
		}
		root = parent
	}
	path := filepath.Join(root, "..", "shared", "data", "kernels", dir)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("measured tables are missing: ../shared/data/kernels/%s", dir)
	}
	return path
}

// readShared reads the tables of one folder whose samples are of the families,
// without those set apart.
func readShared(t *testing.T, dir string, g *hw.GPU, families ...cost.Family) (map[cost.Family][]Sample, Rejected) {
	t.Helper()
	root := sharedKernels(t, dir)
	want := map[cost.Family]bool{}
	for _, f := range families {
		want[f] = true
	}
	out := map[cost.Family][]Sample{}
	rejected := Rejected{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, r := range readers {
			if !r.match(filepath.ToSlash(rel)) {
				continue
			}
			samples, rej, err := r.read(path, g)
			if err != nil {
				return err
			}
			for _, s := range samples {
				if f := s.Kernel.Family(); s.Apart == "" && want[f] {
					out[f] = append(out[f], s)
				}
			}
			for why, n := range rej {
				rejected[why] += n
			}
		}
		return nil
	}))
	return out, rejected
}

// heldOutErrors summarises |price/measured - 1| over rows of 20 us and more.
type heldOutErrors struct {
	rows                  int
	median, p90, coverage float64
}

func judge(t *testing.T, samples []Sample, p *cost.Profile, g *hw.GPU) map[string]heldOutErrors {
	t.Helper()
	errs := map[string][]float64{}
	covered := map[string]int{}
	for _, s := range samples {
		if s.Micros < 20 {
			continue
		}
		var e cost.Estimate
		var err error
		switch k := s.Kernel.(type) {
		case cost.Attention:
			e, err = p.Attention.Price(k, g)
		case cost.MoE:
			e, err = p.MoE[k.DType].Price(k, g)
		case cost.GroupedGEMM:
			e, err = p.Grouped[k.DType].Price(k, g)
		}
		require.NoError(t, err)
		d := math.Abs(e.Time.Micros()/s.Micros - 1)
		errs[s.DType] = append(errs[s.DType], d)
		if math.Abs(s.Micros/e.Time.Micros()-1) <= e.RelErr {
			covered[s.DType]++
		}
	}
	out := map[string]heldOutErrors{}
	for k, e := range errs {
		out[k] = heldOutErrors{len(e), quantile(e, 0.5), quantile(e, 0.9), float64(covered[k]) / float64(len(e))}
	}
	return out
}

// TestHeldOut fits on four fifths of the tables and prices the rest. The limits
// are those of the project: half of the rows within 6 %, nine tenths within 20 %,
// nine tenths within the error that the price states.
func TestHeldOut(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes long; the whole test runs without it")
	}
	families := []cost.Family{cost.FamAttention, cost.FamEncoderAttn, cost.FamDecodeAttn, cost.FamMLA, cost.FamMoE}
	for _, dir := range []string{"h100_sxm", "h200_sxm", "gb200"} {
		t.Run(dir, func(t *testing.T) {
			g := sharedGPU(t, dir)
			tables, rejected := readShared(t, dir, g, families...)
			t.Logf("rejected: %v", rejected)
			p := &cost.Profile{}
			held := map[cost.Family][]Sample{}
			for _, fit := range fitters {
				var train []Sample
				for _, s := range tables[fit.family] {
					if heldOut(s, "test") {
						held[fit.family] = append(held[fit.family], s)
					} else {
						train = append(train, s)
					}
				}
				if len(train) > 0 {
					require.NoError(t, fit.fit(train, g, p))
				}
			}
			for _, family := range families {
				for dtype, e := range judge(t, held[family], p, g) {
					t.Logf("%-18s %-10s %5d rows: median %.1f%%, p90 %.1f%%, coverage %.2f", family, dtype, e.rows, 100*e.median, 100*e.p90, e.coverage)
					assert.LessOrEqual(t, e.median, 0.06, "%s %s", family, dtype)
					assert.LessOrEqual(t, e.p90, 0.20, "%s %s", family, dtype)
					scatter := 2 * 0.3 / math.Sqrt(float64(e.rows)) // of a share of 0.9
					assert.InDelta(t, 0.9, e.coverage, 0.04+scatter, "%s %s", family, dtype)
				}
			}
		})
	}
}

// sharedGPU is the GPU that a folder of tables is named after.
func sharedGPU(t *testing.T, dir string) *hw.GPU {
	t.Helper()
	g, err := hw.LookupGPU(strings.TrimSuffix(dir, "_sxm"))
	require.NoError(t, err)
	return g
}
