package replay

import (
	"errors"
	"fmt"
	"math"

	"orrery/schedules/pipeline"
	"orrery/sim"
	"orrery/sim/lower"
	"orrery/sim/program"
)

// Options choose what is exported of a run.
type Options struct {
	Rank    int    // pipeline rank
	Routing string // of tokens to experts: even ("" too), or zipf
}

// New exports one pipeline rank of a run that was not expanded.
func New(run *sim.Run, opt Options) (*Export, error) {
	if err := replayable(run, opt); err != nil {
		return nil, err
	}
	e := &Export{Format: Format, Version: Version, Name: fmt.Sprintf("%s, rank %d", run.Scenario.Name, opt.Rank),
		Scenario: run.Scenario.Name, GPU: run.Scenario.Cluster.GPU, Profile: run.Result.Profile, Schedule: run.Plan.Schedule.Name(),
		Rank: opt.Rank, Settings: settings(run), StepPS: int64(run.Makespan())}
	var err error
	if e.Model, err = model(run, opt.Routing); err != nil {
		return nil, err
	}
	b := &building{run: run, e: e, index: map[*lower.Block]int{}}
	e.Chunks = b.chunks()
	if err := b.ops(); err != nil {
		return nil, err
	}
	b.memory()
	for _, p := range e.Passes {
		e.ReplayPS += p.ReplayPS
	}
	e.Digest, err = e.digest()
	return e, err
}

// replayable names what one GPU alone cannot stand for.
func replayable(run *sim.Run, opt Options) error {
	s := run.Scenario
	ranks := len(run.Step.Lanes)
	switch {
	case len(run.Plan.Towers()) > 0:
		return fmt.Errorf("%s has an encoder or a generator, whose passes cannot be replayed; stages of an LLM alone can", s.Name)
	case opt.Rank < 0 || opt.Rank >= ranks:
		return fmt.Errorf("stage %d: the pipeline has ranks 0 to %d", opt.Rank, ranks-1)
	case run.Program != run.Step.Program:
		return errors.New("replay: an expanded run; export the folded one")
	case s.Parallel.CP > 1:
		return fmt.Errorf("parallel.cp is %d: attention over neighbours' keys is not replayed; want 1", s.Parallel.CP)
	case s.Parallel.ZeRO >= 2 && s.Parallel.PP == 1:
		return fmt.Errorf("parallel.zero is %d: parameters or gradients that are gathered are not replayed; want 0 or 1", s.Parallel.ZeRO)
	case s.Schedule.VocabParallel:
		return errors.New("schedule.vocab_parallel is true: a vocabulary cut over stages is not replayed; want false")
	case s.Schedule.WeightPieces:
		return errors.New("schedule.weight_pieces is true: weight gradients in pieces are not replayed; want false")
	case s.Model.Net != nil:
		return fmt.Errorf("model.name is %q: a model that lists its layers is not replayed; want a decoder-only transformer", s.Model.Name)
	case s.Schedule.ContextExchange:
		return errors.New("schedule.context_exchange is true: keys of other ranks are not replayed; want false")
	case s.Schedule.Offload > 0:
		return fmt.Errorf("schedule.offload is %g: copies to the host are not replayed; want 0", s.Schedule.Offload)
	case s.Training.Finetune != "none":
		return fmt.Errorf("training.finetune is %q: adapters are not replayed; want none", s.Training.Finetune)
	case s.Model.MTP > 0:
		return fmt.Errorf("model.mtp is %d: multi-token prediction is not replayed; want 0", s.Model.MTP)
	}
	return nil
}

func settings(run *sim.Run) Settings {
	s, p := run.Scenario, run.Plan
	return Settings{DType: string(s.Training.Precision), MicroBatch: s.Training.MicroBatch, SequenceTokens: s.Training.SequenceLength,
		Slices: p.Slices(), PassTokens: p.Tokens, BetweenTokens: p.SPTokens(), TP: s.Parallel.TP, SequenceParallel: s.Parallel.SP && s.Parallel.TP > 1,
		Recompute: s.Training.Recompute.Mode, RecomputeParts: append([]string{}, s.Training.Recompute.Parts...),
		GradDType: string(s.Framework.GradDType), FusedKernels: s.Framework.FusedKernels, FusedCrossEntropy: s.Framework.FusedCrossEntropy,
		FlashAttention2: s.Framework.FlashAttention2, HostPerLaunchPS: int64(run.HostPerLaunch())}
}

func model(run *sim.Run, routing string) (Model, error) {
	m, par, a := run.Plan.Model, run.Scenario.Parallel, run.Plan.Model.Attn
	out := Model{Name: m.Name, Hidden: m.Hidden, Heads: max(a.Heads/par.TP, 1), KVHeads: max(a.KVHeads/par.TP, 1), HeadDim: a.HeadDim,
		FFN: m.FFN / par.TP, Vocab: run.Plan.Vocab / par.TP, Norm: m.Norm, Gated: m.Gated, QKNorm: m.QKNorm, Window: a.Window,
		MLA: a.MLA(), QLoRA: a.QLoRA, KVLoRA: a.KVLoRA, NopeDim: a.Nope, RopeDim: a.Rope, VDim: a.VDim, Rows: []int64{}}
	if routing != "" && routing != "even" && routing != "zipf" {
		return out, fmt.Errorf("routing %q, want even or zipf", routing)
	}
	if m.MoE == nil {
		if routing != "" && routing != "even" {
			return out, fmt.Errorf("routing %s: %s has no experts", routing, m.Name)
		}
		return out, nil
	}
	out.Experts, out.Local, out.TopK = m.MoE.Experts, max(m.MoE.Experts/par.EP, 1), m.MoE.TopK
	out.MoEFFN, out.SharedFFN = m.MoE.FFN/par.ETP, m.MoE.SharedFFN/par.TP
	rows := int64(float64(run.Plan.SPTokens()*out.TopK*par.ETP) * max(run.Scenario.Framework.MoEImbalance, 1))
	out.Routing = "even"
	if routing != "" {
		out.Routing = routing
	}
	out.Rows = apportion(rows, out.Local, out.Routing == "zipf")
	return out, nil
}

// apportion divides rows among n experts: evenly, or so that the i-th gets a
// share in proportion to 1/i (Zipf's law with exponent 1, an assumed skew). What
// rounding leaves over goes to the first.
func apportion(rows, n int64, zipf bool) []int64 {
	out, sum := make([]int64, n), 0.0
	weight := func(i int64) float64 {
		if zipf {
			return 1 / float64(i+1)
		}
		return 1
	}
	for i := range n {
		sum += weight(i)
	}
	left := rows
	for i := range n {
		out[i] = int64(float64(rows) * weight(i) / sum)
		left -= out[i]
	}
	for i := int64(0); left > 0; i, left = (i+1)%n, left-1 {
		out[i]++
	}
	return out
}

// building is the state of an export.
type building struct {
	run   *sim.Run
	e     *Export
	index map[*lower.Block]int
	err2  float64 // of the pass being built, in ps^2
	last  lower.Tag
	open  bool // the last pass may go on
	layer int64
}

func (b *building) chunks() []Chunk {
	p, rc := b.run.Plan, b.run.Scenario.Training.Recompute
	var out []Chunk
	for _, i := range p.Held[b.e.Rank] {
		st := p.Stages[i]
		c := Chunk{Stage: int32(i), FirstLayer: st.First, Layers: st.Layers, Embedding: st.Embedding, Head: st.Head}
		for k := range st.Layers {
			c.MoE = append(c.MoE, p.Model.IsMoE(st.First+k))
			c.KeepsInput = append(c.KeepsInput, rc.Mode == "full" && (rc.Layers == 0 || k < rc.Layers))
		}
		out = append(out, c)
	}
	return out
}

// ops takes every op of the rank's lanes from the program, once.
func (b *building) ops() error {
	prog, tl := b.run.Program, b.run.Timeline
	for i := range program.OpID(prog.Len()) {
		lane := prog.Lanes[prog.Lane[i]]
		if int(lane.Rank) != b.e.Rank {
			continue
		}
		if prog.Lane[i] == b.run.Step.Lanes[b.e.Rank].Compute {
			if err := b.compute(i); err != nil {
				return err
			}
			continue
		}
		w := prog.Work[i]
		m := Message{Op: int32(i), Lane: lane.Name, Kind: prog.Works[w].Kind.String(), Kernels: []Kernel{},
			StartPS: int64(tl.Start[i]), DurationPS: int64(tl.End[i] - tl.Start[i])}
		if k := b.run.Step.Works[w].Kernel; k != nil {
			m.Kernels = append(m.Kernels, kernelOf(k))
		}
		for _, u := range b.run.Step.Works[w].Blocks {
			for range u.Times {
				for _, op := range u.Block.Ops {
					m.Kernels = append(m.Kernels, kernelOf(op.Kernel))
				}
			}
		}
		b.e.Messages = append(b.e.Messages, m)
	}
	return nil
}

// compute adds an op of the compute lane to its pass. A pass that stops for
// messages is several ops in a row with one tag.
func (b *building) compute(id program.OpID) error {
	prog, tl, tag := b.run.Program, b.run.Timeline, b.run.Tag(id)
	work := b.run.Step.Works[prog.Work[id]]
	kind := tag.Phase.String()
	if tag.Microbatch < 0 {
		kind = prog.Works[prog.Work[id]].Kind.String()
	}
	if !b.open || tag != b.last || tag.Microbatch < 0 {
		b.e.Passes = append(b.e.Passes, Pass{Kind: kind, Stage: tag.Stage, Microbatch: tag.Microbatch, Slice: tag.Slice,
			Blocks: []Use{}, StartPS: int64(tl.Start[id])})
		b.open, b.last, b.err2, b.layer = true, tag, 0, 0
	}
	p := &b.e.Passes[len(b.e.Passes)-1]
	p.Ops = append(p.Ops, int32(id))
	p.EndPS = int64(tl.End[id])
	t := b.run.WorkTime(prog.Work[id])
	p.DurationPS += int64(t.Time)
	p.ComputePS += int64(t.Compute)
	p.ExposedPS += int64(t.Exposed)
	p.ContendedPS += int64(t.Contended)
	p.HostPS += int64(t.Host)
	for _, u := range work.Blocks {
		at, err := b.block(u.Block)
		if err != nil {
			return err
		}
		for range u.Times {
			p.Blocks = append(p.Blocks, Use{at, b.layerOf(tag, &b.e.Blocks[at])})
		}
	}
	b.predict(p)
	return nil
}

// predict is what the pass should take on a GPU without neighbours. Kernels of
// one name err the same way each time, different ones independently.
func (b *building) predict(p *Pass) {
	alone, launches, byName := int64(0), int64(0), map[string]float64{}
	var names []string // in order: sums of floats must not depend on map order
	for _, u := range p.Blocks {
		for _, op := range b.e.Blocks[u.Block].Ops {
			if op.Lane != laneCompute {
				continue
			}
			alone += op.AlonePS
			launches += op.Launches
			if _, ok := byName[op.Kernel.Text]; !ok {
				names = append(names, op.Kernel.Text)
			}
			byName[op.Kernel.Text] += op.RelError * float64(op.AlonePS)
		}
	}
	p.Launches = launches
	p.ReplayPS = max(alone, launches*b.e.Settings.HostPerLaunchPS)
	sum := 0.0
	for _, n := range names {
		sum += byName[n] * byName[n]
	}
	p.RelError = math.Sqrt(sum) / math.Max(float64(p.ReplayPS), 1)
}

// layerOf counts the layers of a pass as its blocks go by.
func (b *building) layerOf(tag lower.Tag, blk *Block) int64 {
	if len(blk.Name) < 5 || blk.Name[:5] != "layer" {
		return -1
	}
	st := b.run.Plan.Stages[tag.Stage]
	k := b.layer
	b.layer++
	if tag.Phase == pipeline.F {
		return st.First + k
	}
	return st.First + st.Layers - 1 - k
}

const laneCompute = "compute"

// block is the index of a block, exported on first use.
func (b *building) block(blk *lower.Block) (int, error) {
	if at, ok := b.index[blk]; ok {
		return at, nil
	}
	ops, err := b.run.BlockOps(blk)
	if err != nil {
		return 0, err
	}
	out := Block{Name: blk.Name, Ops: []Op{}}
	for _, op := range ops {
		lane := laneCompute
		if op.Lane == lower.Comm {
			lane = "comm"
		}
		out.Ops = append(out.Ops, Op{Name: op.Name, Class: op.Class.String(), Lane: lane, Kernel: kernelOf(op.Kernel),
			Recompute: op.Recompute, Wgrad: op.Wgrad, Launches: max(op.Launches, 1), StartPS: int64(op.Start), InStepPS: int64(op.InStep),
			AlonePS: int64(op.Alone.Time), RelError: op.Alone.RelErr, Source: string(op.Alone.Source), Note: op.Alone.Note})
	}
	b.index[blk] = len(b.e.Blocks)
	b.e.Blocks = append(b.e.Blocks, out)
	return b.index[blk], nil
}

// memory takes ledger, events and curve of the rank from the run.
func (b *building) memory() {
	run, e := b.run, b.e
	l := run.Plan.Static(e.Rank)
	for _, it := range l.Items() {
		e.Memory.Ledger = append(e.Memory.Ledger, Item{it.Name, int64(it.Bytes)})
	}
	e.Memory.HeldBytes = int64(run.HeldBytes()[e.Rank])
	peak := int64(0)
	for _, pt := range run.MemoryCurve(e.Rank) {
		e.Memory.Curve = append(e.Memory.Curve, Point{int64(pt.At), pt.Bytes})
		peak = max(peak, pt.Bytes-e.Memory.HeldBytes)
	}
	e.Memory.PeakBytes = peak + int64(l.Sum())
	e.Memory.ReplayPeakBytes = peak + int64(l.Weights+l.Gradients+l.Logits+l.Workspace)
	starts, ends := map[program.OpID]int64{}, map[program.OpID]int64{}
	e.Memory.Tensors = []Lived{}
	for _, m := range run.Program.Mem {
		if int(m.Rank) != e.Rank {
			continue
		}
		at := run.Timeline.End[m.Op]
		if m.AtStart {
			at = run.Timeline.Start[m.Op]
			starts[m.Op] += m.Bytes
		} else {
			ends[m.Op] += m.Bytes
		}
		e.Memory.Tensors = append(e.Memory.Tensors, Lived{int32(m.Op), m.AtStart, m.Bytes, int64(at)})
	}
	held := int64(0)
	for i := range e.Passes {
		p := &e.Passes[i]
		for _, op := range p.Ops {
			held += starts[program.OpID(op)]
		}
		p.BeforeBytes = held
		for _, op := range p.Ops {
			held += ends[program.OpID(op)]
		}
		p.AfterBytes = held
	}
}
