package calibrate

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"orrery/kernels/sample"
	"orrery/sim/hw"
)

// ImportTables turns the rows of public tables under dir into rows of samples, one
// sample a row: the median that the table gives. Kernels are named by their table,
// hashes are the table's. Rows of samples files and kernels that have no text are
// counted in left, by reason.
func ImportTables(ctx context.Context, dir, gpu string) (h sample.Header, rows []sample.Row, left Rejected, err error) {
	g, err := hw.LookupGPU(gpu)
	if err != nil {
		return h, nil, nil, err
	}
	t, err := readTables(ctx, dir, g)
	if err != nil {
		return h, nil, nil, err
	}
	left = Rejected{}
	sums := map[string]string{}
	for _, u := range t.Used {
		sums[u.Table] = u.SHA256
		for why, n := range u.Rejected {
			left[why] += n
		}
	}
	for _, name := range t.Unread {
		left["no reader knows "+name]++
	}
	seen := map[string]int{}
	for _, s := range t.Samples {
		if s.Own {
			left["samples already"]++
			continue
		}
		name, shape, ok := KernelText(s.Kernel)
		if !ok {
			left[fmt.Sprintf("no text for a kernel like %s", name)]++
			continue
		}
		kernel := strings.TrimSuffix(path.Base(s.Table), path.Ext(s.Table))
		switch f := string(s.Kernel.Family()); f {
		case "collective", "ep_alltoall":
			kernel = strings.TrimPrefix(name, "ep_") + "-" + kernel
		case "memory_bound":
			op, _ := shape.Get("op")
			kernel = op
		}
		if s.Apart != "" {
			kernel += "_" + s.Apart
		}
		shape, dtype := splitDType(s.Kernel, shape)
		r := sample.Row{Family: string(s.Kernel.Family()), Kernel: kernel, Hash: sums[s.Table][:12], Shape: shape, DType: cmp.Or(dtype, s.DType), Unit: "us",
			Samples: []float64{s.Micros}}
		r.Summarise()
		if at, dup := seen[r.ID()]; dup {
			rows[at].Samples = append(rows[at].Samples, s.Micros)
			rows[at].Summarise()
			continue
		}
		seen[r.ID()] = len(rows)
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b sample.Row) int { return cmpStrings(a.ID(), b.ID()) })
	return sample.Header{GPU: g.Name, Launcher: "table", Host: "public tables: " + path.Base(dir)}, rows, left, nil
}
