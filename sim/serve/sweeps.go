package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"path/filepath"
	"strings"

	"orrery/sim/report"
	"orrery/sim/sweep"
)

// Bounds of what is looked through and sent.
const (
	maxEntries = 20000 // of the folder that are looked at for sweeps
	maxDepth   = 4
	maxPoints  = 50_000
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

// sweep answers with a page of a sweep's points.
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
	p, err := report.SweepPage(filepath.Join(s.cfg.Dir, filepath.FromSlash(name)), maxPoints)
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, "%s: %v", clip(name), err)
		return
	}
	var page bytes.Buffer
	if err := report.Points(&page, *p); err != nil {
		fail(w, http.StatusUnprocessableEntity, "%s: %v", clip(name), err)
		return
	}
	w.Header().Set("Content-Security-Policy", reportPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if _, err := w.Write(page.Bytes()); err != nil {
		s.log.Print(err)
	}
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
