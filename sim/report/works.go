package report

import (
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"

	"orrery/sim"
	"orrery/sim/cost"
	"orrery/sim/lower"
	"orrery/sim/program"
)

// maxKernels is the most kernels of blocks that a page lists; works beyond keep their
// price and say that their kernels are left out.
const maxKernels = 60_000

// workData is a distinct piece of work with its price.
type workData struct {
	Name    string        `json:"n"`
	Kind    program.Kind  `json:"k"`
	Time    int64         `json:"t"` // ps
	RelErr  float64       `json:"e"`
	Sources []sourceShare `json:"s,omitempty"`
	Exposed int64         `json:"x,omitempty"` // part of Time that compute waited for messages, ps
	Slowed  int64         `json:"c,omitempty"` // part of Time by messages beside compute, ps
	Host    int64         `json:"h,omitempty"` // part of Time by launching, ps
	Shape   string        `json:"shape,omitempty"`
	Note    string        `json:"note,omitempty"`
	Blocks  [][2]int64    `json:"b,omitempty"` // block, times; block -1 is left out
	Paired  bool          `json:"p,omitempty"` // kernels run among those of another pass
}

type sourceShare struct {
	Source cost.Source `json:"s"`
	Share  float64     `json:"p"`
}

type blockData struct {
	Name string `json:"n"`
	N    int    `json:"k"` // kernels
}

// worksData are the works of the page's timeline. Kernels is a base64 stream of
// uvarints, block by block, nine a kernel:
//
//	name, class, shape, source, note (numbers of Strings), lane (0 compute, 1 messages),
//	start in the block in ps, time in it in ps, relative error in 0.01 %
type worksData struct {
	Works   []workData  `json:"works"`
	Blocks  []blockData `json:"blocks"`
	Strings []string    `json:"strings"`
	Kernels string      `json:"kernels"`
	// LeftOut are blocks whose kernels are not on the page.
	LeftOut int `json:"leftOutBlocks"`
}

type worksEncoder struct {
	run     *sim.Run
	d       worksData
	strings map[string]int
	blocks  map[*lower.Block]int64
	buf     []byte
	kernels int
}

// worksOf lists a run's works with what they are made of, at most limit kernels.
func worksOf(run *sim.Run, limit int) (*worksData, error) {
	e := &worksEncoder{run: run, d: worksData{Works: []workData{}, Blocks: []blockData{}, Strings: []string{}}, strings: map[string]int{}, blocks: map[*lower.Block]int64{}}
	for id, w := range run.Program.Works {
		price, err := run.WorkPrice(program.WorkID(id))
		if err != nil {
			return nil, err
		}
		t := run.WorkTime(program.WorkID(id))
		out := workData{Name: w.Name, Kind: w.Kind, Time: int64(t.Time), RelErr: round4(price.RelErr), Slowed: int64(t.Contended), Host: int64(t.Host)}
		for _, s := range slices.Sorted(maps.Keys(price.Sources)) {
			out.Sources = append(out.Sources, sourceShare{s, round4(price.Sources[s])})
		}
		if price.Kernel != nil {
			est, err := run.KernelPrice(price.Kernel)
			if err != nil {
				return nil, err
			}
			out.Shape, out.Note = price.Kernel.String(), est.Note
		} else {
			out.Exposed = int64(t.Exposed)
		}
		out.Paired = price.Paired
		for _, u := range price.Uses {
			at, err := e.block(u.Block, limit)
			if err != nil {
				return nil, err
			}
			out.Blocks = append(out.Blocks, [2]int64{at, u.Times})
		}
		e.d.Works = append(e.d.Works, out)
	}
	e.d.Kernels = base64.StdEncoding.EncodeToString(e.buf)
	return &e.d, nil
}

// block is the number of a block on the page, made on first use; -1 beyond the limit.
func (e *worksEncoder) block(b *lower.Block, limit int) (int64, error) {
	if at, ok := e.blocks[b]; ok {
		return at, nil
	}
	if e.kernels+len(b.Ops) > limit {
		e.d.LeftOut++
		e.blocks[b] = -1
		return -1, nil
	}
	ops, err := e.run.BlockOps(b)
	if err != nil {
		return 0, err
	}
	for _, op := range ops {
		for _, s := range []string{op.Name, op.Class.String(), op.Kernel.String(), string(op.Alone.Source), op.Alone.Note} {
			e.buf = binary.AppendUvarint(e.buf, uint64(e.text(s)))
		}
		e.buf = binary.AppendUvarint(e.buf, uint64(op.Lane))
		e.buf = binary.AppendUvarint(e.buf, uint64(op.Start))
		e.buf = binary.AppendUvarint(e.buf, uint64(op.InStep))
		e.buf = binary.AppendUvarint(e.buf, uint64(op.Alone.RelErr*1e4+0.5))
	}
	at := int64(len(e.d.Blocks))
	e.blocks[b] = at
	e.kernels += len(ops)
	e.d.Blocks = append(e.d.Blocks, blockData{b.Name, len(ops)})
	return at, nil
}

func (e *worksEncoder) text(s string) int {
	if at, ok := e.strings[s]; ok {
		return at
	}
	at := len(e.d.Strings)
	e.strings[s] = at
	e.d.Strings = append(e.d.Strings, s)
	return at
}

// round4 keeps the page small where more digits say nothing.
func round4(x float64) float64 { return float64(int64(x*1e4+0.5)) / 1e4 }
