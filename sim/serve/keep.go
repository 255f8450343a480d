package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"orrery/sim/compare"
)

// What the server keeps of a run that is done, in DIR/runs/NUMBER. A folder is written
// under a name that begins with a dot and renamed once it is whole.
const (
	runsDir      = "runs"
	viewFile     = "run.json"
	scenarioFile = "scenario.toml"
	resultFile   = "result.json" // as `sim run --json` prints it
	reportFile   = "report.html.gz"
	traceFile    = "timeline.pftrace.gz"
	unfinished   = ".new-"
	discarded    = ".old-"
)

// kept is run.json.
type kept struct {
	View View   `json:"run"`
	Name string `json:"name"` // that stands for the scenario's file
}

// open opens the server's folder for itself alone and reads the runs in it.
func (s *Server) open() (err error) {
	if err := os.MkdirAll(s.cfg.Dir, 0o755); err != nil {
		return err
	}
	if s.root, err = os.OpenRoot(s.cfg.Dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.root.Close())
		}
	}()
	if err := s.root.MkdirAll(runsDir, 0o755); err != nil {
		return err
	}
	s.lock = flock.New(filepath.Join(s.cfg.Dir, runsDir, ".lock"), flock.SetPermissions(0o644))
	switch got, err := s.lock.TryLock(); {
	case err != nil:
		return err
	case !got:
		return fmt.Errorf("%s is used by another sim serve", s.cfg.Dir)
	}
	return s.load()
}

// load takes in the runs of the folder; one that cannot be read is left where it is and
// logged.
func (s *Server) load() error {
	entries, err := fs.ReadDir(s.root.FS(), runsDir)
	if err != nil {
		return err
	}
	var numbers []int
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) || strings.HasPrefix(e.Name(), discarded) {
			if err := s.root.RemoveAll(path.Join(runsDir, e.Name())); err != nil {
				return err
			}
		}
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 0 && e.Name() == strconv.Itoa(n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		s.runs.next = n + 1
		r, err := s.readRun(n)
		if err != nil {
			s.log.Printf("run %d is not shown: %v", n, err)
			continue
		}
		s.runs.list = append(s.runs.list, r)
		s.runs.touch(r)
	}
	s.forget(s.runs.evict())
	return nil
}

func (s *Server) readRun(n int) (*run, error) {
	at := func(file string) string { return path.Join(runsDir, strconv.Itoa(n), file) }
	read := func(file string) ([]byte, error) {
		f, err := s.root.Open(at(file))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxBlob+1))
		if err == nil && len(data) > maxBlob {
			err = fmt.Errorf("%s has more than %d bytes", file, maxBlob)
		}
		return data, err
	}
	var k kept
	data, err := read(viewFile)
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil {
		return nil, err
	}
	r := &run{number: n, view: k.View, cancel: func() {}}
	if r.view.ID != strconv.Itoa(n) || r.view.State != Done || r.view.Summary == nil {
		return nil, fmt.Errorf("%s is not of a run %d that is done", viewFile, n)
	}
	if r.text, err = read(scenarioFile); err != nil {
		return nil, err
	}
	r.name = k.Name
	if r.json, err = read(resultFile); err != nil {
		return nil, err
	}
	if r.result, err = compare.Read(resultFile, r.json); err != nil {
		return nil, err
	}
	if _, res, err := s.resolve(Asked{Name: k.Name, TOML: string(r.text), Sets: k.View.Sets}); err == nil { // else its inputs are not known to this program
		r.resolved = res
	}
	r.report, r.trace = blob{path: at(reportFile), none: r.view.NoReport}, blob{path: at(traceFile), none: r.view.NoTrace}
	return r, nil
}

// save writes a run that is done to the folder, if there is one, and lets go of what is
// in memory. A run that cannot be written stays in memory, and the log says why.
func (s *Server) save(r *run) {
	if s.root == nil {
		return
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	if err := s.write(r); err != nil {
		s.log.Printf("run %d is not kept in %s: %v", r.number, s.cfg.Dir, err)
		return
	}
	if !s.runs.has(r) { // deleted while it was written
		s.discard(r.number)
		return
	}
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	dir := path.Join(runsDir, r.view.ID)
	r.report, r.trace = blob{path: path.Join(dir, reportFile), none: r.report.none}, blob{path: path.Join(dir, traceFile), none: r.trace.none}
}

func (s *Server) write(r *run) (err error) {
	view, o, _ := s.runs.see(r)
	head, err := encode(kept{view, r.name})
	if err != nil {
		return err
	}
	tmp := path.Join(runsDir, unfinished+view.ID)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.root.RemoveAll(tmp))
		}
	}()
	if err := s.root.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{viewFile, head}, {scenarioFile, r.text}, {resultFile, o.json}, {reportFile, o.report.data}, {traceFile, o.trace.data}} {
		if f.data == nil { // none was made
			continue
		}
		if err := s.root.WriteFile(path.Join(tmp, f.name), f.data, 0o644); err != nil {
			return err
		}
	}
	return s.root.Rename(tmp, path.Join(runsDir, view.ID))
}

// forget removes runs that are no longer kept from the folder.
func (s *Server) forget(runs []*run) {
	if s.root == nil || len(runs) == 0 {
		return
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	for _, r := range runs {
		s.discard(r.number)
	}
}

func (s *Server) discard(number int) {
	dir := path.Join(runsDir, strconv.Itoa(number))
	old := path.Join(runsDir, discarded+strconv.Itoa(number))
	err := s.root.Rename(dir, old)
	if errors.Is(err, fs.ErrNotExist) { // it was never written
		return
	}
	if err == nil {
		err = s.root.RemoveAll(old)
	}
	if err != nil {
		s.log.Printf("run %d stays in %s: %v", number, s.cfg.Dir, err)
	}
}

// document is a zipped document of a run; the caller closes it.
func (s *Server) document(b blob) (io.ReadCloser, error) {
	if b.path == "" {
		return io.NopCloser(bytes.NewReader(b.data)), nil
	}
	return s.root.Open(b.path)
}
