package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/calibrate"
	"orrery/kernels/bench"
	"orrery/sim/report"
)

// calibrateStatusCmd prints what is known and what is not.
type calibrateStatusCmd struct {
	JSON bool `name:"json" help:"Print one JSON document and nothing else."`
}

// calibrationStatus is what `sim calibrate status --json` prints.
type calibrationStatus struct {
	calibrate.SampleStatus
	Profiles []calibrate.ProfileStatus `json:"profiles"`
}

func (c *calibrateStatusCmd) Run(std *streams) error {
	files, err := calibrate.MeasuredFiles()
	if err != nil {
		return err
	}
	profiles, err := calibrate.Status()
	if err != nil {
		return err
	}
	st := calibrationStatus{calibrate.StatusOfSamples(files, bench.Suites()), profiles}
	if c.JSON {
		return writeJSON(std.out, st)
	}
	if err := printMeasured(std, st.SampleStatus); err != nil {
		return err
	}
	fmt.Fprintln(std.out, "\nprofiles, and what they are fitted from:")
	return printProfiles(std, profiles)
}

// printMeasured prints the samples that the program holds, then what is missing.
func printMeasured(std *streams, st calibrate.SampleStatus) error {
	var rows []table.Row
	for _, m := range st.Measured {
		date, _, _ := strings.Cut(m.Date, "T")
		stale := ""
		if m.Stale > 0 {
			stale = fmt.Sprint(m.Stale)
		}
		rows = append(rows, table.Row{m.GPU, m.Family, m.Rows, fmt.Sprintf("%.0f", 100*m.Within), stale, date, m.File})
	}
	if len(rows) == 0 {
		fmt.Fprintln(std.out, "Nothing was measured here: calibrate/samples holds no file. `sim calibrate run`\nmeasures on a machine with a GPU.")
	} else {
		fmt.Fprintln(std.out, "measured:")
		if err := report.Table(std.out, table.Row{"gpu", "family", "rows", "in 2 %", "stale", "date", "file"}, rows); err != nil {
			return err
		}
	}
	if len(st.Missing) == 0 {
		fmt.Fprintln(std.out, "\nNo suite of kernels is built in: what is missing is not known.")
		return nil
	}
	rows = nil
	for _, m := range st.Missing {
		rows = append(rows, table.Row{cmp.Or(m.GPU, "any"), m.Family, m.Cases, m.Missing, m.First})
	}
	fmt.Fprintln(std.out, "\nmissing, of the cases that `sim calibrate run` knows:")
	return report.Table(std.out, table.Row{"gpu", "family", "cases", "missing", "first"}, rows)
}

func printProfiles(std *streams, all []calibrate.ProfileStatus) error {
	var rows []table.Row
	for _, p := range all {
		var fitted, missing []string
		derived := map[string][]string{}
		for _, f := range p.Families {
			switch f.From {
			case p.Profile:
				fitted = append(fitted, string(f.Family))
			case "":
				missing = append(missing, string(f.Family))
			default:
				derived[f.From] = append(derived[f.From], string(f.Family))
			}
		}
		add := func(how string, families []string) {
			for _, line := range wrap(families) {
				rows = append(rows, table.Row{p.Profile, how, line})
			}
		}
		add("fitted", fitted)
		for _, from := range slices.Sorted(maps.Keys(derived)) {
			add("derived from "+from, derived[from])
		}
		add("not measured", missing)
	}
	return report.Table(std.out, table.Row{"profile", "how", "families"}, rows)
}

// wrap joins names by commas, in lines that fit a table of 80 columns.
func wrap(names []string) []string {
	const width = 40
	var lines []string
	for _, n := range names {
		if last := len(lines) - 1; last >= 0 && len(lines[last])+len(n)+2 <= width {
			lines[last] += ", " + n
		} else {
			lines = append(lines, n)
		}
	}
	return lines
}
