package calibrate

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// trace is what of a PyTorch profiler trace (Kineto's Chrome JSON) tells of kernels.
type trace struct {
	devices []traceDevice
	cuda    int   // driver version as CUDA counts: 13000
	baseNS  int64 // Unix time that timestamps count from; 0 where they are absolute
	ops     map[int64]*traceOp
	// external is the op of a launch, by correlation, for kernels without one of their own.
	external map[int64]int64
	kernels  []traceKernel
}

type traceDevice struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	SMs  int    `json:"numSms"`
}

// traceOp is a cpu_op: what PyTorch was asked for.
type traceOp struct {
	name     string
	dims     [][]int64 // nil where an input is no tensor
	strides  [][]int64
	types    []string
	concrete []string // values of scalar inputs as text
}

// traceKernel is a kernel on a GPU.
type traceKernel struct {
	name                      string
	startUS, micros           float64
	device                    int
	external, correlation     int64
	grid, block               []int64
	collective, commType      string
	inElems, outElems, groups int64
}

// event is one of traceEvents. Args differ by category and version.
type event struct {
	Phase string                     `json:"ph"`
	Cat   string                     `json:"cat"`
	Name  string                     `json:"name"`
	TS    json.RawMessage            `json:"ts"`
	Dur   float64                    `json:"dur"`
	Args  map[string]json.RawMessage `json:"args"`
}

// readTrace reads a trace, compressed by gzip or not.
func readTrace(in io.Reader) (*trace, error) {
	buffered := bufio.NewReader(in)
	if magic, err := buffered.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		defer unpacked.Close()
		buffered = bufio.NewReader(unpacked)
	}
	t := &trace{ops: map[int64]*traceOp{}, external: map[int64]int64{}}
	dec := json.NewDecoder(buffered)
	if err := expect(dec, '{'); err != nil {
		return nil, err
	}
	found := false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, at(dec, err)
		}
		switch key {
		case "traceEvents":
			found = true
			err = t.readEvents(dec)
		case "deviceProperties":
			err = dec.Decode(&t.devices)
		case "cuda_driver_version":
			err = dec.Decode(&t.cuda)
		case "baseTimeNanoseconds":
			err = dec.Decode(&t.baseNS)
		default:
			var skipped json.RawMessage
			err = dec.Decode(&skipped)
		}
		if err != nil {
			return nil, at(dec, err)
		}
	}
	if err := expect(dec, '}'); err != nil {
		return nil, err
	}
	if !found {
		return nil, errors.New("no traceEvents: not a trace of torch.profiler (export_chrome_trace)")
	}
	return t, nil
}

func at(dec *json.Decoder, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file is cut off")
	}
	return fmt.Errorf("byte %d: %w", dec.InputOffset(), err)
}

func expect(dec *json.Decoder, want json.Delim) error {
	got, err := dec.Token()
	if err != nil {
		return at(dec, err)
	}
	if got != want {
		return fmt.Errorf("byte %d: found %v, must be %v: not a trace of torch.profiler", dec.InputOffset(), got, want)
	}
	return nil
}

func (t *trace) readEvents(dec *json.Decoder) error {
	if err := expect(dec, '['); err != nil {
		return err
	}
	for dec.More() {
		var e event
		if err := dec.Decode(&e); err != nil {
			return err
		}
		if e.Phase == "X" {
			t.add(&e)
		}
	}
	return expect(dec, ']')
}

func (t *trace) add(e *event) {
	switch e.Cat {
	case "cpu_op":
		op := &traceOp{name: e.Name, dims: lists(e.Args["Input Dims"]), strides: lists(e.Args["Input Strides"]),
			types: texts(e.Args["Input type"]), concrete: texts(e.Args["Concrete Inputs"])}
		if id := e.int("External id"); id != 0 {
			t.ops[id] = op
		}
	case "cuda_runtime", "cuda_driver":
		if c, id := e.int("correlation"), e.int("External id"); c != 0 && id != 0 {
			t.external[c] = id
		}
	case "kernel":
		var start float64
		_ = json.Unmarshal(e.TS, &start) // only the order depends on it
		t.kernels = append(t.kernels, traceKernel{name: e.Name, startUS: start, micros: e.Dur, device: int(e.int("device")),
			external: e.int("External id"), correlation: e.int("correlation"), grid: list(e.Args["grid"]), block: list(e.Args["block"]),
			collective: e.text("Collective name"), commType: e.text("dtype"), inElems: e.int("In msg nelems"), outElems: e.int("Out msg nelems"), groups: e.int("Group size")})
	}
}

// int and text give an argument, or the zero value where it is absent or of another type.
func (e *event) int(key string) (n int64) {
	raw, ok := e.Args[key]
	if !ok && key == "External id" { // until PyTorch 1.9
		raw = e.Args["external id"]
	}
	if json.Unmarshal(raw, &n) != nil {
		return 0
	}
	return n
}

func (e *event) text(key string) (s string) {
	if json.Unmarshal(e.Args[key], &s) != nil {
		return ""
	}
	return s
}

func list(raw json.RawMessage) []int64 {
	var out []int64
	if json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

func lists(raw json.RawMessage) [][]int64 {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil
	}
	out := make([][]int64, len(items))
	for i, item := range items {
		out[i] = list(item)
	}
	return out
}

func texts(raw json.RawMessage) []string {
	var out []string
	if json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}
