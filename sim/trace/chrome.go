package trace

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"strconv"

	"orrery/sim/unit"
)

// Chrome writes a trace that chrome://tracing opens: JSON, gzipped. Times are
// in microseconds with a fraction.
func Chrome(w io.Writer, t *Trace) error {
	gz := gzip.NewWriter(w) // no name, no time: the same trace gives the same bytes
	c := &chrome{w: bufio.NewWriterSize(gz, 1<<16)}
	c.raw(`{"displayTimeUnit":"ms","traceEvents":[`)
	for i, r := range t.Ranks {
		c.event(map[string]any{"ph": "M", "name": "process_name", "pid": i, "args": map[string]any{"name": r.Name}})
		c.event(map[string]any{"ph": "M", "name": "process_sort_index", "pid": i, "args": map[string]any{"sort_index": i}})
	}
	for i, l := range t.Lanes {
		c.event(map[string]any{"ph": "M", "name": "thread_name", "pid": l.Rank, "tid": i, "args": map[string]any{"name": l.Name}})
	}
	for _, s := range t.Slices {
		e := map[string]any{"ph": "X", "name": s.Name, "cat": s.Kind, "pid": t.Lanes[s.Lane].Rank, "tid": s.Lane,
			"ts": micros(s.Start), "dur": micros(s.End - s.Start)}
		if len(s.Args) > 0 {
			args := map[string]any{}
			for _, a := range s.Args {
				args[a.Key] = a.Value
			}
			e["args"] = args
		}
		c.event(e)
	}
	for i, f := range t.Flows {
		from, to := t.Slices[f.From], t.Slices[f.To]
		c.event(map[string]any{"ph": "s", "id": i + 1, "name": "send", "cat": from.Kind, "pid": t.Lanes[from.Lane].Rank, "tid": from.Lane, "ts": micros(from.Start)})
		c.event(map[string]any{"ph": "f", "bp": "e", "id": i + 1, "name": "send", "cat": from.Kind, "pid": t.Lanes[to.Lane].Rank, "tid": to.Lane, "ts": micros(to.Start)})
	}
	for _, n := range t.Counters {
		c.event(map[string]any{"ph": "C", "name": n.Name, "pid": n.Rank, "ts": micros(n.At), "args": map[string]any{n.Name: n.Value}})
	}
	c.raw("]}\n")
	if c.err != nil {
		return c.err
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	return gz.Close()
}

// micros is exact: picoseconds as a decimal fraction of microseconds.
func micros(t unit.Time) json.Number {
	return json.Number(strconv.FormatFloat(float64(t)/float64(unit.Microsecond), 'f', -1, 64))
}

type chrome struct {
	w     *bufio.Writer
	err   error
	comma bool
}

func (c *chrome) raw(s string) {
	if c.err == nil {
		_, c.err = c.w.WriteString(s)
	}
}

// event writes one object; encoding/json sorts keys, so bytes are stable.
func (c *chrome) event(e map[string]any) {
	b, err := json.Marshal(e)
	if err != nil && c.err == nil {
		c.err = err
	}
	if c.comma {
		c.raw(",\n")
	}
	c.comma = true
	c.raw(string(b))
}
