package sim

import (
	"math"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// prices holds the price of everything that a step is made of.
type prices struct {
	profile *cost.Profile
	gpu     *hw.GPU
	host    unit.Time // host time to launch one kernel; 0 with CUDA graphs
	kernels map[cost.Kernel]cost.Estimate
	blocks  map[*lower.Block]*blockPrice
	pairs   map[*lower.Pair]*pairPrice
	works   []workPrice // by WorkID
	dur     []unit.Time // by WorkID
}

// blockPrice is how long a block takes and what it is made of. Busy and
// Exposed add up to Time.
type blockPrice struct {
	Time      unit.Time
	Busy      [lower.NumClasses]unit.Time // on the compute lane
	Recompute unit.Time                   // part of Busy that runs a second time
	Wgrad     unit.Time                   // part of Busy for weight gradients
	Exposed   [lower.NumClasses]unit.Time // communication that compute waited for
	Hidden    [lower.NumClasses]unit.Time // communication behind compute
	Contended unit.Time                   // part of Busy: slow-down by communication beside it
	Launches  int64
	Start     []unit.Time // by op
	Dur       []unit.Time
	Waited    []unit.Time // by op: how long compute waited for this message
	Behind    []unit.Time // by op: what a message in pieces hides behind its GEMM, not in Dur
	err2      float64     // sum over kernels of one price of (relative error x time)^2, in s^2
}

// workPrice is a blockPrice summed over the blocks of a Work.
type workPrice struct {
	blockPrice
	Host unit.Time // what launching took beyond the GPU's time
}

func newPrices(p *cost.Profile, gpu *hw.GPU, host unit.Time) *prices {
	return &prices{profile: p, gpu: gpu, host: host,
		kernels: map[cost.Kernel]cost.Estimate{}, blocks: map[*lower.Block]*blockPrice{}, pairs: map[*lower.Pair]*pairPrice{}}
}

// kernel prices one kernel, once.
func (p *prices) kernel(k cost.Kernel) (cost.Estimate, error) {
	if e, ok := p.kernels[k]; ok {
		return e, nil
	}
	e, err := p.profile.Price(k)
	if err != nil {
		return e, err
	}
	if f := p.profile.Sustained(k); f != 1 {
		e.Time = unit.Time(float64(e.Time) * f)
	}
	p.kernels[k] = e
	return e, nil
}

// step prices all works of a step.
func (p *prices) step(s *lower.Step) error {
	p.works = make([]workPrice, len(s.Works))
	p.dur = make([]unit.Time, len(s.Works))
	for i := range s.Works {
		w := &p.works[i]
		if err := p.work(&s.Works[i], w, s.Program.Works[i].Kind); err != nil {
			return err
		}
		p.dur[i] = w.Time + w.Host
	}
	return nil
}

func (p *prices) work(w *lower.Work, out *workPrice, kind program.Kind) error {
	if w.Kernel != nil {
		e, err := p.kernel(w.Kernel)
		out.Time = e.Time
		out.err2 = sq(e.RelErr * e.Time.Seconds())
		return err
	}
	if w.Pair != nil {
		pair, err := p.pair(w.Pair)
		if err == nil {
			*out = pair.part(kind)
		}
		return err
	}
	for _, u := range w.Blocks {
		b, err := p.block(u.Block)
		if err != nil {
			return err
		}
		out.addTimes(b, u.Times)
	}
	for _, u := range w.Beside {
		if err := p.beside(u, out); err != nil {
			return err
		}
	}
	if host := unit.Time(out.Launches) * p.host; host > out.Time && (kind == program.Forward || kind == program.Backward) {
		out.Host = host - out.Time
	}
	return nil
}

// beside slows a work by the data-parallel communication that runs behind it:
// its kernels take SMs for as long as both run.
func (p *prices) beside(u lower.Use, out *workPrice) error {
	b, err := p.block(u.Block)
	if err != nil {
		return err
	}
	var slow float64
	for i, op := range u.Block.Ops {
		slow += p.smShare(op.Kernel) * b.Dur[i].Seconds() * float64(u.Times)
	}
	if busy := b.Time.Seconds() * float64(u.Times); busy > out.Time.Seconds() && busy > 0 {
		slow *= out.Time.Seconds() / busy
	}
	extra := blockPrice{Busy: out.Busy, Contended: unit.Seconds(slow)}
	p.contend(&extra)
	out.Busy, out.Contended, out.Time = extra.Busy, out.Contended+extra.Contended, out.Time+extra.Contended
	return nil
}

func (p *blockPrice) addTimes(b *blockPrice, n int64) {
	t := unit.Time(n)
	p.Time += b.Time * t
	p.Recompute += b.Recompute * t
	p.Wgrad += b.Wgrad * t
	p.Contended += b.Contended * t
	p.Launches += b.Launches * n
	for c := range b.Busy {
		p.Busy[c] += b.Busy[c] * t
		p.Exposed[c] += b.Exposed[c] * t
		p.Hidden[c] += b.Hidden[c] * t
	}
	// the same kernels err the same way each time
	p.err2 += b.err2 * float64(n) * float64(n)
}

func sq(x float64) float64 { return x * x }

// block runs a block's ops on its two lanes.
func (p *prices) block(b *lower.Block) (*blockPrice, error) {
	if bp, ok := p.blocks[b]; ok {
		return bp, nil
	}
	n := len(b.Ops)
	bp := &blockPrice{Start: make([]unit.Time, n), Dur: make([]unit.Time, n), Waited: make([]unit.Time, n), Behind: make([]unit.Time, n)}
	errs := kernelErrors{}
	for i, op := range b.Ops {
		e, err := p.opPrice(op)
		if err != nil {
			return nil, err
		}
		bp.Dur[i] = e.Time
		errs.add(op.Kernel, e)
	}
	p.pipelined(b, bp)
	var laneEnd [lower.NumLanes]unit.Time
	for i, op := range b.Ops {
		at := laneEnd[op.Lane]
		for _, a := range op.After {
			at = max(at, bp.Start[a]+bp.Dur[a])
		}
		bp.Start[i] = at
		laneEnd[op.Lane] = at + bp.Dur[i]
	}
	p.account(b, bp)
	bp.err2 = errs.squared()
	p.blocks[b] = bp
	return bp, nil
}

// kernelErrors sums errors in seconds: kernels of one price err the same way.
// In order of first use: sums of floats must not depend on map order.
type kernelErrors struct {
	at   map[cost.Kernel]int
	sums []float64
}

func (k *kernelErrors) add(of cost.Kernel, e cost.Estimate) {
	if k.at == nil {
		k.at = map[cost.Kernel]int{}
	}
	i, known := k.at[of]
	if !known {
		i = len(k.sums)
		k.at[of], k.sums = i, append(k.sums, 0)
	}
	k.sums[i] += e.RelErr * e.Time.Seconds()
}

// squared is the sum of squares, in s^2.
func (k *kernelErrors) squared() (sum float64) {
	for _, e := range k.sums {
		sum += sq(e)
	}
	return sum
}

// opPrice prices an op; a compute op cut in pieces runs as that many smaller GEMMs.
func (p *prices) opPrice(op lower.Op) (cost.Estimate, error) {
	g, ok := op.Kernel.(cost.GEMM)
	if op.Split <= 1 || !ok || g.M < int64(op.Split)*128 {
		return p.kernel(op.Kernel)
	}
	g.M /= int64(op.Split)
	piece, err := p.kernel(g)
	if err != nil {
		return piece, err
	}
	whole, err := p.kernel(op.Kernel)
	piece.Time *= unit.Time(op.Split)
	if piece.Time < whole.Time {
		piece.Time = whole.Time
	}
	return piece, err
}

// pipelined shortens collectives that run in pieces beside their GEMM to what
// stays exposed: max + min/pieces of the two, less the GEMM.
func (p *prices) pipelined(b *lower.Block, bp *blockPrice) {
	for i, op := range b.Ops {
		if op.Split <= 1 {
			continue
		}
		tc, tm := bp.Dur[i], bp.Dur[op.Pair]
		exposed := max(tc, tm) + min(tc, tm)/unit.Time(op.Split) - tc
		if exposed < tm {
			bp.Behind[op.Pair] = tm - exposed
			bp.Dur[op.Pair] = exposed
		}
	}
}

// account fills the sums of a block: compute is busy, what the compute lane
// waited for is exposed, the rest of communication is hidden. Communication
// kernels beside compute take SMs from it; the block is longer by that.
func (p *prices) account(b *lower.Block, bp *blockPrice) {
	var at unit.Time // end of the last compute op
	end := unit.Time(0)
	total := [lower.NumClasses]unit.Time{}
	for i, op := range b.Ops {
		s, d := bp.Start[i], bp.Dur[i]
		end = max(end, s+d)
		if op.Lane == lower.Comm {
			total[op.Class] += d + bp.Behind[i]
			continue
		}
		bp.Launches += max(op.Launches, 1)
		bp.expose(b, at, s, i)
		at = s + d
		bp.Busy[op.Class] += d
		if op.Recompute {
			bp.Recompute += d
		}
		if op.Wgrad {
			bp.Wgrad += d
		}
	}
	bp.expose(b, at, end, len(b.Ops))
	var beside float64 // seconds x share of SMs
	for i, op := range b.Ops {
		if op.Lane == lower.Comm {
			bp.Launches++
			over := bp.overlap(b, i)
			beside += p.smShare(op.Kernel) * (over.Seconds())
		}
	}
	for c := range total {
		bp.Hidden[c] = max(total[c]-bp.Exposed[c], 0)
	}
	bp.Contended = unit.Seconds(beside)
	p.contend(bp)
	bp.Time = end + bp.Contended
}

// contend spreads the slow-down over the classes that compute.
func (p *prices) contend(bp *blockPrice) {
	busy := unit.Time(0)
	for _, t := range bp.Busy {
		busy += t
	}
	if busy == 0 {
		bp.Contended = 0
		return
	}
	left := bp.Contended
	last := -1
	for c, t := range bp.Busy {
		if t == 0 {
			continue
		}
		share := unit.Time(math.Round(float64(bp.Contended) * float64(t) / float64(busy)))
		share = min(share, left)
		bp.Busy[c] += share
		left -= share
		last = c
	}
	bp.Busy[last] += left
}

// expose charges the compute lane's wait from..to to the communication that ran then.
func (p *blockPrice) expose(b *lower.Block, from, to unit.Time, before int) {
	for i := range b.Ops[:before] {
		if b.Ops[i].Lane != lower.Comm || from >= to {
			continue
		}
		s, e := max(p.Start[i], from), min(p.Start[i]+p.Dur[i], to)
		if e > s {
			p.Exposed[b.Ops[i].Class] += e - s
			p.Waited[i] += e - s
		}
	}
}

// overlap is how long compute ran while comm op i did.
func (p *blockPrice) overlap(b *lower.Block, i int) unit.Time {
	var sum unit.Time
	s0, e0 := p.Start[i], p.Start[i]+p.Dur[i]
	for j, op := range b.Ops {
		if op.Lane != lower.Compute {
			continue
		}
		if s, e := max(p.Start[j], s0), min(p.Start[j]+p.Dur[j], e0); e > s {
			sum += e - s
		}
	}
	return sum
}

// smShare is the share of the SMs that a communication kernel occupies.
func (p *prices) smShare(k cost.Kernel) float64 {
	var sms int64
	switch k := k.(type) {
	case cost.Collective:
		sms = k.DefaultSMs(p.gpu)
	case cost.ExpertExchange:
		sms = k.DefaultSMs()
	case cost.Reported:
		sms = k.SMs
	}
	return float64(sms) / float64(p.gpu.SMs)
}
