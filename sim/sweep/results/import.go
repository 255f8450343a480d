// Package results makes tables of a sweep's results: a SQLite file that answers
// queries, and CSV and Parquet of what they return.
package results

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite", pure Go

	"orrery/sim"
	"orrery/sim/sweep"
)

// File is the database's name in a sweep's folder.
const File = "results.sqlite"

// scalar is a field of sim.Result that is one value.
type scalar struct {
	name  string // in JSON, and of the column
	field int
	decl  string // SQLite's type
}

// scalars are the fields of a result that are columns; the others are rows of
// the tables parts and memory.
var scalars = func() []scalar {
	var out []scalar
	for i := range reflect.TypeFor[sim.Result]().NumField() {
		f := reflect.TypeFor[sim.Result]().Field(i)
		decl, ok := map[reflect.Kind]string{reflect.String: "TEXT", reflect.Float64: "REAL", reflect.Int64: "INTEGER", reflect.Bool: "INTEGER"}[f.Type.Kind()]
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); ok && name != "name" {
			out = append(out, scalar{name, i, decl})
		}
	}
	return out
}()

// Import writes DIR/results.sqlite of all points that are done, unless one is
// there that is as new as the journals, and returns its path. Its tables:
//
//	results  point, id, status, reason, the axes' keys (dots are underscores), the
//	         single values of the result
//	parts    point, field, part, value: breakdown_s, phases_s, hidden_comm_s,
//	         critical_path and price_sources
//	memory   point, stage, peak_gib, at
func Import(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, File)
	stamp, err := stampOf(dir)
	if err != nil {
		return "", err
	}
	if old, err := readStamp(ctx, path); err == nil && old == stamp {
		return path, nil
	}
	tmp, err := os.CreateTemp(dir, "."+File+"-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	if err := errors.Join(tmp.Chmod(0o644), tmp.Close()); err != nil {
		return "", err
	}
	if err := fill(ctx, tmp.Name(), dir, stamp); err != nil {
		return "", err
	}
	return path, os.Rename(tmp.Name(), path)
}

// stampOf changes whenever the points or a journal do.
func stampOf(dir string) (string, error) {
	var b strings.Builder
	for _, pattern := range []string{sweep.PointsFile, "journal*.jsonl"} {
		files, err := os.ReadDir(dir)
		if err != nil {
			return "", err
		}
		for _, f := range files {
			if ok, _ := filepath.Match(pattern, f.Name()); !ok {
				continue
			}
			info, err := f.Info()
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "%s %d %d\n", f.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String(), nil
}

func readStamp(ctx context.Context, path string) (stamp string, err error) {
	db, err := open(path, "ro")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return stamp, db.QueryRowContext(ctx, "SELECT stamp FROM imported").Scan(&stamp)
}

// open opens a database file; mode is "ro" or "rw".
func open(path, mode string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: "mode=" + mode}
	return sql.Open("sqlite", u.String())
}

// fill writes a new database. It is renamed once it is whole, so that it needs
// no journal of its own.
func fill(ctx context.Context, path, dir, stamp string) (err error) {
	db, err := open(path, "rw")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	keys, err := axisKeys(dir)
	if err != nil {
		return err
	}
	for _, stmt := range append([]string{"PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"}, tables(keys)...) {
		if _, err := db.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("%s: %w", stmt, err)
		}
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	w := &writer{ctx: ctx, keys: keys}
	if err = w.prepare(tx); err == nil {
		_, err = sweep.Rows(dir, w.row)
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO imported VALUES (?)", stamp)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// axisKeys are the keys that any point sets, sorted.
func axisKeys(dir string) ([]string, error) {
	keys := map[string]bool{}
	_, err := sweep.Rows(dir, func(r *sweep.Row) error {
		for k := range r.Values {
			keys[k] = true
		}
		return nil
	})
	return slices.Sorted(maps.Keys(keys)), err
}

// Column is the column of a key of the scenario.
func Column(key string) string { return strings.ReplaceAll(key, ".", "_") }

func tables(keys []string) []string {
	var cols strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&cols, ", %q", Column(k)) // no type: what the values are
	}
	for _, s := range scalars {
		fmt.Fprintf(&cols, ", %q %s", s.name, s.decl)
	}
	return []string{
		"CREATE TABLE results (point INTEGER PRIMARY KEY, id TEXT NOT NULL, status TEXT NOT NULL, reason TEXT" + cols.String() + ")",
		"CREATE TABLE parts (point INTEGER NOT NULL, field TEXT NOT NULL, part TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (point, field, part)) WITHOUT ROWID",
		"CREATE TABLE memory (point INTEGER NOT NULL, stage INTEGER NOT NULL, peak_gib REAL NOT NULL, at TEXT NOT NULL, PRIMARY KEY (point, stage)) WITHOUT ROWID",
		"CREATE TABLE imported (stamp TEXT NOT NULL)",
	}
}

// writer inserts rows.
type writer struct {
	ctx                   context.Context
	keys                  []string
	results, parts, stage *sql.Stmt
}

func (w *writer) prepare(tx *sql.Tx) error {
	n := 4 + len(w.keys) + len(scalars)
	var errs [3]error
	w.results, errs[0] = tx.PrepareContext(w.ctx, "INSERT INTO results VALUES (?"+strings.Repeat(", ?", n-1)+")")
	w.parts, errs[1] = tx.PrepareContext(w.ctx, "INSERT INTO parts VALUES (?, ?, ?, ?)")
	w.stage, errs[2] = tx.PrepareContext(w.ctx, "INSERT INTO memory VALUES (?, ?, ?, ?)")
	return errors.Join(errs[:]...)
}

func (w *writer) row(r *sweep.Row) error {
	args := []any{r.Point, r.ID, string(r.Status), nil}
	if r.Reason != "" {
		args[3] = r.Reason
	}
	for _, k := range w.keys {
		args = append(args, cell(r.Values[k]))
	}
	var res sim.Result
	if r.Result == nil {
		args = append(args, make([]any, len(scalars))...)
		_, err := w.results.ExecContext(w.ctx, args...)
		return err
	}
	if err := json.Unmarshal(r.Result, &res); err != nil {
		return fmt.Errorf("point %d: %w", r.Point, err)
	}
	v := reflect.ValueOf(res)
	for _, s := range scalars {
		args = append(args, v.Field(s.field).Interface())
	}
	if _, err := w.results.ExecContext(w.ctx, args...); err != nil {
		return err
	}
	for i := range v.NumField() {
		parts, ok := v.Field(i).Interface().(map[string]float64)
		if !ok {
			continue
		}
		field, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		for _, part := range slices.Sorted(maps.Keys(parts)) {
			if _, err := w.parts.ExecContext(w.ctx, r.Point, field, part, parts[part]); err != nil {
				return err
			}
		}
	}
	for _, m := range res.MemoryGiBByStage {
		if _, err := w.stage.ExecContext(w.ctx, r.Point, m.Stage, m.PeakGiB, m.At); err != nil {
			return err
		}
	}
	return nil
}

// cell is a value of an axis as SQLite keeps it; lists are JSON.
func cell(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if x, err := v.Float64(); err == nil {
			return x
		}
		return v.String()
	case nil, string, bool:
		return v
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
