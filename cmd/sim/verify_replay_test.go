package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/sim/replay"
)

// A result in which all ops, passes and the peak are a quarter longer than
// predicted is reported so, and fails where less is allowed.
func TestVerifyReplay(t *testing.T) {
	dir := t.TempDir()
	e, err := exportCase(context.Background(), replay.Cases[0], nil)
	require.NoError(t, err)
	times := func(ps int64) replay.Times {
		us := 1.25 * float64(ps) / 1e6
		return replay.Times{N: 1, MedianUS: us, LowUS: us, HighUS: us}
	}
	r := replay.Result{Format: replay.ResultFormat, Version: replay.ResultVersion, ExportDigest: e.Digest, Device: "cuda", GPU: "made up",
		Step: times(e.ReplayPS), Memory: replay.ResultMemory{HeldBytes: 1 << 30, PeakBytes: e.Memory.ReplayPeakBytes * 5 / 4}}
	for i, p := range e.Passes {
		r.Passes = append(r.Passes, replay.PassTime{Pass: i, Times: times(p.ReplayPS)})
		n := 0
		for _, u := range p.Blocks {
			for _, op := range e.Blocks[u.Block].Ops { // one tensor-parallel rank: no messages inside
				r.Ops = append(r.Ops, replay.OpTime{Pass: i, Op: n, Name: op.Name, Times: times(op.AlonePS)})
				n++
			}
		}
	}
	path := filepath.Join(dir, "result.json")
	data, err := json.Marshal(r)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o644))
	run := func(args ...string) (int, string, string) {
		var out, msg bytes.Buffer
		code := runMain(context.Background(), append([]string{"verify", "--replay", path}, args...), &streams{out: &out, err: &msg})
		return code, out.String(), msg.String()
	}
	code, out, msg := run()
	require.Zero(t, code, msg)
	require.Contains(t, out, "-20.0 %")
	code, _, msg = run("--max-error", "0.1")
	require.Equal(t, exitFailed, code)
	require.Contains(t, msg, "is off by 20.0 %, more than 10.0 %")
	code, _, _ = run("--max-error", "0.21")
	require.Zero(t, code)
	code, out, _ = run("--json")
	require.Zero(t, code)
	var c replay.Comparison
	require.NoError(t, json.Unmarshal([]byte(out), &c))
	require.InDelta(t, -0.2, c.Step.Error, 1e-9)
	require.Len(t, c.Ops, len(r.Ops))
}

// Stages that real GPUs ran: today's prices must hold them. The step is inside its
// error bar, and no worse than 6 % off; the peak no worse than 13 %, since PyTorch's
// allocator keeps what the model gives back at once.
func TestReplayedOnGPUs(t *testing.T) {
	files, err := filepath.Glob("../../calibrate/samples/*/replay/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		f, err := os.Open(file)
		require.NoError(t, err)
		res, err := replay.ReadResult(f)
		require.NoError(t, err, file)
		require.NoError(t, f.Close())
		e, err := (&verifyCmd{Replay: file}).exported(context.Background(), res)
		require.NoError(t, err)
		c, err := replay.Compare(e, res)
		require.NoError(t, err, file)
		t.Logf("%s: step %+.1f %%, peak %+.1f %%", filepath.Base(file), 100*c.Step.Error, 100*c.Peak.Error)
		require.True(t, c.Step.Inside, file)
		require.InDelta(t, 0, c.Step.Error, 0.06, file)
		require.InDelta(t, 0, c.Peak.Error, 0.13, file)
	}
}
