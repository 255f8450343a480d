package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// blockingSample is rows of vectors_blocking.csv, transcribed so that they are
// tested everywhere; F, B and W take 10 each.
var blockingSample = []struct {
	name           string
	p, v, m        int
	comm, makespan unit.Time
}{
	{"1f1b", 2, 1, 4, 5, 175},
	{"1f1b", 4, 1, 8, 0, 330},
	{"1f1b", 4, 1, 8, 2, 368},
	{"1f1b", 8, 1, 16, 5, 905},
	{"dualpipe", 4, 2, 8, 2, 284},
	{"dualpipe", 8, 2, 20, 5, 820},
	{"dualpipe", 16, 2, 32, 1, 1160},
	{"dualpipev", 2, 2, 4, 1, 269},
	{"dualpipev", 4, 2, 8, 5, 675},
	{"dualpipev", 4, 2, 10, 2, 722},
	{"dualpipev", 8, 2, 16, 5, 1395},
}

func TestBlockingSample(t *testing.T) {
	for _, row := range blockingSample {
		s, err := Lookup(row.name)
		require.NoError(t, err)
		shape := Shape{Devices: row.p, Virtual: row.v, Microbatches: row.m}
		r, err := SimulateBlocking(s, shape, Costs{F: 10, I: 10, W: 10, Comm: row.comm}, BlockingOptions{})
		require.NoError(t, err, "%+v", row)
		require.Equal(t, row.makespan, r.Makespan, "%+v", row)
	}
}

// TestBlockingVectors compares every row of vectors_blocking.csv.
func TestBlockingVectors(t *testing.T) {
	rows := table(t, filepath.Join(sharedSchedules(t), "vectors_blocking.csv"))
	compared := map[string]int{}
	for _, row := range rows {
		name := strings.TrimPrefix(strings.TrimSuffix(row["schedule"], "_blocking"), "megatron_")
		s, err := Lookup(name)
		require.NoError(t, err)
		shape := Shape{Devices: number(t, row, "p"), Virtual: 1, Microbatches: number(t, row, "m")}
		if s.Check(shape) != nil {
			shape.Virtual = 2
		}
		r, err := SimulateBlocking(s, shape, rowCosts(t, row), BlockingOptions{})
		require.NoError(t, err, "%v", row)
		require.EqualValues(t, number(t, row, "makespan"), r.Makespan, "%v", row)
		compared[name]++
	}
	t.Logf("rows compared: %v of %d", compared, len(rows))
	require.Equal(t, map[string]int{"1f1b": 72, "dualpipe": 20, "dualpipev": 16}, compared)
}

// TestBlockingPrograms compares the programs of programs.json op by op: a channel
// there is the direction or chunk that a message belongs to, a sequence number
// its place in it.
func TestBlockingPrograms(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(sharedSchedules(t), "programs.json"))
	require.NoError(t, err)
	var file map[string]any
	require.NoError(t, json.Unmarshal(text, &file))
	compared := 0
	for name, schedule := range map[string]string{"megatron_1f1b_p4_m8": "1f1b", "deepseek_dualpipev_p4_m8": "dualpipev", "deepseek_dualpipe_p4_m8": "dualpipe"} {
		s, err := Lookup(schedule)
		require.NoError(t, err)
		shape := Shape{Devices: 4, Virtual: 1, Microbatches: 8}
		if schedule != "1f1b" {
			shape.Virtual = 2
		}
		program, err := Blocking(s, shape, BlockingOptions{})
		require.NoError(t, err)
		want := file[name].([]any)
		require.Len(t, program, len(want))
		for d, steps := range program {
			var got []any
			for _, step := range steps {
				got = append(got, plain(s, shape, step))
			}
			wantText, err := json.Marshal(want[d])
			require.NoError(t, err)
			gotText, err := json.Marshal(got)
			require.NoError(t, err)
			require.Equal(t, string(wantText), string(gotText), "%s, device %d", name, d)
		}
		compared++
	}
	require.Equal(t, 3, compared)
}

// TestBlockingProgramSample is parts of programs.json, transcribed so that they are
// tested everywhere: Megatron-LM's batches, and what DualPipe and DualPipeV post
// early and late (steps 2 to 4 of dualpipe.py).
func TestBlockingProgramSample(t *testing.T) {
	for _, c := range []struct {
		name                  string
		virtual, device, from int
		want                  []string
	}{
		{"1f1b", 1, 2, 0, []string{
			`["COMM",["recv","F",1,0,0]]`,
			`["F",2,0]`,
			`["COMM",["send","F",3,0,0]]`,
			`["COMM",["recv","F",1,0,1]]`,
			`["F",2,1]`,
			`["COMM",["send","F",3,0,1],["recv","B",3,0,0]]`,
			`["B",2,0]`,
			`["COMM",["send","B",1,0,0],["recv","F",1,0,2]]`,
		}},
		{"dualpipe", 2, 1, 0, []string{
			`["COMM",["recv","F",0,0,0]]`,
			`["F",1,0]`,
			`["COMM",["send","F",2,0,0],["recv","F",0,0,1],["recv","F",2,1,0]]`,
			`["F",2,4]`,
			`["COMM",["send","F",0,1,0]]`,
			`["F",1,1]`,
			`["COMM",["send","F",2,0,1],["recv","F",0,0,2],["recv","F",2,1,1]]`,
			`["F",2,5]`,
			`["F",1,2]`,
			`["COMM",["send","F",0,1,1],["recv","B",0,1,0]]`,
			`["B",2,4]`,
			`["COMM",["send","F",2,0,2],["send","B",2,1,0],["recv","F",2,1,2],["recv","B",2,0,0]]`,
			`["OV",["F",2,6],["B",1,0]]`,
			`["COMM",["send","F",0,1,2],["send","B",0,0,0],["recv","F",0,0,3],["recv","B",0,1,1]]`,
			`["OV",["F",1,3],["B",2,5]]`,
			`["COMM",["send","F",2,0,3],["send","B",2,1,1],["recv","F",2,1,3],["recv","B",2,0,1]]`,
		}},
		{"dualpipev", 2, 2, 12, []string{
			`["COMM",["send","F",1,1,1],["send","F",3,0,3]]`,
			`["F",2,4]`,
			`["COMM",["recv","F",1,0,5],["recv","F",3,1,2]]`,
			`["F",5,2]`,
			`["COMM",["send","F",1,1,2],["send","F",3,0,4],["recv","B",1,1,0]]`,
			`["I",5,0]`,
			`["COMM",["send","B",3,1,0],["recv","F",3,1,3]]`,
			`["W",5,0]`,
			`["F",5,3]`,
			`["COMM",["send","F",1,1,3],["recv","B",1,1,1]]`,
			`["OV",["F",2,5],["B",5,1]]`,
			`["COMM",["send","F",3,0,5],["send","B",3,1,1],["recv","F",3,1,4],["recv","B",3,0,0]]`,
		}},
	} {
		s, err := Lookup(c.name)
		require.NoError(t, err)
		shape := Shape{Devices: 4, Virtual: c.virtual, Microbatches: 8}
		program, err := Blocking(s, shape, BlockingOptions{})
		require.NoError(t, err)
		for i, want := range c.want {
			got, err := json.Marshal(plain(s, shape, program[c.device][c.from+i]))
			require.NoError(t, err)
			require.Equal(t, want, string(got), "%s, step %d", c.name, c.from+i)
		}
	}
}

// FuzzBlocking: whatever the order in a file, its program runs to its end or is a
// deadlock that is told.
func FuzzBlocking(f *testing.F) {
	f.Add("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n")
	f.Add("0F0,3F0,3I0,0B0,3W0\n1F0,2F0,2B0,1B0\n")
	f.Add("0F0,0F1,(0F2;0B0)OVERLAP_F_B,0B1,0B2\n")
	f.Fuzz(func(t *testing.T, text string) {
		order, err := ReadOrder(text)
		if err != nil {
			return
		}
		c := Costs{F: 1, I: 1, W: 1, Comm: 1}
		blocking, err := SimulateBlocking(order, order.Shape, c, BlockingOptions{})
		if err != nil {
			require.ErrorContains(t, err, "deadlock: ")
			return
		}
		async, err := Simulate(order, order.Shape, c)
		require.NoError(t, err)
		require.GreaterOrEqual(t, blocking.Makespan, async.Makespan)
	})
}

// plain is a step as programs.json writes it.
func plain(s Schedule, shape Shape, step Step) any {
	pass := func(p Slot) []any { return []any{p.Phase.String(), p.Stage, p.Microbatch} }
	switch len(step.Passes) {
	case 1:
		return pass(step.Passes[0])
	case 2:
		return []any{"OV", pass(step.Passes[0]), pass(step.Passes[1])}
	}
	out := []any{"COMM"}
	for _, x := range step.Batch {
		way := "recv"
		if x.Send {
			way = "send"
		}
		channel, seq := 0, int(x.Output.Microbatch)
		switch {
		case s.Name() == "dualpipev" && int(x.Output.Stage) >= shape.Devices:
			channel = 1
		case s.Name() == "dualpipe" && seq >= shape.Microbatches/2:
			channel, seq = 1, seq-shape.Microbatches/2
		}
		out = append(out, []any{way, x.Output.Phase.String(), x.Peer, channel, seq})
	}
	return out
}

// deadlocks is the schedules whose passes wait for each other in a circle, for
// some shapes, where each is preceded by one batch of what it receives and what
// the pass before it sends.
var deadlocks = map[string]bool{
	"bfs_looped": true, "interleaved_1f1b": true, "mepipe_svpp": true, "slimpipe": true, // rings of chunks
	"torch_interleaved_1f1b": true, "torch_interleaved_zb": true,
	"hanayo": true, "vhalf": true, "vmin": true, "zbv": true, // V shapes
	"zb_h2":  true,
	"bigmac": true, "encoder_first": true, "encoder_segments": true, "optimus": true, // rings of chunks with units between them
}

// TestBlockingOfAll: over all schedules, blocking transfers never end earlier than
// asynchronous ones, which never end earlier than transfers that take no time. A
// program that does not run to its end is
// an error that names the circle.
func TestBlockingOfAll(t *testing.T) {
	for _, s := range All() {
		t.Run(s.Name(), func(t *testing.T) {
			all := smallShapes(s)
			var shapes []Shape // that run
			for _, shape := range all {
				_, err := SimulateBlocking(s, shape, Costs{F: 1, I: 1, W: 1, Comm: 1}, BlockingOptions{})
				if err == nil {
					shapes = append(shapes, shape)
					continue
				}
				require.True(t, deadlocks[s.Name()], "%+v: %v", shape, err)
				require.Regexp(t, `^deadlock: (device \d+ waits, (before \S+|at its end), to (send|receive) \S+ (to|from) device \d+(; )?)+$`, err.Error())
			}
			t.Logf("%d of %d shapes run", len(shapes), len(all))
			require.NotEmpty(t, shapes)
			require.Equal(t, deadlocks[s.Name()], len(shapes) < len(all))
			rapid.Check(t, func(t *rapid.T) {
				shape := rapid.SampledFrom(shapes).Draw(t, "shape")
				c := drawCosts(t)
				blocking, err := SimulateBlocking(s, shape, c, BlockingOptions{})
				require.NoError(t, err)
				async, err := Simulate(s, shape, c)
				require.NoError(t, err)
				c.Comm = 0
				free, err := Simulate(s, shape, c)
				require.NoError(t, err)
				require.GreaterOrEqual(t, blocking.Makespan, async.Makespan)
				require.GreaterOrEqual(t, async.Makespan, free.Makespan)
				require.Equal(t, async.Order, blocking.Order)
				require.Equal(t, async.Peak, blocking.Peak)
				require.Equal(t, async.Busy, blocking.Busy)
			})
		})
	}
}

// Waiting for Megatron-LM's transfers makes no difference without their cost, for
// any number of microbatches. Unbatched, the two of a pair of devices wait for each
// other, except between two devices, which have a communicator for each direction.
func TestBlocking1F1B(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, c := Shape{Devices: size(t, "p", 1, 8), Virtual: 1, Microbatches: size(t, "m", 1, 20)}, drawCosts(t)
		batched, err := SimulateBlocking(oneFOneB{}, shape, c, BlockingOptions{})
		require.NoError(t, err)
		unbatched, err := SimulateBlocking(oneFOneB{}, shape, c, BlockingOptions{Unbatched: true})
		require.NoError(t, err)
		require.GreaterOrEqual(t, unbatched.Makespan, batched.Makespan)
		if shape.Devices <= 2 {
			require.Equal(t, batched.Makespan, unbatched.Makespan)
		}
		if c.Comm == 0 {
			require.Equal(t, simulated(t, "1f1b", shape, c).Makespan, unbatched.Makespan)
		}
	})
}

// Unbatched, every exchange of the steady state takes two transfers' time, one
// after the other: T grows by (4m+2p-8)c where batched it grows by (2m+2p-5)c, for
// p >= 3 and m >= p. The form is read off this simulation, not published.
func TestUnbatchedClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := size(t, "p", 3, 10)
		m := size(t, "m", p, 4*p)
		pass := unit.Time(size(t, "pass", 1, 50))
		c := Costs{F: pass, I: pass, W: pass, Comm: unit.Time(size(t, "c", 0, int(pass)))}
		r, err := SimulateBlocking(oneFOneB{}, Shape{Devices: p, Virtual: 1, Microbatches: m}, c, BlockingOptions{Unbatched: true})
		require.NoError(t, err)
		require.Equal(t, unit.Time(m+p-1)*3*pass+unit.Time(4*m+2*p-8)*c.Comm, r.Makespan)
	})
}

// TestBadPrograms: programs that lack an end of a transfer, run a pass without
// its input or wait in a circle are errors that say where.
func TestBadPrograms(t *testing.T) {
	shape := Shape{Devices: 2, Virtual: 1, Microbatches: 1}
	pass := func(p Phase, stage int32) Step { return Step{Passes: []Slot{{Phase: p, Stage: stage}}} }
	send := func(p Phase, stage, peer int32) Transfer {
		return Transfer{Send: true, Peer: peer, Output: Slot{Phase: p, Stage: stage}}
	}
	receive := func(p Phase, stage, peer int32) Transfer {
		return Transfer{Peer: peer, Output: Slot{Phase: p, Stage: stage}}
	}
	batch := func(x ...Transfer) Step { return Step{Batch: x} }
	first := []Step{pass(F, 0), batch(send(F, 0, 1)), batch(receive(B, 1, 1)), pass(B, 0)}
	last := []Step{batch(receive(F, 0, 0)), pass(F, 1), pass(B, 1), batch(send(B, 1, 0))}
	r, err := SimulateProgram(oneFOneB{}, shape, Costs{F: 1, I: 1, W: 1, Comm: 1}, Program{first, last})
	require.NoError(t, err)
	require.EqualValues(t, 8, r.Makespan)
	for want, program := range map[string]Program{
		"want 2": {first},
		"device 1, step 0: want passes or a batch of transfers, got 0 and 0":       {first, append([]Step{{}}, last...)},
		"device 0, step 1: device 1 lacks the other end of send 0F0.0 to device 1": {first, last[1:]},
		"device 0, step 4: receive 1B0.0 from device 1 is there twice":             {append(first[:4:4], first[2]), last},
		"device 0, step 1: it has not to send 1F0.0 to device 1":                   {append([]Step{first[0], batch(send(F, 1, 1))}, first[2:]...), last},
		"device 0, step 0: it has not to send 0B0.0 to device 1":                   {append([]Step{batch(send(B, 0, 1))}, first...), last},
		"device 0, step 0: 9F0.0 is no output of a pass":                           {append([]Step{batch(send(F, 9, 1))}, first...), last},
		"device 0, step 0: 2 passes that are no pair":                              {{{Passes: []Slot{{Phase: F}, {Phase: B}}}, first[1], first[2]}, last},
		"device 1 runs 1F0.0 without 0F0.0":                                        {first, {last[1], last[0], last[2], last[3]}},
		"device 1 runs 1B0.0 without 1F0.0, which its program has later":           {first, {last[0], last[2], last[1], last[3]}},
		"deadlock: device 0 waits, before 0B0.0, to send 0F0.0 to device 1; device 1 waits, before 1F0.0, to send 1B0.0 to device 0": {
			first, {last[3], last[0], last[1], last[2]}},
	} {
		_, err := SimulateProgram(oneFOneB{}, shape, Costs{F: 1, I: 1, W: 1, Comm: 1}, program)
		require.ErrorContains(t, err, want)
	}
	_, err = Blocking(gpipe{}, shape, BlockingOptions{Unbatched: true})
	require.EqualError(t, err, "unbatched transfers are known of 1f1b, not of gpipe")
	_, err = SimulateBlocking(gpipe{}, Shape{}, Costs{}, BlockingOptions{})
	require.ErrorContains(t, err, "want 1 or more")
	_, err = SimulateBlocking(oneFOneB{}, shape, Costs{Comm: -1}, BlockingOptions{})
	require.ErrorContains(t, err, "cannot be negative")
}

func BenchmarkSimulateBlocking(b *testing.B) {
	shape := Shape{Devices: 16, Virtual: 1, Microbatches: 256}
	program, err := Blocking(oneFOneB{}, shape, BlockingOptions{})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		_, err := SimulateProgram(oneFOneB{}, shape, Costs{F: 10, I: 10, W: 10, Comm: 1}, program)
		require.NoError(b, err)
	}
}
