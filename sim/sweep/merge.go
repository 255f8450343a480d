package sweep

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Row is a line of the results: one point of the sweep.
type Row struct {
	Point  int             `json:"point"` // in the order of the grid or sample
	ID     string          `json:"id"`    // points of one identity have one result
	Values map[string]any  `json:"values"`
	Status Status          `json:"status"`
	Reason string          `json:"reason,omitempty"`
	Result json.RawMessage `json:"result,omitempty"` // a sim.Result
}

// Merged is what a merge found.
type Merged struct {
	Points   int            `json:"points"`
	Distinct int            `json:"distinct"`      // of them, by identity
	Missing  int            `json:"missing"`       // distinct points that no journal has
	Counts   map[Status]int `json:"counts"`        // of distinct points
	Damaged  int            `json:"damaged_lines"` // of journals
	Shards   []ShardState   `json:"shards"`        // of every division that has a journal
	Results  string         `json:"results"`       // path; "" where points are missing
}

// ShardState is how far one shard is.
type ShardState struct {
	Shard   Shard `json:"shard"`
	Started bool  `json:"started"` // has a journal
	Own     int   `json:"own"`     // distinct points
	Missing int   `json:"missing"` // of them, in no journal
	Failed  int   `json:"failed"`  // of them
}

// Done reports whether a shard needs no other run.
func (s ShardState) Done() bool { return s.Missing == 0 && s.Failed == 0 }

// Merge puts the journals of a folder together. Where no point is missing it
// writes the results, sorted by point: the same bytes whenever and however often
// it is called, and whoever computed which point.
func Merge(dir string) (*Merged, error) {
	list, err := readPoints(dir)
	if err != nil {
		return nil, err
	}
	j, err := readJournals(dir)
	if err != nil {
		return nil, err
	}
	m := &Merged{Points: len(list), Counts: map[Status]int{}, Damaged: j.Damaged, Shards: []ShardState{}}
	var distinct []identity
	seen := map[identity]bool{}
	for _, n := range list {
		if !seen[n.ID] {
			seen[n.ID] = true
			distinct = append(distinct, n.ID)
		}
	}
	m.Distinct = len(distinct)
	for _, id := range distinct {
		if e, ok := j.at[id]; ok {
			m.Counts[e.status]++
		} else {
			m.Missing++
		}
	}
	m.shards(j, distinct)
	if m.Missing > 0 {
		return m, nil
	}
	m.Results = filepath.Join(dir, ResultsFile)
	return m, writeWhole(m.Results, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		return j.rows(list, func(r *Row) error { return enc.Encode(r) })
	})
}

// Rows calls do for every point that is done, in order, whether or not all are.
func Rows(dir string, do func(*Row) error) (points int, err error) {
	list, err := readPoints(dir)
	if err != nil {
		return 0, err
	}
	j, err := readJournals(dir)
	if err != nil {
		return 0, err
	}
	return len(list), j.rows(list, do)
}

func (j *journals) rows(list []named, do func(*Row) error) error {
	in, err := j.open()
	if err != nil {
		return err
	}
	defer in.close()
	for _, n := range list {
		if _, ok := j.at[n.ID]; !ok {
			continue
		}
		e, err := in.get(n.ID)
		if err != nil {
			return err
		}
		if err := do(&Row{n.Point, n.ID, n.Values, e.Status, e.Reason, e.Result}); err != nil {
			return err
		}
	}
	return nil
}

// shards tells how far the shards of every division are that has a journal.
func (m *Merged) shards(j *journals, distinct []identity) {
	started := map[Shard]bool{}
	var divisions []int
	for _, s := range j.shards {
		started[s] = true
		if s.Of > 1 && !slices.Contains(divisions, s.Of) {
			divisions = append(divisions, s.Of)
		}
	}
	slices.Sort(divisions)
	for _, of := range divisions {
		for i := range of {
			s := Shard{i, of}
			state := ShardState{Shard: s, Started: started[s]}
			for k := i; k < len(distinct); k += of {
				state.Own++
				if e, ok := j.at[distinct[k]]; !ok {
					state.Missing++
				} else if e.status == Failed {
					state.Failed++
				}
			}
			m.Shards = append(m.Shards, state)
		}
	}
}

func readPoints(dir string) ([]named, error) {
	path := filepath.Join(dir, PointsFile)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is not the folder of a sweep: it has no %s", dir, PointsFile)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []named
	dec := json.NewDecoder(bufio.NewReaderSize(f, 1<<20))
	dec.UseNumber() // numbers stay as they are written
	for {
		var n named
		switch err := dec.Decode(&n); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		case n.Point != len(list):
			return nil, fmt.Errorf("%s: point %d stands where point %d belongs", path, n.Point, len(list))
		}
		list = append(list, n)
	}
}
