package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/calibrate"
	"orrery/kernels/sample"
	"orrery/sim/report"
)

// calibrateCheckCmd is the regression test of kernels: two files of samples.
type calibrateCheckCmd struct {
	Baseline  string `arg:"" help:"File of samples to compare with."`
	New       string `arg:"" help:"File of samples to judge."`
	Threshold string `default:"3%" help:"Slowdown of a family that fails."`
	JSON      bool   `name:"json" help:"Print one JSON document and nothing else."`
	JUnit     string `name:"junit" placeholder:"FILE" help:"Also write a JUnit report: a test case for each family."`
}

func (c *calibrateCheckCmd) Run(std *streams) error {
	threshold, err := parseShare(c.Threshold)
	if err != nil {
		return badInput(fmt.Errorf("--threshold: %w", err))
	}
	baseline, err := readSamples(std, c.Baseline)
	if err != nil {
		return badInput(err)
	}
	fresh, err := readSamples(std, c.New)
	if err != nil {
		return badInput(err)
	}
	cmp, err := calibrate.Compare(baseline, fresh, threshold)
	if err != nil {
		return badInput(err)
	}
	if c.JUnit != "" {
		if err := writeFile(c.JUnit, func(w io.Writer) error { return writeJUnit(w, cmp) }); err != nil {
			return badInput(err)
		}
	}
	if c.JSON {
		err = writeJSON(std.out, cmp)
	} else {
		err = printComparison(std, cmp)
	}
	if err != nil {
		return err
	}
	if cmp.Slower {
		return checkFailed(fmt.Errorf("slower than %s by more than %s: %s", c.Baseline, c.Threshold, strings.Join(slowerFamilies(cmp), ", ")))
	}
	return nil
}

// readSamples reads a file; a row that was cut off is said and left out.
func readSamples(std *streams, path string) (*sample.File, error) {
	f, err := sample.ReadFile(path)
	var truncated *sample.TruncatedError
	if errors.As(err, &truncated) {
		fmt.Fprintln(std.err, "sim: warning:", err)
		return f, nil
	}
	return f, err
}

// parseShare reads "3%" or "0.03".
func parseShare(s string) (float64, error) {
	text, percent := strings.CutSuffix(s, "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if percent {
		x /= 100
	}
	if err != nil || !(x >= 0 && x < 10) {
		return 0, fmt.Errorf("%q, must be a share from 0 up, like 3%% or 0.03", s)
	}
	return x, nil
}

func slowerFamilies(c calibrate.Comparison) []string {
	var out []string
	for _, f := range c.Families {
		if f.Verdict == "slower" {
			out = append(out, fmt.Sprintf("%s (%s)", f.Family, change(f.Ratio)))
		}
	}
	return out
}

// change prints a ratio of times as a signed share.
func change(ratio float64) string { return fmt.Sprintf("%+.1f %%", 100*(ratio-1)) }

// most rows and IDs that are printed; --json has all.
const most = 5

func printComparison(std *streams, c calibrate.Comparison) error {
	fmt.Fprintf(std.out, "%s against %s; + is slower\n", c.New, c.Baseline)
	if c.Synthetic {
		fmt.Fprintln(std.out, "synthetic: numbers of a fake GPU")
	}
	for _, w := range c.Warnings {
		fmt.Fprintln(std.out, "warning:", w)
	}
	var rows []table.Row
	for _, f := range c.Families {
		rows = append(rows, table.Row{f.Family, f.Rows, change(f.Ratio), change(f.Low) + " to " + change(f.High), fmt.Sprintf("%.2g", f.P), f.Verdict})
	}
	if err := report.Table(std.out, table.Row{"family", "rows", "change", "95 % interval", "p", "verdict"}, rows); err != nil {
		return err
	}
	for _, f := range c.Families {
		for i, r := range f.Worst {
			if i == most {
				fmt.Fprintf(std.out, "… and %d more rows of %s\n", len(f.Worst)-most, f.Family)
				break
			}
			fmt.Fprintf(std.out, "%s: %.4g → %.4g %s (%s)\n", r.ID, r.Old, r.New, r.Unit, change(r.Ratio))
		}
	}
	printAlone(std, "only in the baseline", c.OnlyBaseline)
	printAlone(std, "only in the new file", c.OnlyNew)
	if c.NotJudged > 0 {
		fmt.Fprintf(std.out, "%d rows not judged: watts, or zero\n", c.NotJudged)
	}
	return nil
}

func printAlone(std *streams, what string, ids []string) {
	if len(ids) == 0 {
		return
	}
	fmt.Fprintf(std.out, "%d rows %s:\n", len(ids), what)
	for i, id := range ids {
		if i == most {
			fmt.Fprintf(std.out, "  … and %d more (--json names all)\n", len(ids)-most)
			return
		}
		fmt.Fprintln(std.out, "  "+id)
	}
}

// junitSuite is the part of JUnit's format that every reader knows.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func writeJUnit(w io.Writer, c calibrate.Comparison) error {
	s := junitSuite{Name: "sim calibrate check", Tests: len(c.Families)}
	for _, f := range c.Families {
		line := fmt.Sprintf("%s: %s (%s to %s) over %d rows, p %.2g: %s", f.Family, change(f.Ratio), change(f.Low), change(f.High), f.Rows, f.P, f.Verdict)
		k := junitCase{Class: "calibrate", Name: f.Family, Output: line}
		if f.Verdict == "slower" {
			var b strings.Builder
			for _, r := range f.Worst {
				fmt.Fprintf(&b, "%s: %.4g → %.4g %s\n", r.ID, r.Old, r.New, r.Unit)
			}
			k.Failure = &junitFailure{Message: line, Text: b.String()}
			s.Failures++
		}
		s.Cases = append(s.Cases, k)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
