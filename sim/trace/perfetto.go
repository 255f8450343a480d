package trace

import (
	"bufio"
	"cmp"
	"io"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"orrery/sim/unit"
)

// Field numbers of perfetto/trace/trace_packet.proto and the messages in it.
const (
	tracePacket = 1

	packetTimestamp   = 8
	packetSequence    = 10
	packetEvent       = 11
	packetInterned    = 12
	packetFlags       = 13
	packetDescriptor  = 60
	descriptorUUID    = 1
	descriptorName    = 2
	descriptorProcess = 3
	descriptorThread  = 4
	descriptorParent  = 5
	descriptorCounter = 8
	processPID        = 1
	processName       = 6
	threadPID         = 1
	threadTID         = 2
	threadName        = 5

	eventCategory    = 3
	eventAnnotation  = 4
	eventType        = 9
	eventName        = 10
	eventTrack       = 11
	eventDouble      = 44
	eventFlow        = 47
	eventFlowEnd     = 48
	typeBegin        = 1
	typeEnd          = 2
	typeCounter      = 4
	annotationNameID = 1
	annotationInt    = 4

	internedCategory   = 1
	internedName       = 2
	internedAnnotation = 3
	entryID            = 1
	entryName          = 2

	flagCleared = 1 // SEQ_INCREMENTAL_STATE_CLEARED
	flagNeeds   = 2 // SEQ_NEEDS_INCREMENTAL_STATE
)

// perfetto writes packets; strings are sent once and referred to by number.
type perfetto struct {
	w    *bufio.Writer
	ids  [4]map[string]uint64 // by field of InternedData
	seen bool                 // the first packet has cleared the state

	// Messages in the making, kept for their memory.
	event, interned, inner, packet, framed []byte
}

// Perfetto writes a trace that ui.perfetto.dev opens. Times are rounded down to
// nanoseconds, so what nests keeps nesting. Packets of one lane are in order of
// time, those of different lanes are not: trace processors sort.
func Perfetto(w io.Writer, t *Trace) error {
	if err := t.check(); err != nil {
		return err
	}
	p := &perfetto{w: bufio.NewWriterSize(w, 1<<16)}
	for i := range p.ids {
		p.ids[i] = map[string]uint64{}
	}
	for i, r := range t.Ranks {
		var proc, d []byte
		proc = uintField(proc, processPID, uint64(i+1))
		proc = stringField(proc, processName, r.Name)
		d = uintField(d, descriptorUUID, rankUUID(i))
		d = bytesField(d, descriptorProcess, proc)
		p.descriptor(d)
	}
	for i, l := range t.Lanes {
		var th, d []byte
		th = uintField(th, threadPID, uint64(l.Rank+1))
		th = uintField(th, threadTID, uint64(len(t.Ranks)+i+1)) // no PID: those are main threads
		th = stringField(th, threadName, l.Name)
		d = uintField(d, descriptorUUID, laneUUID(i))
		d = uintField(d, descriptorParent, rankUUID(l.Rank))
		d = bytesField(d, descriptorThread, th)
		p.descriptor(d)
	}
	if err := p.slices(t); err != nil {
		return err
	}
	p.counters(t)
	return p.w.Flush()
}

func rankUUID(i int) uint64    { return 1<<40 + uint64(i) }
func laneUUID(i int) uint64    { return 2<<40 + uint64(i) }
func counterUUID(i int) uint64 { return 3<<40 + uint64(i) }

// nanos rounds down to Perfetto's unit.
func nanos(t unit.Time) uint64 { return uint64(t / unit.Nanosecond) }

// slices writes a begin and an end for each slice; a begin carries the numbers
// of the flows that leave from it or arrive at it.
func (p *perfetto) slices(t *Trace) error {
	leave := flowsBy(t.Flows, func(f Flow) int { return f.From })
	arrive := flowsBy(t.Flows, func(f Flow) int { return f.To })
	return t.walk(func(i int) {
		s := &t.Slices[i]
		p.event, p.interned = p.event[:0], p.interned[:0]
		p.event = uintField(p.event, eventTrack, laneUUID(s.Lane))
		p.event = uintField(p.event, eventType, typeBegin)
		p.event = uintField(p.event, eventName, p.intern(internedName, s.Name))
		p.event = uintField(p.event, eventCategory, p.intern(internedCategory, s.Kind))
		for _, a := range s.Args {
			id := p.intern(internedAnnotation, a.Key)
			p.inner = uintField(p.inner[:0], annotationNameID, id)
			p.inner = uintField(p.inner, annotationInt, uint64(a.Value))
			p.event = bytesField(p.event, eventAnnotation, p.inner)
		}
		for ; len(leave) > 0 && t.Flows[leave[0]].From == i; leave = leave[1:] {
			p.event = fixedField(p.event, eventFlow, uint64(leave[0]+1))
		}
		for ; len(arrive) > 0 && t.Flows[arrive[0]].To == i; arrive = arrive[1:] {
			p.event = fixedField(p.event, eventFlowEnd, uint64(arrive[0]+1))
		}
		p.trackEvent(s.Start)
	}, func(i int) {
		p.event, p.interned = p.event[:0], p.interned[:0]
		p.event = uintField(p.event, eventTrack, laneUUID(t.Slices[i].Lane))
		p.event = uintField(p.event, eventType, typeEnd)
		p.trackEvent(t.Slices[i].End)
	})
}

// flowsBy lists the flows in the order of one of their slices.
func flowsBy(flows []Flow, end func(Flow) int) []int {
	order := make([]int, len(flows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(end(flows[a]), end(flows[b])) })
	return order
}

// counters writes the counters; a track is described before its first value.
func (p *perfetto) counters(t *Trace) {
	type key struct {
		rank int
		name string
	}
	tracks := map[key]int{}
	for _, c := range t.Counters {
		k := key{c.Rank, c.Name}
		track, ok := tracks[k]
		if !ok {
			track = len(tracks)
			tracks[k] = track
			var d []byte
			d = uintField(d, descriptorUUID, counterUUID(track))
			d = uintField(d, descriptorParent, rankUUID(c.Rank))
			d = stringField(d, descriptorName, c.Name)
			d = bytesField(d, descriptorCounter, nil)
			p.descriptor(d)
		}
		p.event, p.interned = p.event[:0], p.interned[:0]
		p.event = uintField(p.event, eventType, typeCounter)
		p.event = uintField(p.event, eventTrack, counterUUID(track))
		p.event = fixedField(p.event, eventDouble, math.Float64bits(c.Value))
		p.trackEvent(c.At)
	}
}

// intern returns a string's number; when it is new it joins the interned data of
// the packet in the making.
func (p *perfetto) intern(field protowire.Number, s string) uint64 {
	id, ok := p.ids[field][s]
	if !ok {
		id = uint64(len(p.ids[field]) + 1)
		p.ids[field][s] = id
		p.inner = uintField(p.inner[:0], entryID, id)
		p.inner = stringField(p.inner, entryName, s)
		p.interned = bytesField(p.interned, field, p.inner)
	}
	return id
}

func (p *perfetto) descriptor(d []byte) {
	p.packet = bytesField(p.packet[:0], packetDescriptor, d)
	p.write()
}

// trackEvent writes the event in the making with its interned data.
func (p *perfetto) trackEvent(at unit.Time) {
	p.packet = uintField(p.packet[:0], packetTimestamp, nanos(at))
	p.packet = bytesField(p.packet, packetEvent, p.event)
	if len(p.interned) > 0 {
		p.packet = bytesField(p.packet, packetInterned, p.interned)
	}
	p.write()
}

// write sends the packet in the making, of the only sequence; errors wait for
// Flush.
func (p *perfetto) write() {
	flags := uint64(flagNeeds)
	if !p.seen {
		p.seen, flags = true, flagCleared|flagNeeds
	}
	p.packet = uintField(p.packet, packetSequence, 1)
	p.packet = uintField(p.packet, packetFlags, flags)
	p.framed = bytesField(p.framed[:0], tracePacket, p.packet)
	_, _ = p.w.Write(p.framed)
}

func uintField(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func fixedField(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, n, protowire.Fixed64Type), v)
}

func bytesField(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func stringField(b []byte, n protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
}
