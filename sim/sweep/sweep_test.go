package sweep

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
)

// small is a scenario of a millisecond: one layer more than its widest pipeline.
const small = `
name = "small"
cluster = { gpu = "h100", gpus = 8 }
training = { sequence_length = 1024, global_batch = 16, micro_batch = 1 }
[model]
layers = 8
hidden = 1024
heads = 8
vocab = 32000
ffn = 4096
[parallel]
tp = 1
`

// parse reads a sweep of the small scenario.
func parse(text string) (*Spec, error) {
	dir, err := os.MkdirTemp("", "sweep")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "small.toml")
	if err := os.WriteFile(file, []byte(small), 0o644); err != nil {
		return nil, err
	}
	files := map[string]string{
		"machines.csv": "cluster.gpu, cluster.override.nic_gbps\n# ours\nh100, 50\nh200, 50.5\n",
		"batches.txt":  "# sequences\n16\n32\n",
	}
	return Parse("test.toml", []byte(text), func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	}, func(name string) (*scenarios.Base, error) {
		if name == "small" {
			name = file
		}
		return scenarios.Open(name)
	})
}

func mustParse(t require.TestingT, text string) *Spec {
	s, err := parse(text)
	require.NoError(t, err)
	return s
}

// described lists the points of a sweep.
func described(t require.TestingT, text string) []string {
	p, err := mustParse(t, text).Points()
	require.NoError(t, err)
	out := make([]string, len(p.List))
	for i, pt := range p.List {
		out[i] = Describe(pt.Values)
	}
	return out
}

// grid is a sweep with a point of every status but failed, and two of one
// identity: vp is 1 anyway where there is no pipeline.
const grid = `
scenario = "small"
[[axis]]
key = "parallel.tp"
values = [1, 2, 3, 8]
[[axis]]
key = "parallel.pp"
values = [1, 2]
[[axis]]
key = "parallel.vp"
values = ["auto", 1]
[[axis]]
key = "cluster.override.hbm_gib"
values = [80, 3]
`

func run(t require.TestingT, s *Spec, opt Options) *Report {
	rep, err := Run(context.Background(), s, opt)
	require.NoError(t, err)
	return rep
}

func results(t require.TestingT, dir string) string {
	data, err := os.ReadFile(filepath.Join(dir, ResultsFile))
	require.NoError(t, err)
	return string(data)
}

// The sweeps of the catalogue are read, make points, and say what they ask.
func TestCatalogue(t *testing.T) {
	require.NotEmpty(t, scenarios.SweepNames())
	for _, name := range scenarios.SweepNames() {
		s, err := Load(name)
		require.NoError(t, err)
		require.NotEmpty(t, s.Description, name)
		p, err := s.Points()
		require.NoError(t, err)
		require.Greater(t, len(p.List), 10, name)
	}
	_, err := Load("sweeps/paralelism")
	require.ErrorContains(t, err, "did you mean sweeps/parallelism?")
}
