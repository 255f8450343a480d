package trace

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"

	"orrery/sim/unit"
)

// Chrome writes a trace that chrome://tracing opens: JSON, gzipped (Trace Event
// Format). Times are in microseconds with a fraction, exact to the picosecond. A
// rank is a process and a lane a thread, both by index.
func Chrome(w io.Writer, t *Trace) error {
	if err := t.check(); err != nil {
		return err
	}
	for i, n := range t.Counters {
		if math.IsNaN(n.Value) || math.IsInf(n.Value, 0) {
			return fmt.Errorf("trace: counter value %d is %g, which JSON cannot hold", i, n.Value)
		}
	}
	gz := gzip.NewWriter(w) // no name, no time: the same trace gives the same bytes
	c := &chrome{w: bufio.NewWriterSize(gz, 1<<16), quoted: map[string]string{}}
	_, _ = c.w.WriteString(`{"displayTimeUnit":"ms","traceEvents":[`)
	for i, r := range t.Ranks {
		c.begin("M", "process_name", i).raw(`,"args":{"name":`).str(r.Name).raw(`}`).end()
		c.begin("M", "process_sort_index", i).raw(`,"args":{"sort_index":`).num(i).raw(`}`).end()
	}
	for i, l := range t.Lanes {
		c.begin("M", "thread_name", l.Rank).raw(`,"tid":`).num(i).raw(`,"args":{"name":`).str(l.Name).raw(`}`).end()
		c.begin("M", "thread_sort_index", l.Rank).raw(`,"tid":`).num(i).raw(`,"args":{"sort_index":`).num(i).raw(`}`).end()
	}
	for i := range t.Slices {
		s := &t.Slices[i]
		c.begin("X", s.Name, t.Lanes[s.Lane].Rank).raw(`,"cat":`).str(s.Kind).on(s.Lane, s.Start).raw(`,"dur":`).micros(s.End - s.Start)
		for j, a := range s.Args {
			c.raw([]string{`,"args":{`, `,`}[min(j, 1)]).str(a.Key).raw(`:`)
			c.buf = strconv.AppendInt(c.buf, a.Value, 10)
		}
		if len(s.Args) > 0 {
			c.raw(`}`)
		}
		c.end()
	}
	for i, f := range t.Flows {
		from, to := &t.Slices[f.From], &t.Slices[f.To]
		// An arrow is bound to the slice that is open at its time, so it leaves
		// just before the end.
		leaves := max(from.Start, from.End-unit.Nanosecond)
		c.begin("s", "send", t.Lanes[from.Lane].Rank).raw(`,"cat":`).str(from.Kind).raw(`,"id":`).num(i+1).on(from.Lane, leaves).end()
		c.begin("f", "send", t.Lanes[to.Lane].Rank).raw(`,"cat":`).str(from.Kind).raw(`,"id":`).num(i+1).raw(`,"bp":"e"`).on(to.Lane, to.Start).end()
	}
	for _, n := range t.Counters {
		c.begin("C", n.Name, n.Rank).raw(`,"ts":`).micros(n.At).raw(`,"args":{`).str(n.Name).raw(`:`)
		c.buf = strconv.AppendFloat(c.buf, n.Value, 'g', -1, 64)
		c.raw(`}`).end()
	}
	_, _ = c.w.WriteString("]}\n")
	if err := c.w.Flush(); err != nil {
		return err
	}
	return gz.Close()
}

// chrome writes one event after the other; errors wait for Flush.
type chrome struct {
	w      *bufio.Writer
	buf    []byte // the event in the making
	quoted map[string]string
	comma  bool
}

// begin opens an event of a phase with its name and process.
func (c *chrome) begin(phase, name string, pid int) *chrome {
	c.buf = c.buf[:0]
	if c.comma {
		c.buf = append(c.buf, ",\n"...)
	}
	c.comma = true
	return c.raw(`{"ph":"`).raw(phase).raw(`","name":`).str(name).raw(`,"pid":`).num(pid)
}

func (c *chrome) end() {
	c.buf = append(c.buf, '}')
	_, _ = c.w.Write(c.buf)
}

// on is the thread and the time of an event.
func (c *chrome) on(lane int, at unit.Time) *chrome {
	return c.raw(`,"tid":`).num(lane).raw(`,"ts":`).micros(at)
}

func (c *chrome) raw(s string) *chrome {
	c.buf = append(c.buf, s...)
	return c
}

func (c *chrome) num(n int) *chrome {
	c.buf = strconv.AppendInt(c.buf, int64(n), 10)
	return c
}

// str is a JSON string; names repeat, so each is quoted once.
func (c *chrome) str(s string) *chrome {
	q, ok := c.quoted[s]
	if !ok {
		b, err := json.Marshal(s)
		if err != nil { // a string always marshals
			b = []byte(`""`)
		}
		q = string(b)
		c.quoted[s] = q
	}
	return c.raw(q)
}

// micros is exact: picoseconds, not negative, as a decimal fraction of
// microseconds.
func (c *chrome) micros(t unit.Time) *chrome {
	c.buf = strconv.AppendInt(c.buf, int64(t/unit.Microsecond), 10)
	ps := int64(t % unit.Microsecond)
	if ps == 0 {
		return c
	}
	frac := strconv.AppendInt(nil, int64(unit.Microsecond)+ps, 10) // a leading 1 keeps the zeros
	frac[0] = '.'
	for frac[len(frac)-1] == '0' {
		frac = frac[:len(frac)-1]
	}
	c.buf = append(c.buf, frac...)
	return c
}
