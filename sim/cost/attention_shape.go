package cost

import (
	"fmt"
	"math"

	"orrery/sim/unit"
)

// Tiling is how a kernel of the FlashAttention family cuts its work: a thread
// block owns Rows query rows and walks the keys in blocks of 128.
type Tiling struct {
	Rows int64 `json:"rows"`
	// Packed: the query heads that share a key head fill the rows of a tile
	// together (PackGQA of FlashAttention-3).
	Packed bool `json:"packed,omitempty"`
	// Waves: tiles run in whole waves over the SMs; else the longest are
	// scheduled first and the SMs finish together.
	Waves bool `json:"waves,omitempty"`
}

const keyBlock = 128

// blocks counts the blocks of 128 rows by 128 keys that the busiest SM computes.
// Blocks that the mask cuts are computed whole.
func (t Tiling) blocks(a Attention, sms int) float64 {
	group, heads := int64(1), a.Heads
	if t.Packed || a.Decode {
		group, heads = a.Heads/a.KVHeads, a.KVHeads
	}
	rows := a.SeqQ * group
	tiles := (rows + t.Rows - 1) / t.Rows
	// The keys of a tile change linearly with its place, but for the window's
	// start: as many evenly spaced tiles stand for all of a long sequence.
	seen := min(tiles, 256)
	sum := 0.0
	for j := range seen {
		sum += t.keyBlocks(a, (2*j+1)*tiles/(2*seen), group)
	}
	mean, longest := sum/float64(seen), t.keyBlocks(a, tiles-1, group)
	all := float64(tiles) * float64(a.Batch*heads)
	busiest := mean * all / float64(sms)
	switch {
	case a.Decode: // keys are split over the SMs
	case t.Waves:
		busiest = max(mean*math.Ceil(all/float64(sms)), longest)
	default:
		busiest = max(busiest, longest)
	}
	return busiest * float64(t.Rows) / 128
}

// keyBlocks is the number of key blocks that the i-th tile visits.
func (t Tiling) keyBlocks(a Attention, i, group int64) float64 {
	first := i * t.Rows / group
	last := (min((i+1)*t.Rows, a.SeqQ*group) - 1) / group
	from, to := int64(0), a.SeqKV-1
	if a.Causal {
		to = a.SeqKV - a.SeqQ + last
	}
	if a.Window > 0 {
		from = max(0, min(to, a.SeqKV-a.SeqQ+first)-a.Window+1)
	}
	return float64(to/keyBlock - from/keyBlock + 1)
}

// valid reports what is wrong with the shape.
func (a Attention) valid() error {
	switch {
	case a.Batch < 1 || a.SeqQ < 1 || a.SeqKV < 1 || a.Heads < 1 || a.KVHeads < 1 || a.HeadDim < 1:
		return fmt.Errorf("attention: sizes must be positive: %s", a)
	case a.SeqKV < a.SeqQ && a.Causal:
		return fmt.Errorf("attention: %d keys for %d queries", a.SeqKV, a.SeqQ)
	case a.Heads%a.KVHeads != 0:
		return fmt.Errorf("attention: %d heads are no multiple of %d kv heads", a.Heads, a.KVHeads)
	case a.VDim < 0 || a.Window < 0:
		return fmt.Errorf("attention: negative v_dim or window: %s", a)
	case a.Decode && a.Backward:
		return fmt.Errorf("attention: decoding has no backward pass")
	case float64(a.SeqKV)*float64(a.Batch)*float64(a.Heads) > 1<<44 || a.HeadDim > 1<<12 || a.VDim > 1<<12:
		return fmt.Errorf("attention: shape too large to price: %s", a)
	}
	return nil
}

// vDim is VDim with its default.
func (a Attention) vDim() int64 {
	if a.VDim == 0 {
		return a.HeadDim
	}
	return a.VDim
}

// kvDType is KVDType with its default.
func (a Attention) kvDType() unit.DType {
	if a.KVDType == "" {
		return a.DType
	}
	return a.KVDType
}

// Coords of an attention kernel: "seq" is the length of a causal square that
// gives each query as many keys on average (of a full one if not causal), "bh"
// the independent heads, "gqa" the queries that share a key head, "dim" the mean
// of key and value dims, "work" the forward FLOPs of a prefill; all in base-2
// logarithms.
func (a Attention) Coords() Coords {
	keys := a.Pairs() / float64(a.SeqQ)
	if a.Causal && !a.Decode {
		keys = 2*keys - 1
	}
	heads := a.Heads
	if a.Decode {
		heads = a.KVHeads
	}
	c := Coords{
		"seq":   math.Log2(max(keys, 1)),
		"bh":    math.Log2(float64(a.Batch * heads)),
		"batch": math.Log2(float64(a.Batch)),
		"gqa":   math.Log2(float64(a.Heads) / float64(a.KVHeads)),
		"dim":   math.Log2(float64(a.HeadDim+a.vDim()) / 2),
	}
	if !a.Decode {
		forward := a
		forward.Backward = false
		c["work"] = math.Log2(forward.FLOPs())
	}
	return c
}

// traffic returns the bytes of Q and O and those of K and V.
func (a Attention) traffic() (q, kv float64) {
	q = float64(a.Batch*a.SeqQ*a.Heads) * (float64(a.HeadDim)*a.DType.Bytes() + float64(a.vDim())*2)
	keys := a.SeqKV
	if a.Window > 0 && a.Window < keys-a.SeqQ {
		keys = a.Window + a.SeqQ
	}
	return q, float64(a.Batch*keys*a.KVHeads) * float64(a.HeadDim+a.vDim()) * a.kvDType().Bytes()
}
