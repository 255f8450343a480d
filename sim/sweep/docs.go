package sweep

import (
	"fmt"
	"io"
	"strings"
)

const docsHead = `# Sweeps

<!-- Generated from the schema (sweep.WriteDocs); do not edit. -->

A sweep asks one scenario's question at many points:

    sim sweep sweep.toml            # compute, or go on where the last start ended
    sim sweep sweep.toml --list     # the points, without computing any
    sim results sweep.sweep         # the fastest that fit

It is a TOML file, read strictly like a [scenario](scenario.md): what is wrong is named
with file, line and column, what was found, what is allowed and the nearest valid name.
` + "`sim list sweeps`" + ` shows those of the catalogue. This is one of them:

`

const docsFormulas = `
## Formulas

` + "`formula`" + ` and ` + "`when`" + ` are expressions of keys of the scenario, by their paths, in the
[Expr language](https://expr-lang.org/docs/language-definition). They see what the
scenario's file, ` + "`[set]`" + ` and the axes above write, not what a scenario leaves to its
defaults. ` + "`/`" + ` gives a float; a whole one is an integer where the key is one. The key of an
axis that does not apply, and that nothing else writes, has no value: ` + "`parallel.vp ?? 1`" + ` gives it one.
Beside Expr's functions there are:

`

const docsTail = `
Functions of the clock and of the order of maps are not there: the same file gives the
same points.

## Points

The points of a grid are in the order of its axes, the last varying fastest. A Latin
hypercube and a random sample draw from the values of each axis, or from all that a range
without step and count covers; a seed gives the same points on every machine, and one more
axis at the end moves none of the others. What ` + "`[[exclude]]`" + ` leaves out is counted in the
summary, and a sample is smaller by it.

Every point ends in one of four ways, and none is dropped:

| status | meaning |
|---|---|
| ` + "`ok`" + ` | simulated, and fits in memory |
| ` + "`does_not_fit`" + ` | simulated; ` + "`reason`" + ` says how much memory is missing |
| ` + "`refused`" + ` | the scenario language, the plan or the prices refuse it; ` + "`reason`" + ` says why |
| ` + "`failed`" + ` | a defect of the program; the next start tries it again |

Advice (` + "`fit_advice`" + ` with the cheapest change that fits) and expectations are those of single
runs, ` + "`sim run`" + `; a sweep leaves them out.

## Files

A sweep has a folder, ` + "`--out DIR`" + `, by default the file's name with ` + "`.sweep`" + `:

| file | content |
|---|---|
| ` + "`points.jsonl`" + ` | every point with its identity |
| ` + "`journal.jsonl`" + ` | what is done, in the order of completion; of shards one each |
| ` + "`results.jsonl`" + ` | one line a point, in order: ` + "`point`, `id`, `values`, `status`, `reason`, `result`" + ` |
| ` + "`results.sqlite`" + ` | the same as tables, made by ` + "`sim results`" + ` |

` + "`results.jsonl`" + ` is written once all points are done. It has the same bytes for any number
of workers and shards and after any interruption. ` + "`result`" + ` is what ` + "`sim run --json`" + ` prints.

The identity of a point is a hash of its resolved scenario and of the price profile. A
point of an identity that the folder has is not computed again: after Ctrl-C, kill -9, or a
change of the sweep, the same command computes only what is missing. Ctrl-C and SIGTERM let
the points in flight finish; kill -9 loses those. Journals of another build of sim are
refused, because its numbers may differ; ` + "`--restart`" + ` discards them.

## Shards

` + "`--shard I/N`" + ` computes the I-th (from 0) of N equal parts, the same points wherever it
runs. Shards may share a folder; ` + "`sim sweep merge DIR`" + ` then writes the results, or says which
shards are missing or failed and how to run them again. It may be called at any time and
as often as wanted.

    sim sweep sweep.toml --emit slurm --shards 8 > job.sh    # a job array
    sim sweep sweep.toml --emit k8s --shards 8 --image IMAGE > job.yaml    # an indexed job

In an array task the shard is taken from SLURM_ARRAY_TASK_ID, and the number of shards
from ` + "`--shards`" + `, or from SLURM_ARRAY_TASK_COUNT where that is not given; in a Kubernetes
indexed job from JOB_COMPLETION_INDEX and ` + "`--shards`" + `.

## Results

    sim results DIR --sql "SELECT parallel_tp, min(step_time_s) FROM results GROUP BY 1"
    sim results DIR --format csv --out points.csv        # or json, parquet; with --sql too
    sim results DIR --html points.html                   # a page to look at

` + "`sim results`" + ` reads unfinished sweeps too. The page draws any value against another with the
Pareto front of the points that fit, filters by each axis and gives the ` + "`--set`" + ` of the point
that is clicked: [report.md](report.md). ` + "`results.sqlite`" + ` has the tables

| table | columns |
|---|---|
| ` + "`results`" + ` | ` + "`point`, `id`, `status`, `reason`" + `; each key that an axis sets, its dots as underscores; each single value of the [result](scenario.md#the-result) |
| ` + "`parts`" + ` | ` + "`point`, `field`, `part`, `value`" + `: breakdown_s, phases_s, hidden_comm_s, critical_path and price_sources |
| ` + "`memory`" + ` | ` + "`point`, `stage`, `peak_gib`, `at`" + ` |
`

// WriteDocs writes the reference of the language, docs/sweep.md, with the text of
// a sweep as its example.
func WriteDocs(w io.Writer, example []byte) error {
	var b strings.Builder
	b.WriteString(docsHead)
	for line := range strings.Lines(string(example)) {
		b.WriteString(strings.TrimRight("    "+line, " \n") + "\n")
	}
	for _, s := range []struct {
		title string
		keys  []key
	}{{"Top", topKeys}, {"[[axis]]", axisKeys}, {"[[exclude]]", excludeKeys}} {
		fmt.Fprintf(&b, "\n## %s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", s.title)
		for _, k := range s.keys {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.name, k.kind, k.def, k.doc)
		}
	}
	b.WriteString("\nAn axis has exactly one of `values`, `range`, `log_range`, `file` and `formula`. A key may be on\nseveral axes if `when` makes sure that one of them applies at a time. Numbers of a range for a\nkey that is an integer are rounded, and each comes once.\n")
	b.WriteString(docsFormulas)
	for _, f := range own {
		fmt.Fprintf(&b, "- %s\n", f.doc)
	}
	b.WriteString(docsTail)
	_, err := io.WriteString(w, b.String())
	return err
}
