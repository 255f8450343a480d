package serve

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/sim/sweep"
)

// Sweeps below the folder are found and shown; what lies outside is not, whatever the
// address or a link says.
func TestSweeps(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	spec := "name = \"s\"\nscenario = \"small.toml\"\n[[axis]]\nkey = \"parallel.tp\"\nvalues = [1, 2, 3]\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "small.toml"), []byte(small), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "s.toml"), []byte(spec), 0o600))
	sp, err := sweep.Load(filepath.Join(dir, "s.toml"))
	require.NoError(t, err)
	for _, to := range []string{filepath.Join(dir, "a", "s.sweep"), filepath.Join(outside, "o.sweep")} {
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		_, err = sweep.Run(context.Background(), sp, sweep.Options{Dir: to, Workers: 1})
		require.NoError(t, err)
	}
	require.NoError(t, os.Symlink(filepath.Join(outside, "o.sweep"), filepath.Join(dir, "link.sweep")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "inner.sweep"), 0o755))
	require.NoError(t, os.Symlink(filepath.Join(outside, "o.sweep", "points.jsonl"), filepath.Join(dir, "inner.sweep", "points.jsonl")))

	c := start(t, func(cfg *Config) { cfg.Dir = dir })
	var list struct{ Sweeps []string }
	c.get("/api/sweeps", &list)
	require.Contains(t, list.Sweeps, "a/s.sweep")
	require.NotContains(t, list.Sweeps, "link.sweep")
	status, page, _ := c.do("GET", "/sweeps/a/s.sweep", nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "A sweep of 3 points")
	require.Contains(t, page, "parallel.tp")
	for _, path := range []string{"link.sweep", "inner.sweep", "a", "..%2f" + filepath.Base(outside) + "%2fo.sweep", "a%2f..%2fa%2fs.sweep", "nothing", "%00"} {
		status, text, _ := c.do("GET", "/sweeps/"+path, nil)
		require.Equal(t, http.StatusNotFound, status, "%s: %s", path, text)
	}
}
