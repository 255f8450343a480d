package trace

import (
	"bufio"
	"cmp"
	"io"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
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
)

// perfetto writes packets; strings are sent once and referred to by number.
type perfetto struct {
	w    *bufio.Writer
	buf  []byte
	ids  [4]map[string]uint64 // by field of InternedData
	seen bool                 // the first packet has cleared the state
}

// Perfetto writes a trace that ui.perfetto.dev opens.
func Perfetto(w io.Writer, t *Trace) error {
	p := &perfetto{w: bufio.NewWriterSize(w, 1<<16)}
	for i := range p.ids {
		p.ids[i] = map[string]uint64{}
	}
	for i, r := range t.Ranks {
		var proc, d []byte
		proc = uintField(proc, processPID, uint64(i+1))
		proc = bytesField(proc, processName, r.Name)
		d = uintField(d, descriptorUUID, rankUUID(i))
		d = bytesField(d, descriptorProcess, string(proc))
		p.descriptor(d)
	}
	for i, l := range t.Lanes {
		var th, d []byte
		th = uintField(th, threadPID, uint64(l.Rank+1))
		th = uintField(th, threadTID, uint64(i+1))
		th = bytesField(th, threadName, l.Name)
		d = uintField(d, descriptorUUID, laneUUID(i))
		d = uintField(d, descriptorParent, rankUUID(l.Rank))
		d = bytesField(d, descriptorThread, string(th))
		p.descriptor(d)
	}
	for i, c := range counterTracks(t) {
		var d []byte
		d = uintField(d, descriptorUUID, counterUUID(i))
		d = uintField(d, descriptorParent, rankUUID(c.Rank))
		d = bytesField(d, descriptorName, c.Name)
		d = bytesField(d, descriptorCounter, "")
		p.descriptor(d)
	}
	p.slices(t)
	p.counters(t)
	return p.w.Flush()
}

func rankUUID(i int) uint64    { return 1<<40 + uint64(i) }
func laneUUID(i int) uint64    { return 2<<40 + uint64(i) }
func counterUUID(i int) uint64 { return 3<<40 + uint64(i) }

// counterTracks lists each rank's counters once, in the order they appear.
func counterTracks(t *Trace) []Counter {
	var out []Counter
	seen := map[Counter]bool{}
	for _, c := range t.Counters {
		k := Counter{Rank: c.Rank, Name: c.Name}
		if !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

// edge is the begin or the end of a slice.
type edge struct {
	at    uint64
	begin bool
	slice int
}

// slices writes begins and ends in order of time: at one instant ends come
// before begins, inner ends before outer, outer begins before inner; slices of
// no length begin and end together.
func (p *perfetto) slices(t *Trace) {
	flows, ends := map[int][]uint64{}, map[int][]uint64{}
	for i, f := range t.Flows {
		flows[f.From] = append(flows[f.From], uint64(i+1))
		ends[f.To] = append(ends[f.To], uint64(i+1))
	}
	edges := make([]edge, 0, 2*len(t.Slices))
	for i, s := range t.Slices {
		edges = append(edges, edge{nanos(s.Start), true, i}, edge{nanos(s.End), false, i})
	}
	empty := func(e edge) bool { s := t.Slices[e.slice]; return nanos(s.Start) == nanos(s.End) }
	rank := func(e edge) int {
		switch {
		case empty(e):
			return 1
		case e.begin:
			return 2
		}
		return 0
	}
	slices.SortStableFunc(edges, func(a, b edge) int {
		if c := cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(rank(a), rank(b))); c != 0 {
			return c
		}
		if rank(a) == 0 {
			return cmp.Compare(b.slice, a.slice)
		}
		return cmp.Compare(a.slice, b.slice)
	})
	for _, e := range edges {
		s := &t.Slices[e.slice]
		var ev, interned []byte
		ev = uintField(ev, eventTrack, laneUUID(s.Lane))
		if !e.begin {
			ev = uintField(ev, eventType, typeEnd)
			p.event(e.at, ev, nil)
			continue
		}
		ev = uintField(ev, eventType, typeBegin)
		ev = uintField(ev, eventName, p.intern(&interned, internedName, s.Name))
		ev = uintField(ev, eventCategory, p.intern(&interned, internedCategory, s.Kind))
		for _, a := range s.Args {
			var an []byte
			an = uintField(an, annotationNameID, p.intern(&interned, internedAnnotation, a.Key))
			an = uintField(an, annotationInt, uint64(a.Value))
			ev = bytesField(ev, eventAnnotation, string(an))
		}
		for _, f := range flows[e.slice] {
			ev = protowire.AppendFixed64(protowire.AppendTag(ev, eventFlow, protowire.Fixed64Type), f)
		}
		for _, f := range ends[e.slice] {
			ev = protowire.AppendFixed64(protowire.AppendTag(ev, eventFlowEnd, protowire.Fixed64Type), f)
		}
		p.event(e.at, ev, interned)
	}
}

func (p *perfetto) counters(t *Trace) {
	track := map[Counter]int{}
	for i, c := range counterTracks(t) {
		track[c] = i
	}
	for _, c := range t.Counters {
		var ev []byte
		ev = uintField(ev, eventType, typeCounter)
		ev = uintField(ev, eventTrack, counterUUID(track[Counter{Rank: c.Rank, Name: c.Name}]))
		ev = protowire.AppendFixed64(protowire.AppendTag(ev, eventDouble, protowire.Fixed64Type), math.Float64bits(c.Value))
		p.event(nanos(c.At), ev, nil)
	}
}

// intern returns a string's number and adds it to the packet's interned data
// when it is new.
func (p *perfetto) intern(out *[]byte, field protowire.Number, s string) uint64 {
	id, ok := p.ids[field][s]
	if !ok {
		id = uint64(len(p.ids[field]) + 1)
		p.ids[field][s] = id
		var e []byte
		e = uintField(e, entryID, id)
		e = bytesField(e, entryName, s)
		*out = bytesField(*out, field, string(e))
	}
	return id
}

func (p *perfetto) descriptor(d []byte) {
	p.packet(bytesField(nil, packetDescriptor, string(d)))
}

func (p *perfetto) event(at uint64, ev, interned []byte) {
	b := uintField(nil, packetTimestamp, at)
	b = bytesField(b, packetEvent, string(ev))
	if len(interned) > 0 {
		b = bytesField(b, packetInterned, string(interned))
	}
	p.packet(b)
}

// packet writes one packet of the only sequence; errors wait for Flush.
func (p *perfetto) packet(b []byte) {
	const cleared, needs = 1, 2
	flags := uint64(needs)
	if !p.seen {
		p.seen, flags = true, cleared|needs
	}
	b = uintField(b, packetSequence, 1)
	b = uintField(b, packetFlags, flags)
	p.buf = bytesField(p.buf[:0], tracePacket, string(b))
	_, _ = p.w.Write(p.buf)
}

func uintField(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func bytesField(b []byte, n protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
}
