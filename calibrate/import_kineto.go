package calibrate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"orrery/kernels/sample"
	"orrery/sim/cost"
)

// otherKernels is the family of kernels that have no prices.
const otherKernels = "kernel"

// Imported tells what became of the kernels of a trace.
type Imported struct {
	Kernels  int            `json:"kernels"`  // events
	Families map[string]int `json:"families"` // rows
	// Unknown are kernels of no family, heaviest first.
	Unknown []UnknownKernel `json:"unknown"`
	// Left are events that gave no row, and calls whose shape the trace does not
	// tell, by reason; the latter are rows of family "kernel".
	Left Rejected `json:"left,omitempty"`
}

// UnknownKernel is a kernel that belongs to no family.
type UnknownKernel struct {
	Name   string  `json:"name"`
	Events int     `json:"events"`
	Micros float64 `json:"us"` // of all events
}

// ImportKineto reads a PyTorch profiler trace (JSON, or JSON in gzip). Products,
// attention and collectives become rows of their families, with a sample a call:
// the sum of the call's kernels. Every other kernel is a row of family "kernel".
// A row's kernel is PyTorch's name of the op, its hash that of the kernels' names,
// so that two versions of a library have rows of the same ID.
func ImportKineto(path string) (sample.Header, []sample.Row, Imported, error) {
	in, err := os.Open(path)
	if err != nil {
		return sample.Header{}, nil, Imported{}, err
	}
	defer in.Close()
	t, err := readTrace(in)
	if err != nil {
		return sample.Header{}, nil, Imported{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(t.kernels) == 0 {
		return sample.Header{}, nil, Imported{}, fmt.Errorf("%s: %w", path, errors.New("no event of category \"kernel\": was the GPU profiled (ProfilerActivity.CUDA)?"))
	}
	rows, done := t.rows()
	return t.header(filepath.Base(path)), rows, done, nil
}

func (t *trace) header(name string) sample.Header {
	h := sample.Header{Launcher: "torch", Host: "PyTorch profiler trace " + oneWord(name), GPU: "unknown"}
	for _, d := range t.devices {
		if d.ID == t.kernels[0].device {
			h.GPU, h.SMs = d.Name, d.SMs
		}
	}
	if t.cuda > 0 {
		h.CUDA = fmt.Sprintf("%d.%d", t.cuda/1000, t.cuda%1000/10)
	}
	if t.baseNS > 0 {
		h.Date = time.Unix(0, t.baseNS).UTC().Format(time.RFC3339)
	}
	return h
}

// call is one call of an op: the kernels that it launched.
type call struct {
	op      *traceOp
	kernels []traceKernel
}

// calls joins the kernels of an op; a kernel without one is a call by itself.
func (t *trace) calls() []call {
	slices.SortStableFunc(t.kernels, func(a, b traceKernel) int { return cmp.Compare(a.startUS, b.startUS) })
	var out []call
	byOp := map[int64]int{}
	for _, k := range t.kernels {
		id := k.external
		if id == 0 {
			id = t.external[k.correlation]
		}
		op := t.ops[id]
		if op == nil {
			out = append(out, call{nil, []traceKernel{k}})
			continue
		}
		if i, seen := byOp[id]; seen {
			out[i].kernels = append(out[i].kernels, k)
			continue
		}
		byOp[id] = len(out)
		out = append(out, call{op, []traceKernel{k}})
	}
	return out
}

// rowBuilder gathers samples by ID.
type rowBuilder struct {
	rows []sample.Row
	at   map[string]int
}

func (b *rowBuilder) add(r sample.Row, micros float64) {
	key := r.ID()
	i, seen := b.at[key]
	if !seen {
		i = len(b.rows)
		b.at[key] = i
		r.Unit = "us"
		b.rows = append(b.rows, r)
	}
	b.rows[i].Samples = append(b.rows[i].Samples, micros)
}

func (t *trace) rows() ([]sample.Row, Imported) {
	done := Imported{Kernels: len(t.kernels), Families: map[string]int{}, Left: Rejected{}, Unknown: []UnknownKernel{}}
	b := rowBuilder{at: map[string]int{}}
	unknown := map[string]*UnknownKernel{}
	for _, c := range t.calls() {
		k, name, why := c.kernel()
		if why != "" {
			done.Left[why]++
		}
		micros := 0.0
		for _, e := range c.kernels {
			micros += e.micros
		}
		if k != nil && micros > 0 {
			_, shape, _ := KernelText(k)
			shape, dtype := splitDType(k, shape)
			b.add(sample.Row{Family: string(k.Family()), Kernel: name, Hash: c.hash(), Shape: shape, DType: dtype}, micros)
			continue
		}
		for _, e := range c.kernels {
			if !(e.micros > 0) {
				done.Left["no time"]++
				continue
			}
			b.add(e.row(c.op), e.micros)
			u := unknown[e.name]
			if u == nil {
				u = &UnknownKernel{Name: e.name}
				unknown[e.name] = u
			}
			u.Events++
			u.Micros += e.micros
		}
	}
	for i := range b.rows {
		b.rows[i].Summarise()
		done.Families[b.rows[i].Family]++
	}
	slices.SortFunc(b.rows, func(x, y sample.Row) int { return cmp.Compare(x.ID(), y.ID()) })
	for _, name := range sortedKeys(unknown) {
		done.Unknown = append(done.Unknown, *unknown[name])
	}
	slices.SortStableFunc(done.Unknown, func(x, y UnknownKernel) int { return cmp.Compare(y.Micros, x.Micros) })
	return b.rows, done
}

// kernel is the kernel of prices that a call is, and the name of its row; why says
// what the trace lacks where it should be one.
func (c *call) kernel() (k cost.Kernel, name, why string) {
	if strings.HasPrefix(c.kernels[0].name, "nccl") {
		k, why = c.kernels[0].collectiveOf()
		if k != nil {
			name, _, _ = KernelText(k)
			name = "nccl_" + name
		}
		return k, name, why
	}
	if c.op == nil {
		return nil, "", ""
	}
	names := make([]string, len(c.kernels))
	for i, e := range c.kernels {
		names[i] = e.name
	}
	k, why = c.op.kernel(names)
	return k, c.op.name, why
}

// hash is of the names of the call's kernels.
func (c *call) hash() string {
	h := sha256.New()
	for _, e := range c.kernels {
		_, _ = h.Write([]byte(e.name + "\n")) // never fails
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// row describes a kernel of no family by its launch and the op that it is of.
func (k *traceKernel) row(op *traceOp) sample.Row {
	r := sample.Row{Family: otherKernels, Kernel: oneWord(k.name), Hash: (&call{kernels: []traceKernel{*k}}).hash()}
	var pairs []string
	if op != nil {
		pairs = append(pairs, "op="+oneWord(op.name))
		var in []string
		for _, d := range op.dims {
			in = append(in, times(d))
		}
		if text := strings.Trim(strings.Join(in, ";"), ";"); text != "" {
			pairs = append(pairs, "in="+text)
		}
		r.DType = string(torchDTypes[op.dtype(0)])
	}
	for _, g := range []struct {
		name string
		dims []int64
	}{{"grid", k.grid}, {"block", k.block}} {
		if len(g.dims) > 0 {
			pairs = append(pairs, g.name+"="+times(g.dims))
		}
	}
	r.Shape = sample.Shape(strings.Join(pairs, " "))
	return r
}

func times(dims []int64) string {
	var out []string
	for _, d := range dims {
		out = append(out, fmt.Sprint(d))
	}
	return strings.Join(out, "x")
}

// oneWord replaces blanks and what cannot stand in a line.
func oneWord(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar {
			return '_'
		}
		return r
	}, s)
	return cmp.Or(s, "unnamed")
}
