package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every plan that ships loads, and its scenario exists.
func TestCapacityCatalogue(t *testing.T) {
	names := CapacityNames()
	require.NotEmpty(t, names)
	for _, name := range names {
		require.NotContains(t, Names(), capacityFolder+name, "a plan is no scenario")
		c, err := LoadCapacity(name)
		require.NoError(t, err)
		require.NotEmpty(t, c.Description)
		_, err = Load(c.Scenario, c.Set)
		require.NoError(t, err)
	}
	_, err := LoadCapacity("llama3-405b-54-day")
	var e *Error
	require.True(t, errors.As(err, &e))
	require.Equal(t, "llama3-405b-54-days", e.Nearest)
}

// A scenario beside the plan is found from anywhere.
func TestCapacityScenarioBesidePlan(t *testing.T) {
	dir := t.TempDir()
	text := "scenario = \"quickstart\"\ntrain.days = 1\ncheckpoint.storage_gbps = 1\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plan.toml"), []byte(text), 0o644))
	c, err := LoadCapacity(filepath.Join(dir, "plan.toml"))
	require.NoError(t, err)
	require.Equal(t, "quickstart", c.Scenario)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "quickstart"), nil, 0o644))
	c, err = LoadCapacity(filepath.Join(dir, "plan.toml"))
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "quickstart"), c.Scenario)
}

// The preset has the interruptions that the paper counts: on its cluster they
// come to the table's sums, 419 in all.
func TestLlama3Failures(t *testing.T) {
	f := llama3Failures()
	const hours = 54 * 24
	gpu, node, network, software := 16384*hours/f.GPUHours, 2048*hours/f.NodeHours, 1024*hours/f.SwitchHours, 16384*hours/f.SoftwareHours
	require.InDelta(t, 268, gpu, 1e-9)
	require.InDelta(t, 419, gpu+node+network+software, 1e-9)
}

// Projected by the paper to 16,384 GPUs, RSC-1's rate is a failure in 1.8 hours
// (arXiv:2410.21680, figure 7).
func TestRSC1Failures(t *testing.T) {
	require.InDelta(t, 1.8, perNode(6.50).NodeHours/2048, 0.05)
}

// FuzzParseCapacity: no text panics; what fails fails with errors that name the
// file; what loads has every number within its bounds.
func FuzzParseCapacity(f *testing.F) {
	for _, name := range CapacityNames() {
		data, ok := builtin(capacityFolder + name)
		require.True(f, ok)
		f.Add(string(data))
	}
	f.Add("scenario = \"quickstart\"\ntrain = { days = 10 }\ncheckpoint.storage_gbps = 100\noption = [{gpus = [8]}, 3]\nexpect = []\n[[set]]\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCapacity("case.toml", []byte(text))
		if err != nil {
			wellFormed(t, err)
			return
		}
		for _, f := range capacitySchema {
			if strings.HasPrefix(f.key, "option.") && len(c.Options) == 0 || strings.HasPrefix(f.key, "expect.") && len(c.Expect) == 0 {
				continue
			}
			if x, ok := f.in(c).(*float64); ok && !(*x >= 0 && *x <= 1e18 || f.key == "expect.value") {
				t.Errorf("%s is %g", f.key, *x)
			}
		}
		if c.Tokens == 0 && c.Days == 0 || c.Scenario == "" && !strings.Contains(text, `""`) && !strings.Contains(text, "''") {
			t.Errorf("incomplete: %+v", c)
		}
	})
}
