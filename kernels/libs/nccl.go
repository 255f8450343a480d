package libs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"orrery/kernels/bench"
	"orrery/kernels/gpu"
	"orrery/kernels/numbers"
	"orrery/kernels/sample"
)

func init() {
	bench.Register(bench.Suite{Name: "nccl", Missing: ncclMissing, Cases: ncclCases})
}

// ncclMissing: collectives need the library and two GPUs.
func ncclMissing() error {
	if err := ncclLibrary.missing(); err != nil {
		return err
	}
	n, err := visible()
	if err != nil {
		return err
	}
	if n < 2 {
		return fmt.Errorf("NCCL sweeps need 2 GPUs or more, this machine has %d", n)
	}
	return nil
}

func visible() (int, error) {
	l, err := gpu.Lookup("")
	if err != nil {
		return 0, err
	}
	return l.Count()
}

// Constants of nccl.h.
const (
	ncclFloat32 = 7
	ncclSum     = 0
)

type nccl struct {
	errorText     func(int32) string
	version       func(*int32) int32
	initAll       func(comms *uintptr, n int32, devices *int32) int32
	destroy       func(comm uintptr) int32
	groupStart    func() int32
	groupEnd      func() int32
	allReduce     func(in, out uint64, count uint64, kind, op int32, comm, stream uintptr) int32
	allGather     func(in, out uint64, count uint64, kind int32, comm, stream uintptr) int32
	reduceScatter func(in, out uint64, count uint64, kind, op int32, comm, stream uintptr) int32
	send          func(in uint64, count uint64, kind, peer int32, comm, stream uintptr) int32
	recv          func(out uint64, count uint64, kind, peer int32, comm, stream uintptr) int32
}

func openNCCL() (*nccl, error) {
	n := &nccl{}
	return n, ncclLibrary.open(map[string]any{
		"ncclGetErrorString": &n.errorText, "ncclGetVersion": &n.version, "ncclCommInitAll": &n.initAll, "ncclCommDestroy": &n.destroy,
		"ncclGroupStart": &n.groupStart, "ncclGroupEnd": &n.groupEnd, "ncclAllReduce": &n.allReduce, "ncclAllGather": &n.allGather,
		"ncclReduceScatter": &n.reduceScatter, "ncclSend": &n.send, "ncclRecv": &n.recv,
	})
}

func (n *nccl) check(call string, code int32) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s (%d)", call, n.errorText(code), code)
}

// collective is one operation among the first ranks GPUs. bytes are those of
// nccl-tests: the total receive buffer of an all-gather, the total send buffer of
// a reduce-scatter or an all-to-all.
type collective struct {
	kind  string
	ranks int
	bytes int64
}

func ncclCases() []bench.Case {
	version := ""
	if n, err := openNCCL(); err == nil {
		var v int32
		if n.version(&v) == 0 {
			version = fmt.Sprintf("nccl%d", v)
		}
	}
	most, err := visible()
	if err != nil {
		most = 0
	}
	var out []bench.Case
	for _, kind := range []string{"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"} {
		for _, ranks := range []int{2, 4, 8} {
			if ranks > max(most, 8) || kind == "send_recv" && ranks > 2 {
				continue
			}
			for bytes := int64(1 << 10); bytes <= 1<<30; bytes *= 4 {
				c := collective{kind, ranks, bytes}
				shape := fmt.Sprintf("kind=%s bytes=%d ranks=%d", kind, bytes, ranks)
				family := "collective"
				if kind == "send_recv" {
					family, shape = "p2p", fmt.Sprintf("bytes=%d", bytes)
				}
				out = append(out, bench.Case{Family: family, Kernel: "nccl", Hash: version, Shape: sample.Shape(shape), DType: "float",
					Bytes: float64(bytes), Weight: 1 / (1 + math.Abs(math.Log2(float64(bytes)/(64<<20)))), Needs: ranks, Prepare: c.prepare})
			}
		}
	}
	return bench.Ordered(out)
}

// rank is one GPU of a collective.
type rank struct {
	dev     gpu.Device
	own     bool // opened here
	in, out gpu.Ptr
	stream  gpu.Stream
	done    gpu.Event
}

type ncclCase struct {
	collective
	lib   *nccl
	ranks []rank
	comms []uintptr
	ready gpu.Event
}

// Enqueue starts the collective on all GPUs; the stream of the first one, which is
// timed, waits for the others.
func (c *ncclCase) Enqueue(s gpu.Stream, _ int) error {
	if err := s.Record(c.ready); err != nil {
		return err
	}
	for _, r := range c.ranks {
		if err := r.stream.Wait(c.ready); err != nil {
			return err
		}
	}
	if err := c.lib.check("ncclGroupStart", c.lib.groupStart()); err != nil {
		return err
	}
	for i, r := range c.ranks {
		if err := c.start(i, r); err != nil {
			return err
		}
	}
	if err := c.lib.check("ncclGroupEnd", c.lib.groupEnd()); err != nil {
		return err
	}
	for _, r := range c.ranks {
		if err := errors.Join(r.stream.Record(r.done), s.Wait(r.done)); err != nil {
			return err
		}
	}
	return nil
}

func (c *ncclCase) start(i int, r rank) error {
	n, p, l := uint64(c.bytes/4), uint64(len(c.ranks)), c.lib
	in, out, comm, stream := uint64(r.in), uint64(r.out), c.comms[i], r.stream.Handle()
	switch c.kind {
	case "all_reduce":
		return l.check("ncclAllReduce", l.allReduce(in, out, n, ncclFloat32, ncclSum, comm, stream))
	case "all_gather":
		return l.check("ncclAllGather", l.allGather(in, out, n/p, ncclFloat32, comm, stream))
	case "reduce_scatter":
		return l.check("ncclReduceScatter", l.reduceScatter(in, out, n/p, ncclFloat32, ncclSum, comm, stream))
	case "send_recv": // both ways at once, as pipelines in their steady state
		peer := int32(1 - i)
		return errors.Join(l.check("ncclSend", l.send(in, n, ncclFloat32, peer, comm, stream)), l.check("ncclRecv", l.recv(out, n, ncclFloat32, peer, comm, stream)))
	}
	var err error
	for peer := range c.ranks {
		at := uint64(peer) * (n / p) * 4
		err = errors.Join(err, l.check("ncclSend", l.send(in+at, n/p, ncclFloat32, int32(peer), comm, stream)),
			l.check("ncclRecv", l.recv(out+at, n/p, ncclFloat32, int32(peer), comm, stream)))
	}
	return err
}

func (c *ncclCase) Close() error {
	var err error
	for _, comm := range c.comms {
		err = errors.Join(err, c.lib.check("ncclCommDestroy", c.lib.destroy(comm)))
	}
	for i := len(c.ranks) - 1; i >= 0; i-- {
		r := c.ranks[i]
		for _, p := range []gpu.Ptr{r.in, r.out} {
			if p != 0 {
				err = errors.Join(err, r.dev.Free(p))
			}
		}
		if r.stream != nil {
			err = errors.Join(err, r.stream.Close())
		}
		if r.done != nil {
			err = errors.Join(err, r.done.Close())
		}
		if r.own {
			err = errors.Join(err, r.dev.Close())
		}
	}
	if c.ready != nil {
		err = errors.Join(err, c.ready.Close())
	}
	return err
}

func (k collective) prepare(_ context.Context, dev gpu.Device, seed uint64) (_ bench.Prepared, err error) {
	lib, err := openNCCL()
	if err != nil {
		return nil, err
	}
	if n, err := visible(); err != nil || n < k.ranks {
		return nil, errors.Join(err, fmt.Errorf("%s among %d GPUs: this machine has %d", k.kind, k.ranks, n))
	}
	c := &ncclCase{collective: k, lib: lib}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.ready, err = dev.NewEvent(); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 4))
	inputs := make([][]float64, k.ranks)
	var devices []int32
	for i := range k.ranks {
		r := rank{dev: dev}
		if i > 0 {
			if r.dev, err = gpu.Open("", i); err != nil {
				return nil, err
			}
			r.own = true
		}
		c.ranks = append(c.ranks, r)
		if inputs[i], err = c.ranks[i].fill(k.bytes, rng); err != nil {
			return nil, err
		}
		devices = append(devices, int32(i))
	}
	comms := make([]uintptr, k.ranks)
	if err := lib.check("ncclCommInitAll", lib.initAll(&comms[0], int32(k.ranks), &devices[0])); err != nil {
		return nil, err
	}
	c.comms = comms
	return c, c.verify(dev, inputs)
}

func (r *rank) fill(size int64, rng *rand.Rand) (_ []float64, err error) {
	if r.in, err = r.dev.Alloc(size); err != nil {
		return nil, err
	}
	if r.out, err = r.dev.Alloc(size); err != nil {
		return nil, err
	}
	if r.stream, err = r.dev.NewStream(); err != nil {
		return nil, err
	}
	if r.done, err = r.dev.NewEvent(); err != nil {
		return nil, err
	}
	pattern := numbers.Pattern(rng, size, numbers.NormalF32)
	data := bytes.Repeat(pattern, int((size-1)/int64(len(pattern))+1))[:size]
	return numbers.F32s(data), r.dev.Upload(r.in, data)
}

// verify runs the collective once and compares the outputs of all ranks.
func (c *ncclCase) verify(dev gpu.Device, in [][]float64) (err error) {
	s, err := dev.NewStream()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := errors.Join(c.Enqueue(s, 0), s.Sync()); err != nil {
		return err
	}
	for i, r := range c.ranks {
		got := make([]byte, c.bytes)
		if err := r.dev.Download(got, r.out); err != nil {
			return err
		}
		want := c.want(i, in)
		if err := numbers.Near(numbers.F32s(got)[:len(want)], want, 1e-5, 1e-5); err != nil {
			return fmt.Errorf("%s of %d bytes, rank %d: %w", c.kind, c.bytes, i, err)
		}
	}
	return nil
}

// want is what rank i receives.
func (k collective) want(i int, in [][]float64) []float64 {
	n, p := len(in[0]), len(in)
	part := n / p
	var out []float64
	switch k.kind {
	case "all_gather":
		for _, x := range in {
			out = append(out, x[:part]...)
		}
	case "all_to_all":
		for _, x := range in {
			out = append(out, x[i*part:(i+1)*part]...)
		}
	case "send_recv":
		return in[1-i]
	default:
		out = make([]float64, n)
		for _, x := range in {
			for j, v := range x {
				out[j] += v
			}
		}
		if k.kind == "reduce_scatter" {
			out = out[i*part : (i+1)*part]
		}
	}
	return out
}
