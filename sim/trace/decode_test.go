package trace_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// shown is what a viewer makes of a trace, without the order of its tracks.
// Times are in units of the format.
type shown struct {
	slices   []shownSlice
	counters []shownCounter
	flows    [][2]shownEnd // from, to
}

type shownSlice struct {
	process, thread, name, kind string
	start, end                  int64
	depth                       int
	args                        string
}

type shownCounter struct {
	process, name string
	at            int64
	value         float64
}

// shownEnd is one end of an arrow: the slice that it is bound to.
type shownEnd struct {
	process, thread, name string
	start                 int64
}

// message is a decoded protobuf message: the values of each field, in order.
// Varints and fixed 64-bit values are numbers; what has a length is bytes.
type message map[protowire.Number][]any

func decode(b []byte) (message, error) {
	m := message{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		var v any
		switch typ {
		case protowire.VarintType:
			v, n = consume(protowire.ConsumeVarint(b))
		case protowire.Fixed64Type:
			v, n = consume(protowire.ConsumeFixed64(b))
		case protowire.BytesType:
			v, n = consume(protowire.ConsumeBytes(b))
		default:
			return nil, fmt.Errorf("field %d has wire type %d", num, typ)
		}
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		m[num] = append(m[num], v)
		b = b[n:]
	}
	return m, nil
}

func consume[T any](v T, n int) (any, int) { return v, n }

func (m message) uint(n protowire.Number) uint64 {
	if len(m[n]) == 0 {
		return 0
	}
	return m[n][0].(uint64)
}

func (m message) text(n protowire.Number) string {
	if len(m[n]) == 0 {
		return ""
	}
	return string(m[n][0].([]byte))
}

func (m message) sub(n protowire.Number) message {
	if len(m[n]) == 0 {
		return nil
	}
	s, err := decode(m[n][0].([]byte))
	if err != nil {
		panic(err) // of a message that the outer one delimits: the test fails
	}
	return s
}

func (m message) subs(n protowire.Number) (out []message) {
	for i := range m[n] {
		out = append(out, message{n: m[n][i : i+1]}.sub(n))
	}
	return out
}

// readPerfetto decodes with field numbers of its own, from Perfetto's .proto
// files, and does what the trace processor does: sort by time, keeping the order
// of the file, and stack begins and ends for each track.
func readPerfetto(b []byte) (*shown, error) {
	const cleared, needs = 1, 2
	type track struct {
		process, thread, counter string
		open                     []int
	}
	tracks := map[uint64]*track{}
	threads := map[uint64]bool{}
	names := map[protowire.Number]map[uint64]string{1: {}, 2: {}, 3: {}}
	type event struct {
		at   uint64
		data message
		name string
		kind string
		args string
	}
	file, err := decode(b)
	if err != nil {
		return nil, err
	}
	var events []event
	for i, p := range file.subs(1) {
		if flags := p.uint(13); flags&needs == 0 || (flags&cleared != 0) != (i == 0) || p.uint(10) == 0 {
			return nil, fmt.Errorf("packet %d has flags %d of sequence %d", i, p.uint(13), p.uint(10))
		}
		if in := p.sub(12); in != nil {
			for field, table := range names {
				for _, e := range in.subs(field) {
					if _, twice := table[e.uint(1)]; twice {
						return nil, fmt.Errorf("string %d of field %d comes twice", e.uint(1), field)
					}
					table[e.uint(1)] = e.text(2)
				}
			}
		}
		if d := p.sub(60); d != nil {
			t := &track{}
			if parent := tracks[d.uint(5)]; parent != nil {
				t.process = parent.process
			}
			if proc := d.sub(3); proc != nil {
				t.process = proc.text(6)
			}
			if th := d.sub(4); th != nil {
				t.thread = th.text(5)
				if threads[th.uint(2)] {
					return nil, fmt.Errorf("two threads have TID %d", th.uint(2))
				}
				threads[th.uint(2)] = true
			}
			if len(d[8]) > 0 {
				t.counter = d.text(2)
			}
			tracks[d.uint(1)] = t
		}
		if e := p.sub(11); e != nil {
			ev := event{at: p.uint(8), data: e, name: names[2][e.uint(10)], kind: names[1][e.uint(3)]}
			for _, a := range e.subs(4) {
				ev.args += fmt.Sprintf("%s=%d;", names[3][a.uint(1)], int64(a.uint(4)))
			}
			events = append(events, ev)
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return int(int64(a.at) - int64(b.at)) })
	out := &shown{}
	from, to := map[uint64]shownEnd{}, map[uint64]shownEnd{}
	for _, e := range events {
		t := tracks[e.data.uint(11)]
		if t == nil {
			return nil, fmt.Errorf("an event is on track %d, which is not described", e.data.uint(11))
		}
		switch e.data.uint(9) {
		case 1:
			t.open = append(t.open, len(out.slices))
			out.slices = append(out.slices, shownSlice{t.process, t.thread, e.name, e.kind, int64(e.at), -1, len(t.open) - 1, e.args})
			end := shownEnd{t.process, t.thread, e.name, int64(e.at)}
			for _, f := range e.data[47] {
				from[f.(uint64)] = end
			}
			for _, f := range e.data[48] {
				to[f.(uint64)] = end
			}
		case 2:
			if len(t.open) == 0 {
				return nil, fmt.Errorf("an end at %d closes nothing", e.at)
			}
			out.slices[t.open[len(t.open)-1]].end = int64(e.at)
			t.open = t.open[:len(t.open)-1]
		case 4:
			v := math.Float64frombits(e.data.uint(44))
			out.counters = append(out.counters, shownCounter{t.process, t.counter, int64(e.at), v})
		default:
			return nil, fmt.Errorf("event type %d", e.data.uint(9))
		}
	}
	for _, t := range tracks {
		if len(t.open) > 0 {
			return nil, fmt.Errorf("%d slices do not end", len(t.open))
		}
	}
	return out, pair(out, from, to)
}

// pair puts arrows together, in the order of their numbers.
func pair(out *shown, from, to map[uint64]shownEnd) error {
	if len(from) != len(to) {
		return fmt.Errorf("%d flows leave and %d arrive", len(from), len(to))
	}
	for id := range uint64(len(from)) {
		a, leaves := from[id+1]
		b, arrives := to[id+1]
		if !leaves || !arrives {
			return fmt.Errorf("flow %d has one end", id+1)
		}
		out.flows = append(out.flows, [2]shownEnd{a, b})
	}
	return nil
}

// chromeEvent is what a viewer reads of one event.
type chromeEvent struct {
	Ph, Name, Cat, BP string
	PID, TID          int
	ID                uint64
	TS, Dur           json.Number
	Args              json.RawMessage
}

// picos reads microseconds with a fraction as picoseconds, without rounding.
func picos(n json.Number) (int64, error) {
	whole, frac, _ := strings.Cut(string(n), ".")
	if len(frac) > 6 {
		return 0, fmt.Errorf("time %s has less than picoseconds", n)
	}
	return strconv.ParseInt(whole+frac+"000000"[len(frac):], 10, 64)
}

func readChrome(r io.Reader) (*shown, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	if !gz.ModTime.IsZero() {
		return nil, fmt.Errorf("the archive tells the time %v", gz.ModTime)
	}
	var file struct{ TraceEvents []chromeEvent }
	if err := json.NewDecoder(gz).Decode(&file); err != nil {
		return nil, err
	}
	out := &shown{}
	process, thread := map[int]string{}, map[[2]int]string{}
	from, to := map[uint64]shownEnd{}, map[uint64]shownEnd{}
	open := map[[2]int][]int{}
	for _, e := range file.TraceEvents {
		at := int64(0)
		if e.TS != "" {
			if at, err = picos(e.TS); err != nil {
				return nil, err
			}
		}
		key := [2]int{e.PID, e.TID}
		switch e.Ph {
		case "M":
			var args struct{ Name string }
			if err := json.Unmarshal(e.Args, &args); err != nil {
				return nil, err
			}
			switch e.Name {
			case "process_name":
				process[e.PID] = args.Name
			case "thread_name":
				thread[key] = args.Name
			}
		case "X":
			dur, err := picos(e.Dur)
			if err != nil {
				return nil, err
			}
			for o := open[key]; len(o) > 0 && out.slices[o[len(o)-1]].end <= at; {
				o = o[:len(o)-1]
				open[key] = o
			}
			s := shownSlice{process[e.PID], thread[key], e.Name, e.Cat, at, at + dur, len(open[key]), ""}
			if e.Args != nil {
				var args map[string]int64
				if err := json.Unmarshal(e.Args, &args); err != nil {
					return nil, err
				}
				s.args = sortedArgs(args)
			}
			open[key] = append(open[key], len(out.slices))
			out.slices = append(out.slices, s)
		case "s":
			from[e.ID] = bound(out, process[e.PID], thread[key], at)
		case "f":
			if e.BP != "e" {
				return nil, fmt.Errorf("flow %d is not bound to the slice around it", e.ID)
			}
			to[e.ID] = bound(out, process[e.PID], thread[key], at)
		case "C":
			var args map[string]float64
			if err := json.Unmarshal(e.Args, &args); err != nil {
				return nil, err
			}
			out.counters = append(out.counters, shownCounter{process[e.PID], e.Name, at, args[e.Name]})
		default:
			return nil, fmt.Errorf("phase %q", e.Ph)
		}
	}
	return out, pair(out, from, to)
}

// bound is the innermost slice that is open at a time.
func bound(out *shown, process, thread string, at int64) shownEnd {
	for _, s := range slices.Backward(out.slices) {
		if s.process == process && s.thread == thread && s.start <= at && (at < s.end || at == s.start) {
			return shownEnd{process, thread, s.name, s.start}
		}
	}
	return shownEnd{}
}

func sortedArgs(args map[string]int64) string {
	keys := make([]string, 0, len(args))
	for k := range args {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := ""
	for _, k := range keys {
		out += fmt.Sprintf("%s=%d;", k, args[k])
	}
	return out
}
