package calibrate

import (
	"fmt"
	"slices"
	"sync"

	"orrery/kernels/bench"
	"orrery/kernels/sample"
	"orrery/sim/cost"
)

// memoryKernel is the memory-bound kernel of a row. Its bytes are those that the
// shape gives (read and write), else those of the registered case that
// the row measured. Ops that have no price are not an error: the kernel is nil.
func memoryKernel(r sample.Row) (cost.Kernel, error) {
	op := r.Kernel
	if v, ok := r.Shape.Get("op"); ok && !slices.Contains(cost.MemoryOps(), op) {
		op = v // the priced op that the kernel stands for
	}
	if !slices.Contains(cost.MemoryOps(), op) {
		return nil, nil
	}
	read, hasRead := r.Shape.Get("read")
	written, hasWrite := r.Shape.Get("write")
	switch {
	case hasRead && hasWrite:
		return ParseKernel("memory", []string{"op=" + op, "read=" + read, "write=" + written})
	case caseBytes()[r.ID()] > 0:
		return cost.Memory{Op: op, Read: caseBytes()[r.ID()]}, nil
	}
	return nil, fmt.Errorf("%s: the shape has no read and write (bytes), and no registered case tells them", r.Kernel)
}

// caseBytes gives the bytes that cases of the registered suites move, by ID.
var caseBytes = sync.OnceValue(func() map[string]int64 {
	m := map[string]int64{}
	for _, s := range bench.Suites() {
		for _, c := range s.Cases() {
			m[c.ID()] = int64(c.Bytes)
		}
	}
	return m
})
