package report

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"orrery/sim"
	"orrery/sim/timeline"
)

// maxMemoryPoints is the most points of memory curves that a page holds. Ranks beyond
// are left out, and the page says how many.
const maxMemoryPoints = 500_000

// memoryData is the memory of ranks over time. A rank's Points are a base64 stream of
// varints: the time since the point before in ps (unsigned), then the difference of
// each of Classes in bytes (zigzag).
type memoryData struct {
	Classes  []string     `json:"classes"` // of what comes and goes
	Ranks    []rankMemory `json:"ranks"`
	Capacity int64        `json:"capacity"` // of the GPU, bytes
	LeftOut  int          `json:"leftOut"`  // ranks
}

type rankMemory struct {
	Name string `json:"name"`
	Held []part `json:"held"` // all through the step
	// AtPeak counts at the peak alone: when it is there within a pass is not modelled.
	AtPeak []part `json:"atPeak"`
	Points string `json:"points"`
	N      int    `json:"n"`
}

type part struct {
	Name  string `json:"n"`
	Bytes int64  `json:"b"`
}

// memoryOf reads what ranks hold over time, at most limit points in all.
func memoryOf(run *sim.Run, limit int) *memoryData {
	d := &memoryData{Classes: []string{}, Ranks: []rankMemory{}, Capacity: int64(run.GPU().HBM)}
	var byClass [][]timeline.Memory
	named := map[uint8]string{}
	for _, m := range run.Result.Modules {
		named[m.MemoryClass()] = m.Module + " activations"
	}
	var present [256]bool
	for _, m := range run.Program.Mem {
		present[m.Class] = true
	}
	for class := range present {
		if !present[class] {
			continue
		}
		name := named[uint8(class)]
		if name == "" {
			name = "activations"
		}
		d.Classes = append(d.Classes, name)
		byClass = append(byClass, run.Timeline.MemoryOf(uint8(class)))
	}
	stages := int(run.Scenario.Parallel.PP)
	left := limit
	for rank := range run.HeldBytes() {
		r := rankMemory{Name: shortRank(run, rank), Held: []part{}, AtPeak: []part{}}
		for _, it := range run.Plan.Static(rank % stages).Items() {
			p := part{it.Name, int64(it.Bytes)}
			switch {
			case p.Bytes <= 0:
			case it.Name == "logits" || it.Name == "workspace":
				r.AtPeak = append(r.AtPeak, p)
			default:
				r.Held = append(r.Held, p)
			}
		}
		var curves [][]timeline.MemoryPoint
		for _, m := range byClass {
			curves = append(curves, m[rank].Curve)
		}
		buf, n := mergeCurves(curves)
		if rank > 0 && n > left {
			d.LeftOut = len(run.HeldBytes()) - rank
			break
		}
		left -= n
		r.Points, r.N = base64.StdEncoding.EncodeToString(buf), n
		d.Ranks = append(d.Ranks, r)
	}
	return d
}

// shortRank names a folded rank, whose copies hold the same.
func shortRank(run *sim.Run, rank int) string {
	if run.Plan.Varlen != nil {
		return rankName(run, rank)
	}
	return fmt.Sprintf("stage %d", rank)
}

// mergeCurves encodes curves, one a class, as one stream with a point for each
// instant in which any changes.
func mergeCurves(curves [][]timeline.MemoryPoint) (buf []byte, points int) {
	at := make([]int, len(curves))
	held := make([]int64, len(curves))
	last := int64(0)
	for {
		next, more := int64(0), false
		for c, i := range at {
			if i < len(curves[c]) && (!more || int64(curves[c][i].At) < next) {
				next, more = int64(curves[c][i].At), true
			}
		}
		if !more {
			return buf, points
		}
		buf = binary.AppendUvarint(buf, uint64(next-last))
		for c := range curves {
			d := int64(0)
			if i := at[c]; i < len(curves[c]) && int64(curves[c][i].At) == next {
				d = curves[c][i].Bytes - held[c]
				held[c] = curves[c][i].Bytes
				at[c]++
			}
			buf = binary.AppendUvarint(buf, zigzag(d))
		}
		last = next
		points++
	}
}
