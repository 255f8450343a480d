package results

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// Table is what a query returned: int64, float64, string or nil in each cell.
type Table struct {
	Columns []string
	Rows    [][]any
}

// Query runs SQL that reads the database at path; what would write fails.
func Query(ctx context.Context, path, query string) (t *Table, err error) {
	db, err := open(path, "ro")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	t = &Table{}
	if t.Columns, err = rows.Columns(); err != nil {
		return nil, err
	}
	if len(t.Columns) == 0 {
		return nil, errors.New("the statement returns no rows; only queries are run")
	}
	for rows.Next() {
		row := make([]any, len(t.Columns))
		at := make([]any, len(row))
		for i := range row {
			at[i] = &row[i]
		}
		if err := rows.Scan(at...); err != nil {
			return nil, err
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = string(b)
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t, rows.Err()
}

// Text is a cell for people and CSV; "" for what is absent.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// CSV writes the table with a header (RFC 4180, lines end in \n).
func (t *Table) CSV(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write(t.Columns); err != nil {
		return err
	}
	for _, row := range t.Rows {
		rec := make([]string, len(row))
		for i, v := range row {
			rec[i] = Text(v)
		}
		if err := c.Write(rec); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// JSON writes one object a line.
func (t *Table) JSON(w io.Writer) error {
	for _, row := range t.Rows {
		line := []byte{'{'}
		for i, v := range row {
			if i > 0 {
				line = append(line, ',')
			}
			key, err := json.Marshal(t.Columns[i])
			if err != nil {
				return err
			}
			val, err := json.Marshal(v)
			if err != nil {
				return err
			}
			line = append(append(append(line, key...), ':'), val...)
		}
		if _, err := w.Write(append(line, '}', '\n')); err != nil {
			return err
		}
	}
	return nil
}

// Parquet writes the table as a Parquet file: each column optional, an INT64, a
// DOUBLE or a string, by what its cells are.
func (t *Table) Parquet(w io.Writer) error {
	kinds := make([]reflect.Type, len(t.Columns))
	fields := make([]reflect.StructField, len(t.Columns))
	seen := map[string]bool{}
	for i, name := range t.Columns {
		if seen[name] {
			return fmt.Errorf("two columns are called %q; Parquet has each once: name them with AS", name)
		}
		if strings.ContainsAny(name, ",\"`\\") || name == "" || name == "-" {
			return fmt.Errorf("Parquet cannot have a column %q; name it with AS", name)
		}
		seen[name] = true
		kinds[i] = t.kind(i)
		// A struct keeps the order of columns, which a parquet.Group does not.
		fields[i] = reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: reflect.PointerTo(kinds[i]),
			Tag: reflect.StructTag(fmt.Sprintf("parquet:%q", name+",optional,zstd"))}
	}
	schema := parquet.SchemaOf(reflect.New(reflect.StructOf(fields)).Interface())
	out := parquet.NewWriter(w, schema)
	for _, row := range t.Rows {
		values := make(parquet.Row, len(row))
		for i, v := range row {
			switch {
			case v == nil:
				values[i] = parquet.NullValue().Level(0, 0, i)
				continue
			case kinds[i].Kind() == reflect.Float64:
				if n, ok := v.(int64); ok {
					v = float64(n)
				}
			case kinds[i].Kind() == reflect.String:
				v = Text(v)
			}
			values[i] = parquet.ValueOf(v).Level(0, 1, i)
		}
		if _, err := out.WriteRows([]parquet.Row{values}); err != nil {
			return err
		}
	}
	return out.Close()
}

// kind is the narrowest type that holds all cells of a column.
func (t *Table) kind(col int) reflect.Type {
	kind := reflect.TypeFor[int64]()
	for _, row := range t.Rows {
		switch row[col].(type) {
		case nil, int64:
		case float64:
			kind = reflect.TypeFor[float64]()
		default:
			return reflect.TypeFor[string]()
		}
	}
	return kind
}
