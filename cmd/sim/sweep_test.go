package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"orrery/sim/sweep"
)

// slowSweep has 40 points of some 20 ms: long enough to be killed in the middle.
const slowSweep = `
scenario = "quickstart"
sample = "latin_hypercube"
points = 40
[set]
training.global_batch = 512
[[axis]]
key = "cluster.override.nic_gbps"
log_range = { from = 10, to = 100 }
[[axis]]
key = "parallel.tp"
values = [2, 3, 4, 8]
`

// simProcess is sim as a process of its own; TestMain has put it in PATH.
func simProcess(dir string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command("sim", args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// killed starts a shard and kills it, as Slurm does at the end of a time limit,
// once its journal has two points and before it has all.
func killed(t *testing.T, dir, journal string, args ...string) {
	t.Helper()
	for range 20 {
		require.NoError(t, os.RemoveAll(filepath.Dir(journal)))
		cmd, out := simProcess(dir, args...)
		require.NoError(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for waiting := true; waiting; {
			select {
			case err := <-ended:
				require.NoError(t, err, "%s", out)
				waiting = false // was faster than this test: once more
			case <-time.After(time.Millisecond):
				if data, err := os.ReadFile(journal); err == nil && bytes.Count(data, []byte("\n")) > 2 {
					require.NoError(t, cmd.Process.Kill())
					if err := <-ended; err != nil {
						return
					}
					waiting = false
				}
			}
		}
	}
	t.Fatal("the shard always ended before it could be killed")
}

// Eight shards as eight processes, one killed in the middle and started again by
// itself, give the bytes of the sweep on one machine.
func TestShardsAsProcesses(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "s.toml"), []byte(slowSweep), 0o644))
	one, out := simProcess(dir, "sweep", "s.toml", "--out", "one")
	require.NoError(t, one.Run(), "%s", out)

	const of, victim = 8, 3
	shard := func(i int) []string {
		return []string{"sweep", "s.toml", "--out", "many", "--workers", "1", "--shard", fmt.Sprintf("%d/%d", i, of)}
	}
	killed(t, dir, filepath.Join(dir, "many", fmt.Sprintf("journal-%04d-of-%04d.jsonl", victim, of)), shard(victim)...)
	var all []*exec.Cmd
	for i := range of {
		if i == victim {
			continue
		}
		cmd, _ := simProcess(dir, shard(i)...)
		require.NoError(t, cmd.Start())
		all = append(all, cmd)
	}
	for _, cmd := range all {
		require.NoError(t, cmd.Wait())
	}
	merge, out := simProcess(dir, "sweep", "merge", "many")
	require.Error(t, merge.Run())
	require.Equal(t, exitFailed, merge.ProcessState.ExitCode())
	require.Contains(t, out.String(), fmt.Sprintf("shard %d/%d: ", victim, of))
	require.Contains(t, out.String(), fmt.Sprintf("--array=%d,", victim))
	require.NoFileExists(t, filepath.Join(dir, "many", sweep.ResultsFile))

	again, out := simProcess(dir, shard(victim)...)
	require.NoError(t, again.Run(), "%s", out)
	require.NotContains(t, out.String(), " 0 done before")
	for range 2 {
		merge, out = simProcess(dir, "sweep", "merge", "many")
		require.NoError(t, merge.Run(), "%s", out)
		want, err := os.ReadFile(filepath.Join(dir, "one", sweep.ResultsFile))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(dir, "many", sweep.ResultsFile))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
}

// Ctrl-C and SIGTERM let the points in flight finish and say how to go on.
func TestSignalledSweep(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "s.toml"), []byte(slowSweep), 0o644))
	one, out := simProcess(dir, "sweep", "s.toml", "--out", "one")
	require.NoError(t, one.Run(), "%s", out)
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		for range 20 {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "two")))
			cmd, out := simProcess(dir, "sweep", "s.toml", "--out", "two")
			require.NoError(t, cmd.Start())
			require.Eventually(t, func() bool {
				data, err := os.ReadFile(filepath.Join(dir, "two", "journal.jsonl"))
				return err == nil && bytes.Count(data, []byte("\n")) > 2
			}, time.Minute, time.Millisecond)
			require.NoError(t, cmd.Process.Signal(sig))
			if err := cmd.Wait(); err == nil {
				continue // was faster than this test: once more
			}
			require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), "%s", out)
			require.Regexp(t, `interrupted with \d+ of 40 points done; the same command goes on`, out.String())
			break
		}
		two, out := simProcess(dir, "sweep", "s.toml", "--out", "two")
		require.NoError(t, two.Run(), "%s", out)
		require.NotContains(t, out.String(), " 0 done before")
		want, err := os.ReadFile(filepath.Join(dir, "one", sweep.ResultsFile))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(dir, "two", sweep.ResultsFile))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
}
