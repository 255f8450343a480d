package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/sim/report"
	"orrery/sim/sweep"
	"orrery/sim/sweep/results"
)

// resultsCmd is `sim results`: the points of a sweep as tables.
type resultsCmd struct {
	Dir    string `arg:"" help:"Folder of a sweep, finished or not."`
	SQL    string `name:"sql" placeholder:"QUERY" help:"Ask in SQL (SQLite): tables results, parts and memory of DIR/results.sqlite."`
	Format string `enum:"table,csv,json,parquet" default:"table" help:"One of table, csv, json (a line for each row), parquet."`
	Out    string `placeholder:"FILE" help:"Write there instead of printing."`
	HTML   string `name:"html" placeholder:"FILE" help:"Write a page of all points there: any value against another with the Pareto front, filters, a table."`
	Top    int    `default:"20" help:"Points of the table without --sql, best first."`
}

// page writes the page of --html.
func (c *resultsCmd) page(std *streams) error {
	if c.SQL != "" || c.Out != "" || c.Format != "table" {
		return badInput(fmt.Errorf("--html shows all points of the sweep: not with --sql, --format or --out"))
	}
	p, err := report.SweepPage(c.Dir, 0)
	if err != nil {
		return badInput(err)
	}
	if err := writeFile(c.HTML, func(w io.Writer) error { return report.Points(w, *p) }); err != nil {
		return badInput(err)
	}
	_, err = fmt.Fprintf(std.out, "wrote %s\n", c.HTML)
	return err
}

// allPoints is what is exported where nothing is asked.
const allPoints = "SELECT * FROM results ORDER BY point"

func (c *resultsCmd) Run(ctx context.Context, std *streams) error {
	if c.HTML != "" {
		return c.page(std)
	}
	if c.Format == "parquet" && c.Out == "" {
		return badInput(fmt.Errorf("--format parquet is not for printing: --out FILE"))
	}
	if c.Top < 1 {
		return badInput(fmt.Errorf("--top is %d, must be 1 or more", c.Top))
	}
	db, err := results.Import(ctx, c.Dir)
	if err != nil {
		return badInput(err)
	}
	if c.SQL == "" && c.Format == "table" {
		var text bytes.Buffer
		if err := c.best(ctx, &text, db); err != nil {
			return err
		}
		return c.write(std, func(w io.Writer) error { _, err := w.Write(text.Bytes()); return err })
	}
	query := c.SQL
	if query == "" {
		query = allPoints
	}
	t, err := results.Query(ctx, db, query)
	if err != nil {
		return badInput(fmt.Errorf("%s: %w", query, err))
	}
	form := map[string]func(io.Writer) error{"csv": t.CSV, "json": t.JSON, "parquet": t.Parquet,
		"table": func(w io.Writer) error { return printTable(w, t) }}[c.Format]
	return c.write(std, form)
}

// write prints, or writes the file of --out.
func (c *resultsCmd) write(std *streams, form func(io.Writer) error) error {
	if c.Out == "" {
		return badInputIf(form(std.out))
	}
	if err := writeFile(c.Out, form); err != nil {
		return badInput(err)
	}
	_, err := fmt.Fprintf(std.out, "wrote %s\n", c.Out)
	return err
}

func badInputIf(err error) error {
	if err == nil {
		return nil
	}
	return badInput(err)
}

// printTable prints what a query returned, floats in four digits.
func printTable(w io.Writer, t *results.Table) error {
	head := make(table.Row, len(t.Columns))
	for i, name := range t.Columns {
		head[i] = name
	}
	rows := make([]table.Row, len(t.Rows))
	for i, row := range t.Rows {
		rows[i] = make(table.Row, len(row))
		for j, v := range row {
			rows[i][j] = shortText(v)
		}
	}
	return report.Table(w, head, rows)
}

func shortText(v any) string {
	if x, ok := v.(float64); ok {
		return fmt.Sprintf("%.4g", x)
	}
	return results.Text(v)
}

// best prints how the points ended and the fastest that fit.
func (c *resultsCmd) best(ctx context.Context, w io.Writer, db string) error {
	counts, err := results.Query(ctx, db, "SELECT status, count(*) FROM results GROUP BY status")
	if err != nil {
		return err
	}
	byStatus := map[sweep.Status]int{}
	for _, row := range counts.Rows {
		if n, ok := row[1].(int64); ok {
			byStatus[sweep.Status(results.Text(row[0]))] = int(n)
		}
	}
	if _, err := fmt.Fprintf(w, "%s: %s\n\n", c.Dir, report.SweepCounts(byStatus)); err != nil {
		return err
	}
	t, err := results.Query(ctx, db, fmt.Sprintf("SELECT * FROM results WHERE status = 'ok' ORDER BY tokens_per_s_per_gpu DESC, point LIMIT %d", c.Top))
	if err != nil {
		return err
	}
	col := map[string]int{}
	for i, name := range t.Columns {
		col[name] = i
	}
	number := func(row []any, name, format string, times float64) string {
		x, ok := row[col[name]].(float64)
		if !ok {
			return ""
		}
		return fmt.Sprintf(format, times*x)
	}
	var rows []table.Row
	for _, row := range t.Rows {
		var axes []string
		for i := col["reason"] + 1; i < col["step_time_s"]; i++ {
			if row[i] != nil {
				axes = append(axes, shortColumn(t.Columns[i])+" "+shortText(row[i]))
			}
		}
		rows = append(rows, table.Row{row[0], number(row, "step_time_s", "%.4g", 1), number(row, "tokens_per_s_per_gpu", "%.0f", 1),
			number(row, "mfu", "%.1f %%", 100), number(row, "peak_memory_gib", "%.1f", 1), strings.Join(axes, ", ")})
	}
	return report.Table(w, table.Row{"point", "step s", "tok/s/GPU", "MFU", "GiB", "where"}, rows)
}

// shortColumn is an axis's column without the section of its key.
func shortColumn(name string) string {
	for _, section := range []string{"cluster_override_", "cluster_", "model_", "training_", "parallel_", "schedule_", "framework_"} {
		if s, ok := strings.CutPrefix(name, section); ok {
			return s
		}
	}
	return name
}
