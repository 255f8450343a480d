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
