package lower

import (
	"orrery/models"
	"orrery/sim/cost"
)

// lstm is one of so many calls of a recurrent layer, as cuDNN runs it step by step
// (CUDNN_RNN_ALGO_STANDARD): one product for the inputs of all steps, then for
// every step the recurrent product and a kernel for gates and cell. PyTorch picks
// the kernel that stays resident for one direction in fp16 only
// (aten/src/ATen/native/cudnn/RNN.cpp, use_persist_common_heuristics). The two
// directions may overlap on two streams; here they run one after the other.
func (n *netShapes) lstm(b *builder, l models.LSTM, calls int64, backward bool) {
	_, steps := n.batch.Sequences(l.Over)
	all := ceilDiv(n.batch.Rows(l.Over), calls) // rows of all steps
	rows := ceilDiv(all, steps)
	gates := 4 * l.Hidden
	cell := func(name string, read, write int64) {
		b.compute(name, Recurrent, mem("copy", 2*rows*read*l.Hidden, 2*rows*write*l.Hidden))
	}
	if !backward {
		n.dropout(b, all*l.In)
	}
	for range l.Directions() {
		if !backward {
			b.compute("input gates", Recurrent, gemm(all, gates, l.In, n.dt, cost.Fwd))
			for range steps {
				b.compute("recurrent gates", Recurrent, gemm(rows, gates, l.Hidden, n.dt, cost.Fwd))
				cell("cell", 4+4+1, 4+2) // gates from input and state, cell; gates, cell, output
			}
			continue
		}
		for range steps {
			cell("d cell", 4+2+3, 4+1)
			b.compute("d state", Recurrent, gemm(rows, l.Hidden, gates, n.dt, cost.Dgrad))
		}
		b.compute("dgrad input", Recurrent, gemm(all, l.In, gates, n.dt, cost.Dgrad))
		for _, op := range []int{
			b.compute("wgrad input", Recurrent, gemm(gates, l.In, all, n.dt, cost.Wgrad)),
			b.compute("wgrad recurrent", Recurrent, gemm(gates, l.Hidden, all, n.dt, cost.Wgrad)),
			b.compute("bias grad", Recurrent, mem("copy", 2*all*gates, 4*gates)),
		} {
			b.b.Ops[op].Wgrad = true
		}
	}
	if backward {
		n.dropoutBackward(b, all*l.In)
	}
}
