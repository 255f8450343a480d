package sweep

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"
)

// Status is how a point ended.
type Status string

// Statuses. Failed ones are tried again by the next start.
const (
	OK         Status = "ok"
	DoesNotFit Status = "does_not_fit" // simulated, but the memory is too small
	Refused    Status = "refused"      // by the scenario language, the plan or the prices
	Failed     Status = "failed"       // a defect of the program
)

// Statuses in the order in which they are counted.
var Statuses = []Status{OK, DoesNotFit, Refused, Failed}

// Entry is a line of a journal: one point that is done.
type Entry struct {
	ID     identity        `json:"id"`
	Values map[string]any  `json:"values"` // of the first point that has this identity
	Status Status          `json:"status"`
	Reason string          `json:"reason,omitempty"`
	Result json.RawMessage `json:"result,omitempty"` // a sim.Result
}

// header is a journal's first line.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Build   string `json:"build"` // of the program that computed what follows
	Shard   Shard  `json:"shard"`
}

const (
	journalFormat  = "orrery-sweep-journal"
	journalVersion = 1
)

// entryAt is where a file holds an entry.
type entryAt struct {
	file   int
	from   int64
	length int
	status Status
}

// journals are those of a folder: where each identity's entry is.
type journals struct {
	dir     string
	paths   []string
	shards  []Shard // of each path
	at      map[identity]entryAt
	Damaged int // lines that are no entry, other than one being written at a file's end
}

func journalName(s Shard) string {
	if s.Of <= 1 {
		return "journal.jsonl"
	}
	return fmt.Sprintf("journal-%04d-of-%04d.jsonl", s.Index, s.Of)
}

// readJournals indexes all journals of a folder.
func readJournals(dir string) (*journals, error) {
	j := &journals{dir: dir, at: map[identity]entryAt{}}
	paths, err := journalsIn(dir)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if err := j.read(path); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// journalsIn lists the journals of a folder, sorted.
func journalsIn(dir string) ([]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, f := range files {
		if ok, _ := filepath.Match("journal*.jsonl", f.Name()); ok {
			paths = append(paths, filepath.Join(dir, f.Name()))
		}
	}
	return paths, nil
}

// read indexes one journal. A last line without its end is being written, or was
// when its writer died; it does not count.
func (j *journals) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n := len(j.paths)
	var from int64
	for in := bufio.NewReaderSize(f, 1<<20); ; {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if from == 0 {
			var h header
			if err := readHeader(line, &h); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			j.paths, j.shards = append(j.paths, path), append(j.shards, h.Shard)
		} else {
			j.entry(line, entryAt{file: n, from: from, length: len(line)})
		}
		from += int64(len(line))
	}
}

func (j *journals) entry(line []byte, at entryAt) {
	var e Entry // all of it: what is wrong must not come up when it is read back
	if err := json.Unmarshal(line, &e); err != nil || e.ID == "" || !slices.Contains(Statuses, e.Status) {
		j.Damaged++
		return
	}
	at.status = e.Status
	if old, ok := j.at[e.ID]; !ok || old.status == Failed {
		j.at[e.ID] = at
	}
}

func readHeader(line []byte, h *header) error {
	if err := json.Unmarshal(line, h); err != nil || h.Format != journalFormat {
		return errors.New("not a journal of sim sweep")
	}
	if h.Version != journalVersion {
		return fmt.Errorf("journal of version %d, this program reads version %d", h.Version, journalVersion)
	}
	if b := build(); h.Build != b {
		return fmt.Errorf("computed by another build of sim (%s; this is %s), whose numbers may differ: --restart discards it", h.Build, b)
	}
	return nil
}

// done reports whether an identity needs no computation.
func (j *journals) done(id identity) bool {
	e, ok := j.at[id]
	return ok && e.status != Failed
}

// entries reads entries one by one.
type entries struct {
	j     *journals
	files []*os.File
}

func (j *journals) open() (*entries, error) {
	e := &entries{j: j}
	for _, p := range j.paths {
		f, err := os.Open(p)
		if err != nil {
			e.close()
			return nil, err
		}
		e.files = append(e.files, f)
	}
	return e, nil
}

func (e *entries) close() {
	for _, f := range e.files {
		_ = f.Close() // was only read
	}
}

func (e *entries) get(id identity) (*Entry, error) {
	at := e.j.at[id]
	line := make([]byte, at.length)
	if _, err := e.files[at.file].ReadAt(line, at.from); err != nil {
		return nil, err
	}
	var out Entry
	return &out, json.Unmarshal(line, &out)
}

// journal is the one that this process writes.
type journal struct {
	f    *os.File
	lock *flock.Flock
}

// openJournal opens a shard's journal to append, alone, and cuts off a line that
// was being written when the last writer died. With restart it begins anew, and
// that of a whole sweep removes those of shards.
func openJournal(dir string, s Shard, restart bool) (*journal, error) {
	path := filepath.Join(dir, journalName(s))
	j := &journal{lock: flock.New(path, flock.SetPermissions(0o644))}
	got, err := j.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	if !got {
		return nil, fmt.Errorf("%s is being written by another sim sweep", path)
	}
	if j.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return nil, errors.Join(err, j.lock.Close())
	}
	end := int64(0)
	if restart {
		err = removeOthers(dir, s)
	} else {
		end, err = wholeLines(j.f)
	}
	if err == nil {
		err = j.f.Truncate(end)
	}
	if err == nil {
		_, err = j.f.Seek(end, io.SeekStart)
	}
	if err == nil && end == 0 {
		err = j.line(header{Format: journalFormat, Version: journalVersion, Build: build(), Shard: s})
	}
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

func removeOthers(dir string, s Shard) error {
	paths := []string{filepath.Join(dir, ResultsFile)}
	if s.Of <= 1 {
		all, err := journalsIn(dir)
		if err != nil {
			return err
		}
		paths = append(paths, all...)
	}
	for _, p := range paths {
		if filepath.Base(p) == journalName(s) {
			continue
		}
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// wholeLines is where the last whole line of a file ends.
func wholeLines(f *os.File) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	const block = 1 << 16
	for buf := make([]byte, block); end > 0; {
		n := min(end, block)
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// line writes a value as one line by one call, so that a process that is killed
// leaves whole lines but for the last.
func (j *journal) line(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = j.f.Write(append(data, '\n'))
	return err
}

func (j *journal) close() error {
	return errors.Join(j.f.Sync(), j.f.Close(), j.lock.Close())
}
