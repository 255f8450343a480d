package report

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"orrery/schedules/pipeline"
	"orrery/sim"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// maxSlices is the most slices that a page holds, some 10 MiB. Of a larger step it
// shows whole ranks from the first on and says how many it leaves out.
const maxSlices = 1_000_000

// laneData is a lane of the page's timeline; N slices of the stream are its own.
type laneData struct {
	Rank int    `json:"rank"`
	Name string `json:"name"`
	N    int    `json:"n"`
}

type rankData struct {
	Name      string `json:"name"`
	StandsFor int64  `json:"of"` // GPUs
}

// labelData is what slices of one work and tag are called; # in Text is the microbatch.
type labelData struct {
	Work int    `json:"w"`
	Text string `json:"t"`
}

// sliceData is the timeline of a page. Slices is a base64 stream of uvarints, lane by
// lane in order of time, five a slice:
//
//	label, microbatch + 1, gap to the end of the slice before in ps,
//	zigzag of the duration less its work's in ps, blocker
//
// where blocker is 0 for none, 1 for the slice before, 2 for one that is not on the
// page, else 3 + zigzag of its number less the slice's own. Numbers of slices count
// through all lanes.
type sliceData struct {
	Ranks   []rankData  `json:"ranks"`
	Lanes   []laneData  `json:"lanes"`
	Labels  []labelData `json:"labels"`
	Slices  string      `json:"slices"`
	Path    string      `json:"path"` // numbers of the critical path's slices, zigzag of the difference each
	PathLen int         `json:"pathLen"`
	// What is not on the page.
	LeftOutRanks  int `json:"leftOutRanks"`
	LeftOutSlices int `json:"leftOutSlices"`
	LeftOutPath   int `json:"leftOutPath"`
}

func zigzag(d int64) uint64 { return uint64(d<<1) ^ uint64(d>>63) }

// steps is what slices are made of: a timeline, and what a run knows about its ops.
type steps struct {
	*timeline.Timeline
	ranks      int
	rank       func(rank int) rankData
	price      func(program.WorkID) unit.Time
	microbatch func(program.OpID) int32 // -1 for none
	// label is the same for ops that are called alike but for their microbatch.
	label func(program.OpID) (labelKey, labelData)
}

// slicesOf encodes a timeline, at most limit slices of it.
func slicesOf(s *steps, limit int) (*sliceData, error) {
	p := s.Program
	byLane := make([][]program.OpID, len(p.Lanes))
	for id, l := range p.Lane {
		byLane[l] = append(byLane[l], program.OpID(id))
	}
	lanesOf := make([][]program.LaneID, s.ranks)
	for l, lane := range p.Lanes {
		lanesOf[lane.Rank] = append(lanesOf[lane.Rank], program.LaneID(l))
	}
	e := sliceEncoder{steps: s, d: &sliceData{Ranks: []rankData{}, Lanes: []laneData{}, Labels: []labelData{}}, number: make([]int32, p.Len()), labels: map[labelKey]int{}}
	d, n := e.d, 0
	var lanes []program.LaneID
	for rank := range lanesOf {
		of := 0
		for _, l := range lanesOf[rank] {
			of += len(byLane[l])
		}
		if n > 0 && n+of > limit || d.LeftOutRanks > 0 {
			d.LeftOutRanks, d.LeftOutSlices = d.LeftOutRanks+1, d.LeftOutSlices+of
			continue
		}
		d.Ranks = append(d.Ranks, s.rank(rank))
		for _, l := range lanesOf[rank] {
			if len(byLane[l]) == 0 {
				continue
			}
			d.Lanes = append(d.Lanes, laneData{Rank: rank, Name: p.Lanes[l].Name, N: len(byLane[l])})
			lanes = append(lanes, l)
			for _, id := range byLane[l] {
				n++
				e.number[id] = int32(n)
			}
		}
	}
	e.buf = make([]byte, 0, 10*n)
	for _, l := range lanes {
		if err := e.lane(byLane[l]); err != nil {
			return nil, err
		}
	}
	d.Slices = base64.StdEncoding.EncodeToString(e.buf)
	e.path()
	return d, nil
}

// rankName is a rank's, narrow enough for the side of a chart.
func rankName(run *sim.Run, rank int) string {
	if run.Plan.Varlen == nil {
		return run.RankName(rank)
	}
	pp := len(run.Plan.Stages)
	name := fmt.Sprintf("r%d stage %d", rank%len(run.Step.Lanes)/pp, rank%pp)
	if copies := len(run.Lanes) / len(run.Step.Lanes); copies > 1 {
		name += fmt.Sprintf(", copy %d", rank/len(run.Step.Lanes))
	}
	return name
}

type labelKey struct {
	work  program.WorkID
	phase pipeline.Phase
	stage int32
	slice int32
	one   bool // of a microbatch
}

type sliceEncoder struct {
	*steps
	d      *sliceData
	number []int32 // of an op's slice, from 1; 0 is not there
	labels map[labelKey]int
	buf    []byte
}

func (e *sliceEncoder) lane(ops []program.OpID) error {
	var end unit.Time
	prev := program.None
	for _, id := range ops {
		gap := e.Start[id] - end
		if gap < 0 {
			return fmt.Errorf("report: op %d starts before the op before it on its lane has ended", id)
		}
		key, data := e.label(id)
		at, known := e.labels[key]
		if !known {
			at = len(e.d.Labels)
			e.labels[key] = at
			e.d.Labels = append(e.d.Labels, data)
		}
		e.buf = binary.AppendUvarint(e.buf, uint64(at))
		e.buf = binary.AppendUvarint(e.buf, uint64(e.microbatch(id)+1))
		e.buf = binary.AppendUvarint(e.buf, uint64(gap))
		e.buf = binary.AppendUvarint(e.buf, zigzag(int64(e.End[id]-e.Start[id]-e.price(e.Program.Work[id]))))
		e.buf = binary.AppendUvarint(e.buf, e.blocker(id, prev))
		end, prev = e.End[id], id
	}
	return nil
}

func (e *sliceEncoder) blocker(id, prev program.OpID) uint64 {
	switch by := e.Blocker[id]; {
	case by == program.None:
		return 0
	case by == prev:
		return 1
	case e.number[by] == 0:
		return 2
	default:
		return 3 + zigzag(int64(e.number[by]-e.number[id]))
	}
}

func (e *sliceEncoder) path() {
	var buf []byte
	last := int64(0)
	for _, id := range e.CriticalPath() {
		if e.number[id] == 0 {
			e.d.LeftOutPath++
			continue
		}
		buf = binary.AppendUvarint(buf, zigzag(int64(e.number[id]-1)-last))
		last = int64(e.number[id] - 1)
		e.d.PathLen++
	}
	e.d.Path = base64.StdEncoding.EncodeToString(buf)
}

// stepsOf is what a run's slices are made of.
func stepsOf(run *sim.Run) *steps {
	texts := map[labelKey]string{}
	return &steps{
		Timeline: run.Timeline,
		ranks:    len(run.Lanes),
		rank: func(rank int) rankData {
			return rankData{Name: rankName(run, rank), StandsFor: standsFor(run)}
		},
		price:      func(w program.WorkID) unit.Time { return run.WorkTime(w).Time },
		microbatch: func(id program.OpID) int32 { return run.Tag(id).Microbatch },
		label: func(id program.OpID) (labelKey, labelData) {
			tag, w := run.Tag(id), run.Program.Work[id]
			k := labelKey{w, tag.Phase, tag.Stage, tag.Slice, tag.Microbatch >= 0}
			text, ok := texts[k]
			if !ok {
				text = labelText(run, id)
				texts[k] = text
			}
			return k, labelData{int(w), text}
		},
	}
}

// standsFor is how many GPUs each rank of the program that ran stands for.
func standsFor(run *sim.Run) int64 { return run.Result.GPUs / int64(len(run.Lanes)) }

// labelText names an op, # in place of its microbatch.
func labelText(run *sim.Run, id program.OpID) string {
	work, tag := run.Program.Works[run.Program.Work[id]], run.Tag(id)
	if tag.Microbatch < 0 {
		return work.Name
	}
	// The name's first number is that of the microbatch or unit.
	of := strings.Replace(run.OpName(id), fmt.Sprintf(" %d", tag.Microbatch), " #", 1)
	if run.Plan.Slices() > 1 {
		of += fmt.Sprintf(", slice %d", tag.Slice)
	}
	if passes[work.Kind] {
		return of
	}
	return work.Name + " of " + of
}

// passes are the kinds of work that are a pass or a part of one.
var passes = map[program.Kind]bool{program.Forward: true, program.Backward: true, program.BackwardInput: true, program.BackwardWeight: true, program.Recompute: true}
