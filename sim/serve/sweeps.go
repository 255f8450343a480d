package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"path/filepath"
	"strings"

	"orrery/sim/sweep"
	"orrery/sim/sweep/results"
)

// Bounds of what is looked through and sent.
const (
	maxEntries = 20000 // of the folder that are looked at for sweeps
	maxDepth   = 4
	maxRows    = 5000
)

var errEnough = errors.New("enough")

// sweeps lists the folders of sweeps, by path below --dir.
func (s *Server) sweeps(w http.ResponseWriter, _ *http.Request) {
	out := struct {
		Dir    bool     `json:"dir"` // whether there is one
		Sweeps []string `json:"sweeps"`
		Note   string   `json:"note,omitempty"`
	}{Dir: s.root != nil, Sweeps: []string{}}
	if s.root == nil {
		answer(w, http.StatusOK, out)
		return
	}
	seen := 0
	err := fs.WalkDir(s.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		seen++
		switch {
		case seen > maxEntries:
			return errEnough
		case err != nil: // a folder that cannot be read has none to show
			return fs.SkipDir
		case d.IsDir() && (p == runsDir || strings.HasPrefix(d.Name(), ".") && p != "." || strings.Count(p, "/") >= maxDepth):
			return fs.SkipDir
		case !d.IsDir() && d.Name() == sweep.PointsFile:
			out.Sweeps = append(out.Sweeps, path.Dir(p))
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		out.Note = fmt.Sprintf("the folder has more than %d entries; sweeps beyond them are not listed", maxEntries)
	case err != nil:
		fail(w, http.StatusInternalServerError, "cannot look for sweeps: %v", err)
		return
	}
	answer(w, http.StatusOK, out)
}

// Points is a sweep as a table.
type Points struct {
	Sweep   string   `json:"sweep"`
	Columns []string `json:"columns"`
	Rows    [][]any  `json:"rows"`
	Note    string   `json:"note,omitempty"`
}

// sweep answers with a sweep's points. Its results are imported into the SQLite file of
// its folder, where they are newer.
func (s *Server) sweep(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("path")
	if s.root == nil {
		fail(w, http.StatusNotFound, "the server was started without --dir, where sweeps are")
		return
	}
	if !fs.ValidPath(name) || s.inside(name) != nil {
		fail(w, http.StatusNotFound, "there is no sweep %q below --dir", clip(name))
		return
	}
	db, err := results.Import(r.Context(), filepath.Join(s.cfg.Dir, filepath.FromSlash(name)))
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, "%s: %v", clip(name), err)
		return
	}
	t, err := results.Query(r.Context(), db, fmt.Sprintf("SELECT * FROM results ORDER BY point LIMIT %d", maxRows+1))
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, "%s: %v", clip(name), err)
		return
	}
	out := Points{Sweep: name, Columns: t.Columns, Rows: t.Rows}
	if len(t.Rows) > maxRows {
		out.Rows, out.Note = t.Rows[:maxRows], fmt.Sprintf("the first %d points; sim results shows all", maxRows)
	}
	if out.Rows == nil {
		out.Rows = [][]any{}
	}
	answer(w, http.StatusOK, out)
}

// inside reports an error unless a folder is that of a sweep, and it and all that is in
// it lie below --dir: a link that leads out does not.
func (s *Server) inside(name string) error {
	if _, err := s.root.Stat(path.Join(name, sweep.PointsFile)); err != nil {
		return err
	}
	entries, err := fs.ReadDir(s.root.FS(), name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := s.root.Stat(path.Join(name, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
