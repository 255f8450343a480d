package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"orrery/calibrate"
	"orrery/kernels/sample"
)

// calibrateImportCmd writes what others measured as samples.
type calibrateImportCmd struct {
	From string `arg:"" help:"Trace of torch.profiler (*.json, *.json.gz), or a folder of public tables."`
	Out  string `required:"" placeholder:"FILE" help:"File of samples to write."`
	GPU  string `name:"gpu" placeholder:"NAME" help:"GPU of the tables; needed for a folder."`
	JSON bool   `name:"json" help:"Print one JSON document and nothing else."`
}

func (c *calibrateImportCmd) Run(ctx context.Context, std *streams) error {
	info, err := os.Stat(c.From)
	if err != nil {
		return badInput(err)
	}
	var h sample.Header
	var rows []sample.Row
	var done calibrate.Imported
	if info.IsDir() {
		if c.GPU == "" {
			return badInput(errors.New("--gpu: a folder of tables does not tell its GPU; name it, like --gpu h200"))
		}
		h, rows, done.Left, err = calibrate.ImportTables(ctx, c.From, c.GPU)
		done.Families = map[string]int{}
		for _, r := range rows {
			done.Families[r.Family]++
		}
	} else {
		if c.GPU != "" {
			return badInput(errors.New("--gpu: a trace tells its GPU itself"))
		}
		h, rows, done, err = calibrate.ImportKineto(c.From)
	}
	if err != nil {
		return badInput(err)
	}
	if err := writeFile(c.Out, func(w io.Writer) error { return sample.Write(w, h, rows) }); err != nil {
		return badInput(err)
	}
	if c.JSON {
		return writeJSON(std.out, done)
	}
	if done.Kernels > 0 {
		fmt.Fprintf(std.out, "%d kernels of %s\n", done.Kernels, h.GPU)
	}
	for _, f := range slices.Sorted(maps.Keys(done.Families)) {
		fmt.Fprintf(std.out, "%s: %d rows\n", f, done.Families[f])
	}
	for _, why := range slices.Sorted(maps.Keys(done.Left)) {
		fmt.Fprintf(std.out, "%d × %s\n", done.Left[why], why)
	}
	if n := len(done.Unknown); n > 0 {
		fmt.Fprintf(std.out, "%d kernels belong to no family, the heaviest:\n", n)
		for _, u := range done.Unknown[:min(n, 2*most)] {
			fmt.Fprintf(std.out, "  %.1f us in %d: %.56s\n", u.Micros, u.Events, u.Name)
		}
	}
	_, err = fmt.Fprintf(std.out, "wrote %s (%d rows)\n", c.Out, len(rows))
	return err
}
