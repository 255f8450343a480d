package report

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"orrery/schedules/pipeline"
	"orrery/sim"
	"orrery/sim/program"
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

// slicesOf encodes a run's timeline, at most limit slices of it.
func slicesOf(run *sim.Run, limit int) (*sliceData, error) {
	p, tl := run.Program, run.Timeline
	byLane := make([][]program.OpID, len(p.Lanes))
	for id, l := range p.Lane {
		byLane[l] = append(byLane[l], program.OpID(id))
	}
	lanesOf := make([][]program.LaneID, len(run.Lanes))
	for l, lane := range p.Lanes {
		lanesOf[lane.Rank] = append(lanesOf[lane.Rank], program.LaneID(l))
	}
	d := &sliceData{}
	number := make([]int32, p.Len()) // of an op's slice, from 1; 0 is not there
	var lanes []program.LaneID
	n := 0
	for rank := range lanesOf {
		of := 0
		for _, l := range lanesOf[rank] {
			of += len(byLane[l])
		}
		if n > 0 && n+of > limit || d.LeftOutRanks > 0 {
			d.LeftOutRanks, d.LeftOutSlices = d.LeftOutRanks+1, d.LeftOutSlices+of
			continue
		}
		d.Ranks = append(d.Ranks, rankData{Name: rankName(run, rank), StandsFor: run.Result.GPUs / int64(len(run.Lanes))})
		for _, l := range lanesOf[rank] {
			if len(byLane[l]) == 0 {
				continue
			}
			d.Lanes = append(d.Lanes, laneData{Rank: rank, Name: p.Lanes[l].Name, N: len(byLane[l])})
			lanes = append(lanes, l)
			for _, id := range byLane[l] {
				n++
				number[id] = int32(n)
			}
		}
	}
	e := sliceEncoder{run: run, d: d, number: number, labels: map[labelKey]int{}, buf: make([]byte, 0, 10*n)}
	for _, l := range lanes {
		if err := e.lane(byLane[l]); err != nil {
			return nil, err
		}
	}
	d.Slices = base64.StdEncoding.EncodeToString(e.buf)
	path := e.buf[:0]
	last := int64(0)
	for _, id := range tl.CriticalPath() {
		if number[id] == 0 {
			d.LeftOutPath++
			continue
		}
		path = binary.AppendUvarint(path, zigzag(int64(number[id]-1)-last))
		last = int64(number[id] - 1)
		d.PathLen++
	}
	d.Path = base64.StdEncoding.EncodeToString(path)
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
	run    *sim.Run
	d      *sliceData
	number []int32
	labels map[labelKey]int
	buf    []byte
}

func (e *sliceEncoder) lane(ops []program.OpID) error {
	tl := e.run.Timeline
	var end unit.Time
	prev := program.None
	for _, id := range ops {
		gap := tl.Start[id] - end
		if gap < 0 {
			return fmt.Errorf("report: %s starts before the op before it on its lane has ended", e.run.OpName(id))
		}
		w := e.run.Program.Work[id]
		e.buf = binary.AppendUvarint(e.buf, uint64(e.label(id)))
		e.buf = binary.AppendUvarint(e.buf, uint64(e.run.Tag(id).Microbatch+1))
		e.buf = binary.AppendUvarint(e.buf, uint64(gap))
		e.buf = binary.AppendUvarint(e.buf, zigzag(int64(tl.End[id]-tl.Start[id]-e.run.WorkTime(w).Time)))
		e.buf = binary.AppendUvarint(e.buf, e.blocker(id, prev))
		end, prev = tl.End[id], id
	}
	return nil
}

func (e *sliceEncoder) blocker(id, prev program.OpID) uint64 {
	switch by := e.run.Timeline.Blocker[id]; {
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

// label is the number of an op's label, made on first use.
func (e *sliceEncoder) label(id program.OpID) int {
	tag, w := e.run.Tag(id), e.run.Program.Work[id]
	k := labelKey{w, tag.Phase, tag.Stage, tag.Slice, tag.Microbatch >= 0}
	if at, ok := e.labels[k]; ok {
		return at
	}
	work := e.run.Program.Works[w]
	text := work.Name
	if k.one {
		// The name's first number is that of the microbatch or unit.
		of := strings.Replace(e.run.OpName(id), fmt.Sprintf(" %d", tag.Microbatch), " #", 1)
		if e.run.Plan.Slices() > 1 {
			of += fmt.Sprintf(", slice %d", tag.Slice)
		}
		if passes[work.Kind] {
			text = of
		} else {
			text += " of " + of
		}
	}
	at := len(e.d.Labels)
	e.labels[k] = at
	e.d.Labels = append(e.d.Labels, labelData{int(w), text})
	return at
}

// passes are the kinds of work that are a pass or a part of one.
var passes = map[program.Kind]bool{program.Forward: true, program.Backward: true, program.BackwardInput: true, program.BackwardWeight: true, program.Recompute: true}
