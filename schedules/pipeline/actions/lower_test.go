package actions

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
)

// The expectations of PyTorch's tests (test/distributed/pipelining/
// test_schedule.py) that need little room, transcribed.

// TestSendRecvSample is the "v_2_rank_4_stage" of test_send_recv, whose dry run
// takes 24 steps.
func TestSendRecvSample(t *testing.T) {
	compute := [][]pipeline.Cell{
		row(t, "0F0", "0F1", "", "3F0", "3B0", "3F1", "3B1", "0B0", "3W0", "0B1", "3W1", "0W0", "0W1"),
		row(t, "", "1F0", "2F0", "1F1", "2F1", "2B0", "1B0", "2B1", "1B1", "2W0", "2W1", "1W0", "1W1"),
	}
	device, err := Place(compute)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 1, 0}, device)
	got, err := SendRecv(compute, device)
	require.NoError(t, err)
	require.Equal(t, "0F0,0SEND_F0,0F1,0SEND_F1,3RECV_F0,3F0,3B0,3SEND_B0,3RECV_F1,3F1,3B1,3SEND_B1,0RECV_B0,0B0,3W0,0RECV_B1,0B1,3W1,0W0,0W1\n"+
		"1RECV_F0,1RECV_F1,1F0,2F0,2SEND_F0,1F1,2RECV_B0,2F1,2SEND_F1,2B0,2RECV_B1,1B0,1SEND_B0,2B1,1B1,1SEND_B1,2W0,2W1,1W0,1W1\n",
		pipeline.FormatOrder(got))
	require.Equal(t, 24, stepsOf(t, got))
}

// TestDeferRecvSample is test_defer_recv_ops: backwards in halves, and a pair of
// passes of which each receives.
func TestDeferRecvSample(t *testing.T) {
	for _, c := range []struct {
		device    []int
		rows      [][]pipeline.Cell
		wantFirst string
		wantLast  string
	}{
		{
			[]int{0, 1},
			[][]pipeline.Cell{
				row(t, "0RECV_B0", "0F0", "0SEND_F0", "0F1", "0SEND_F1", "0I0", "0W0", "0RECV_B1", "0I1", "0W1"),
				row(t, "1RECV_F0", "1RECV_F1", "1F0", "1I0", "1SEND_B0", "1W0", "1F1", "1I1", "1SEND_B1", "1W1"),
			},
			"0F0,0RECV_B0,0SEND_F0,0F1,0SEND_F1,0I0,0W0,0RECV_B1,0I1,0W1",
			"1RECV_F0,1F0,1I0,1SEND_B0,1W0,1RECV_F1,1F1,1I1,1SEND_B1,1W1",
		},
		{
			[]int{0, 1, 1, 0},
			[][]pipeline.Cell{
				row(t, "0F0", "0SEND_F0", "0F1", "0SEND_F1", "3RECV_F0", "3F0", "3B0", "3SEND_B0"),
				row(t, "1RECV_F0", "1RECV_F1", "2RECV_B0", "1F0", "2F0", "2SEND_F0", "(1F1;2B0)OVERLAP_F_B", "2W0", "1B0", "1SEND_B0", "1W0"),
			},
			"0F0,0SEND_F0,0F1,0SEND_F1,3RECV_F0,3F0,3B0,3SEND_B0",
			"1RECV_F0,1F0,2F0,2SEND_F0,1RECV_F1,2RECV_B0,(1F1;2B0)OVERLAP_F_B,2W0,1B0,1SEND_B0,1W0",
		},
	} {
		got, err := DeferRecv(c.rows, c.device)
		require.NoError(t, err)
		require.Equal(t, c.wantFirst, text(got[0]))
		require.Equal(t, c.wantLast, text(got[1]))
	}
}

// TestRowPassSamples is test_merge_bw, test_unshard_reshard and test_grad_reduce.
func TestRowPassSamples(t *testing.T) {
	require.Equal(t, "0F0,0F1,0F2,0I0,0I1,0W0,0B2,0W1",
		text(MergeBackward(row(t, "0F0", "0F1", "0F2", "0I0", "0I1", "0W0", "0I2", "0W2", "0W1"))))
	compute := row(t, "0F0", "0F1", "1F0", "1F1", "1B0", "1B1", "0B0", "0B1")
	require.Equal(t, "0UNSHARD,1UNSHARD,0F0,0F1,1F0,1F1,1B0,1B1,1RESHARD,0B0,0B1,0RESHARD", text(UnshardReshard(compute)))
	require.Equal(t, "0F0,0F1,1F0,1F1,1B0,1B1,1REDUCE_GRAD,0B0,0B1,0REDUCE_GRAD", text(ReduceGrad(compute, 2)))
}

// TestStepsSample is rows of torch_sim_steps.csv, which PyTorch's code gave.
func TestStepsSample(t *testing.T) {
	for _, c := range []struct {
		name                 string
		p, m, v              int
		actions, early, late int
	}{
		{"torch_interleaved_1f1b", 4, 8, 2, 352, 148, 102},
		{"bfs_looped", 4, 8, 2, 352, 144, 104},
		{"torch_interleaved_zb", 4, 8, 2, 400, 166, 116},
		{"zbv", 4, 8, 2, 338, 124, 106},
	} {
		shape := pipeline.Shape{Devices: c.p, Microbatches: c.m, Virtual: c.v}
		rows := lowered(t, c.name, shape, "merge_bw", "send_recv")
		require.Equal(t, c.actions, actionsIn(rows), c.name)
		require.Equal(t, c.early, stepsOf(t, rows), c.name)
		require.Equal(t, c.late, stepsOf(t, lowered(t, c.name, shape, "merge_bw", "send_recv", "defer_recv")), c.name)
	}
}

// shapes is small shapes that a schedule accepts.
func shapes(s pipeline.Schedule) []pipeline.Shape {
	var out []pipeline.Shape
	for p := 1; p <= 5; p++ {
		for v := 1; v <= 3; v++ {
			for m := 1; m <= 11; m++ {
				for n := 0; n <= 4; n++ {
					for g := 0; g <= 4; g++ {
						shape := pipeline.Shape{Devices: p, Virtual: v, Microbatches: m, Slices: n, Group: g}
						if s.Check(shape) == nil {
							out = append(out, shape)
						}
					}
				}
			}
		}
	}
	return out
}

// TestLoweringOfAll holds the programs of every registered schedule to what must
// be true of any: they are text, they have the order that they were made of,
// every receive its send in the same order, and they run to their end.
func TestLoweringOfAll(t *testing.T) {
	for _, s := range pipeline.All() {
		if _, ok := s.(pipeline.Multimodal); ok {
			continue // PyTorch's grammar knows no modules
		}
		t.Run(s.Name(), func(t *testing.T) {
			all := shapes(s)
			require.NotEmpty(t, all)
			if pipeline.Replicas(s) > 1 {
				order, err := s.Order(all[0])
				require.NoError(t, err)
				_, err = Lower(pipeline.Cells(order, false), []string{"send_recv"})
				require.ErrorContains(t, err, "PyTorch's passes place a stage once")
				return
			}
			rapid.Check(t, func(t *rapid.T) {
				shape := rapid.SampledFrom(all).Draw(t, "shape")
				order, err := s.Order(shape)
				require.NoError(t, err)
				checkLowering(t, pipeline.Cells(order, shape.Slices > 1), shape)
			})
		})
	}
}

func checkLowering(t *rapid.T, compute [][]pipeline.Cell, shape pipeline.Shape) {
	device, err := Place(compute)
	require.NoError(t, err)
	require.Len(t, device, shape.Devices*shape.Virtual)

	merged := make([][]pipeline.Cell, len(compute))
	for d, row := range compute {
		merged[d] = MergeBackward(row)
		require.Equal(t, merged[d], MergeBackward(merged[d]), "merging twice differs")
		withParameters := ReduceGrad(UnshardReshard(row), shape.Microbatches*max(shape.Slices, 1))
		require.Equal(t, row, Compute([][]pipeline.Cell{withParameters})[0])
		checkParameters(t, withParameters, shape.Virtual)
	}
	for _, order := range [][][]pipeline.Cell{compute, merged} {
		early, err := SendRecv(order, device)
		require.NoError(t, err)
		late, err := DeferRecv(early, device)
		require.NoError(t, err)
		require.NoError(t, InOrder(early, device))
		if shape.Virtual == 1 { // with more, only each edge between two stages keeps its order
			require.NoError(t, InOrder(late, device))
		}
		checkTransfers(t, early, device)
		checkTransfers(t, late, device)
		for _, rows := range [][][]pipeline.Cell{early, late} {
			require.Equal(t, order, Compute(rows))
			again, err := pipeline.ParseOrder(pipeline.FormatOrder(rows))
			require.NoError(t, err)
			require.Equal(t, rows, again)
			run, err := DryRun(rows, device)
			require.NoError(t, err)
			require.Equal(t, rows, filled(run))
		}
	}
}

// checkTransfers: every receive has its send and every send its receive, and the
// two ends of a direction, and of activations or gradients in it, have them in
// the same order.
func checkTransfers(t *rapid.T, rows [][]pipeline.Cell, device []int) {
	type channel struct {
		from int32 // stage
		op   pipeline.Op
	}
	sent, received := map[channel][]int32{}, map[channel][]int32{}
	for d, row := range rows {
		for _, cell := range row {
			a := cell[0]
			if send, ok := origin(a, len(device)); ok {
				require.NotEqual(t, d, device[send.Stage], "%v is of its own device", a)
				received[channel{send.Stage, send.Op}] = append(received[channel{send.Stage, send.Op}], a.Microbatch)
			}
			if a.Op == pipeline.OpSendF || a.Op == pipeline.OpSendB {
				_, ok := target(a, len(device))
				require.True(t, ok, "%v goes nowhere", a)
				sent[channel{a.Stage, a.Op}] = append(sent[channel{a.Stage, a.Op}], a.Microbatch)
			}
		}
	}
	require.Equal(t, sent, received)
}

// checkParameters: a device runs a stage only while its parameters are gathered,
// keeps three stages at most, and reduces each stage's gradients once, after the
// last of them.
func checkParameters(t *rapid.T, row []pipeline.Cell, stages int) {
	gathered, reduced := map[int32]bool{}, map[int32]bool{}
	for _, cell := range row {
		for _, a := range cell {
			switch a.Op {
			case pipeline.OpUnshard:
				require.False(t, gathered[a.Stage])
				gathered[a.Stage] = true
				require.LessOrEqual(t, len(gathered), maxActive)
			case pipeline.OpReshard:
				require.True(t, gathered[a.Stage])
				delete(gathered, a.Stage)
			case pipeline.OpReduceGrad:
				require.False(t, reduced[a.Stage])
				reduced[a.Stage] = true
			default:
				require.True(t, gathered[a.Stage], "%v runs without its parameters", a)
				require.False(t, reduced[a.Stage], "%v runs after the reduction", a)
			}
		}
	}
	require.Empty(t, gathered)
	require.Len(t, reduced, stages)
}

// TestDeadlocks: programs that cannot run are errors that name the circle.
func TestDeadlocks(t *testing.T) {
	device := []int{0, 1}
	for want, rows := range map[string][][]pipeline.Cell{
		"deadlock: 0RECV_B0 on device 0 waits for 1SEND_B0, which device 1 does later; 1RECV_F1 on device 1 waits for 0SEND_F1, which device 0 does later": {
			row(t, "0F0", "0SEND_F0", "0RECV_B0", "0B0", "0F1", "0SEND_F1"),
			row(t, "1RECV_F0", "1F0", "1RECV_F1", "1F1", "1B0", "1SEND_B0"),
		},
		"deadlock: 1F0 on device 1 waits for 1RECV_F0, which device 1 does later": {row(t, "0F0", "0SEND_F0"), row(t, "1F0", "1RECV_F0")},
		"deadlock: 1RECV_F0 on device 1 waits for 0SEND_F0, which device 0 never": {row(t, "0F0"), row(t, "1RECV_F0", "1F0")},
		"deadlock: 0SEND_F0 on device 0 waits for 0F0, which device 0 does later": {row(t, "0SEND_F0", "0F0"), row(t, "1F0")},
		"0RECV_B0 on device 1: the stage is on device 0":                          {row(t, "0F0"), row(t, "0RECV_B0")},
		"7F0 on device 0: there are 2 stages":                                     {row(t, "7F0"), row(t, "1F0")},
	} {
		_, err := DryRun(rows, device)
		require.ErrorContains(t, err, want)
	}
	crossed := [][]pipeline.Cell{row(t, "0F0", "0B0", "0F1", "0B1"), row(t, "1F1", "1F0", "1B0", "1B1")}
	_, err := SendRecv(crossed, device)
	require.ErrorContains(t, err, "deadlock: 0B0 on device 0 waits for 1B0, which device 1 does later; 1F1 on device 1 waits for 0F1, which device 0 does later")
	_, err = DeferRecv([][]pipeline.Cell{row(t, "0F0", "0SEND_F0"), row(t, "1RECV_F0")}, device)
	require.ErrorContains(t, err, "no pass of device 1 behind 1RECV_F0")
	require.EqualError(t, InOrder([][]pipeline.Cell{row(t, "0SEND_F0", "0SEND_F1"), row(t, "1RECV_F1", "1RECV_F0")}, device),
		"transfer 0 from device 0 to device 1 is 0SEND_F0 for the sender, but the receiver expects 0SEND_F1")
	require.EqualError(t, InOrder([][]pipeline.Cell{row(t, "0SEND_F0"), row(t, "1F0")}, device),
		"device 0 sends 1 times to device 1, which receives 0 times")
	_, err = SendRecv(crossed, []int{0, 2})
	require.ErrorContains(t, err, "stage 1 is on device 2, but there are 2 devices")
}

// TestLowerRefuses: unknown passes, receives that are not there to be moved, and
// stages that PyTorch cannot place.
func TestLowerRefuses(t *testing.T) {
	good := [][]pipeline.Cell{row(t, "0F0", "0B0")}
	for want, c := range map[string]struct {
		rows   [][]pipeline.Cell
		passes []string
	}{
		`no pass is called "merge_wb"; did you mean "merge_bw"?`: {good, []string{"merge_wb"}},
		`no pass is called "everything"; known are merge_bw`:     {good, []string{"everything"}},
		"name both":                              {good, []string{"defer_recv"}},
		"stage 0 is on device 0 and on device 1": {[][]pipeline.Cell{row(t, "0F0"), row(t, "0F1")}, []string{"send_recv"}},
		"stage 0 of 0 to 1 has no passes":        {[][]pipeline.Cell{row(t, "1F0", "1B0")}, []string{"send_recv"}},
		"2 passes, which cannot be on all":       {[][]pipeline.Cell{row(t, "2000000000F0", "0B0")}, []string{"send_recv"}},
	} {
		_, err := Lower(c.rows, c.passes)
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, []string{"merge_bw", "unshard_reshard", "reduce_grad", "send_recv", "defer_recv"}, Passes())
}

// FuzzLower: whatever the order, lowering ends in a program or in an error, and
// what it adds can be taken away again.
func FuzzLower(f *testing.F) {
	f.Add("0F0,0F1,0I0,0W0,0B1\n1F0,1B0,1F1,1B1\n")
	f.Add("0F0,3F0,3B0,0B0\n1F0,2F0,(1F1;2B0)OVERLAP_F_B\n")
	f.Add("0RECV_B0,1UNSHARD\n,0B3.1\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := pipeline.ParseOrder(text)
		if err != nil {
			return
		}
		compute := Compute(rows)
		device, err := Place(compute)
		if err != nil {
			return
		}
		out, err := Lower(compute, []string{"send_recv", "defer_recv"})
		if err != nil {
			return
		}
		require.Equal(t, compute, Compute(out))
		if _, err := DryRun(out, device); err != nil {
			require.ErrorContains(t, err, "deadlock")
		}
	})
}

func BenchmarkLower(b *testing.B) {
	s, err := pipeline.Lookup("interleaved_1f1b")
	require.NoError(b, err)
	order, err := s.Order(pipeline.Shape{Devices: 16, Virtual: 4, Microbatches: 64})
	require.NoError(b, err)
	rows := pipeline.Cells(order, false)
	device, err := Place(rows)
	require.NoError(b, err)
	for _, name := range []string{"lower", "dry_run"} {
		out, err := Lower(rows, Passes())
		require.NoError(b, err)
		b.Run(fmt.Sprintf("%s/16x4x64", name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if name == "lower" {
					_, err = Lower(rows, Passes())
				} else {
					_, err = DryRun(out, device)
				}
				require.NoError(b, err)
			}
		})
	}
}
