// Package probe is the Python probe's tests: it holds no Go code of its own.
package probe

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/kernels/sample"
)

func python(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is missing")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

func TestPython(t *testing.T) {
	out, err := python(t, "-m", "unittest", "-q", "test_samples").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// What the probe writes is read here, with the same statistics to the last digit.
func TestGoReadsWhatPythonWrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.csv")
	script := `
import random, sys, samples
log = samples.Log(sys.argv[1], {"gpu": "NVIDIA H200", "driver": "580.1", "cuda": "13.0", "sms": 132, "clock_mhz": 1980, "mem_mhz": 3201,
  "power_cap_w": "700", "date": "2026-01-02T03:04:05Z", "launcher": "torch", "host": "torch 2", "synthetic": "true"}, False)
r = random.Random(3)
for i, c in enumerate(samples.all_cases()[:40]):
    log.add(samples.row(dict(c, hash="torch2"), [100 * r.lognormvariate(0, 0.05) for _ in range(i + 1)], {"clock_mhz": 1755, "power_w": 350.5, "throttle": "power_cap"}))
`
	out, err := python(t, "-c", script, file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	f, err := sample.ReadFile(file)
	require.NoError(t, err)
	require.Len(t, f.Rows, 40)
	require.Equal(t, "NVIDIA H200", f.Header.GPU)
	require.True(t, f.Header.Synthetic)
	for _, r := range f.Rows {
		again := sample.Row{Samples: r.Samples}
		again.Summarise()
		require.Equal(t, again.Median, r.Median)
		require.Equal(t, again.Low, r.Low)
		require.Equal(t, again.High, r.High)
		require.Equal(t, again.Within, r.Within)
		require.Equal(t, 1755, r.ClockMHz)
	}
}

// Without torch or a GPU there is one clear line.
func TestProbeSaysWhatIsMissing(t *testing.T) {
	out, err := python(t, "probe.py", "--out", filepath.Join(t.TempDir(), "x.csv")).CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 2, exit.ExitCode())
	require.Len(t, strings.Split(strings.TrimSpace(string(out)), "\n"), 1)
	require.Regexp(t, "PyTorch", string(out))

	out, err = python(t, "probe.py", "--list", "--only", "grouped_gemm/*").CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "grouped_gemm/torch_grouped_mm/bf16/groups=8")
	_, err = python(t, "probe.py", "--list", "--only", "nothing").CombinedOutput()
	require.ErrorAs(t, err, &exit)
}
