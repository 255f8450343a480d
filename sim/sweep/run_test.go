package sweep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/models"
	"orrery/scenarios"
	"orrery/sim"
)

// counter counts how often each scenario is simulated.
type counter struct {
	mu   sync.Mutex
	runs map[string]int
	all  int
}

func (c *counter) simulate(ctx context.Context, s *scenarios.Scenario, opt sim.Options) (*sim.Run, error) {
	key := hashOf(s)
	c.mu.Lock()
	if c.runs == nil {
		c.runs = map[string]int{}
	}
	c.runs[key]++
	c.all++
	c.mu.Unlock()
	return sim.Simulate(ctx, s, opt)
}

// Every point has its row: what ran, what does not fit, what the language
// refuses, each with its reason; points of one identity are computed once and
// have one result.
func TestStatuses(t *testing.T) {
	s, dir, c := mustParse(t, grid), t.TempDir(), &counter{}
	rep := run(t, s, Options{Dir: dir, simulate: c.simulate})
	require.Equal(t, 32, rep.Points)
	require.Less(t, rep.Distinct, rep.Points)
	require.Equal(t, rep.Distinct, rep.Computed)
	for scenario, n := range c.runs {
		require.Equal(t, 1, n, scenario)
	}
	byID := map[string]Row{}
	counts := map[Status]int{}
	for i, line := range strings.Split(strings.TrimSpace(results(t, dir)), "\n") {
		var r Row
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		require.Equal(t, i, r.Point)
		if r.Status != OK {
			require.NotEmpty(t, r.Reason)
		}
		if r.Status == Refused {
			require.Empty(t, r.Result)
		} else {
			var res sim.Result
			require.NoError(t, json.Unmarshal(r.Result, &res))
			require.Positive(t, res.StepTimeS)
			require.Equal(t, r.Status == OK, res.Fits)
		}
		if twin, ok := byID[r.ID]; ok {
			require.Equal(t, twin.Result, r.Result)
			require.NotEqual(t, twin.Values, r.Values)
		} else {
			counts[r.Status]++
		}
		byID[r.ID] = r
		if r.Values["parallel.tp"] == 3.0 {
			require.Equal(t, Refused, r.Status)
			require.Contains(t, r.Reason, "not whole")
			require.NotContains(t, r.Reason, ".toml") // the same wherever it runs
		}
	}
	require.Equal(t, rep.Counts, counts)
	for _, status := range []Status{OK, DoesNotFit, Refused} {
		require.Positive(t, counts[status], status)
	}
}

// A point of a sweep is the run of its scenario.
func TestPointIsRun(t *testing.T) {
	s, dir := mustParse(t, grid), t.TempDir()
	run(t, s, Options{Dir: dir})
	file := filepath.Join(t.TempDir(), "small.toml")
	require.NoError(t, os.WriteFile(file, []byte(small), 0o644))
	_, err := Rows(dir, func(r *Row) error {
		if r.Status != OK {
			return nil
		}
		var sets []string
		for k, v := range r.Values {
			text, err := json.Marshal(v)
			require.NoError(t, err)
			sets = append(sets, k+"="+string(text))
		}
		res, err := scenarios.Load(file, sets)
		require.NoError(t, err)
		one, err := sim.Simulate(context.Background(), &res.Scenario, sim.Options{NoAdvice: true})
		require.NoError(t, err)
		want, err := json.Marshal(one.Result)
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(r.Result))
		return nil
	})
	require.NoError(t, err)
}

// inOneGo computes the sweep in one go.
func inOneGo(t *testing.T, text string) (s *Spec, want string, journal []byte) {
	s = mustParse(t, text)
	dir := t.TempDir()
	run(t, s, Options{Dir: dir, Workers: 1})
	journal, err := os.ReadFile(filepath.Join(dir, "journal.jsonl"))
	require.NoError(t, err)
	return s, results(t, dir), journal
}

func TestResultsDoNotDependOnWorkers(t *testing.T) {
	s, want, _ := inOneGo(t, grid)
	for _, workers := range []int{2, 3, 16} {
		dir := t.TempDir()
		run(t, s, Options{Dir: dir, Workers: workers})
		require.Equal(t, want, results(t, dir), "%d workers", workers)
	}
}

// The journal may end anywhere when its writer dies: cut at every byte of its
// last lines and of its first, a second start computes what is not whole, no
// more, and comes to the same bytes.
func TestCutJournal(t *testing.T) {
	s, want, journal := inOneGo(t, "scenario = \"small\"\n[[axis]]\nkey = \"parallel.tp\"\nvalues = [8, 3]\n[[axis]]\nkey = \"cluster.override.hbm_gib\"\nvalues = [80, 3]\n")
	lines := bytes.SplitAfter(journal, []byte("\n"))
	last := len(journal) - len(lines[len(lines)-2]) - len(lines[len(lines)-3])
	first := len(lines[0]) + len(lines[1])
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.jsonl")
	for cut := range len(journal) + 1 {
		if cut > first && cut < last {
			continue
		}
		// The last two points are refused: their lines are short
		// enough to try every byte. Of a long result every 50th is.
		if len(lines[1]) > 500 && cut > len(lines[0]) && cut < first-3 && cut%50 != 0 {
			continue
		}
		require.NoError(t, os.WriteFile(path, journal[:cut], 0o644))
		rep := run(t, s, Options{Dir: dir})
		entries := max(bytes.Count(journal[:cut], []byte("\n"))-1, 0)
		require.Equal(t, entries, rep.Reused, "cut at %d", cut)
		require.Zero(t, rep.Damaged)
		require.Equal(t, want, results(t, dir), "cut at %d", cut)
	}
}

// Damage inside a journal costs the points it hit, and is told.
func TestDamagedJournal(t *testing.T) {
	s, want, journal := inOneGo(t, grid)
	dir := t.TempDir()
	lines := bytes.SplitAfter(journal, []byte("\n"))
	lines[2] = append(bytes.Repeat([]byte{0}, 20), '\n')
	lines[4] = []byte("{\"id\": \"\"}\n")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "journal.jsonl"), bytes.Join(lines, nil), 0o644))
	rep := run(t, s, Options{Dir: dir})
	require.Equal(t, 2, rep.Damaged)
	require.Equal(t, 2, rep.Computed)
	require.Equal(t, want, results(t, dir))
}

// An interrupted run finishes what is in flight and a second one does the rest,
// whatever the number of points before the interruption.
func TestInterrupted(t *testing.T) {
	s, want, _ := inOneGo(t, grid)
	for _, after := range []int{1, 2, 7} {
		dir, c := t.TempDir(), &counter{}
		ctx, cancel := context.WithCancel(context.Background())
		rep, err := Run(ctx, s, Options{Dir: dir, Workers: 2, simulate: c.simulate, Progress: func(p Progress) {
			if p.Done == after {
				cancel()
			}
		}})
		cancel()
		require.ErrorIs(t, err, ErrInterrupted)
		require.GreaterOrEqual(t, rep.Computed, after)
		require.Less(t, rep.Computed, rep.Own)
		require.NoFileExists(t, filepath.Join(dir, ResultsFile))
		again := run(t, s, Options{Dir: dir, simulate: c.simulate})
		require.Equal(t, rep.Computed, again.Reused)
		for scenario, n := range c.runs {
			require.Equal(t, 1, n, scenario)
		}
		require.Equal(t, want, results(t, dir))
	}
}

// A defect costs its point only, and the next start tries it again.
func TestFailedPoints(t *testing.T) {
	s, want, _ := inOneGo(t, grid)
	dir, c := t.TempDir(), &counter{}
	rep := run(t, s, Options{Dir: dir, simulate: func(ctx context.Context, sc *scenarios.Scenario, opt sim.Options) (*sim.Run, error) {
		if sc.Parallel.TP == 2 {
			panic("on purpose")
		}
		return sim.Simulate(ctx, sc, opt)
	}})
	failed := rep.Counts[Failed]
	require.Positive(t, failed)
	require.Contains(t, results(t, dir), "internal error: on purpose")
	m, err := Merge(dir)
	require.NoError(t, err)
	require.Equal(t, failed, m.Counts[Failed])
	rep = run(t, s, Options{Dir: dir, simulate: c.simulate})
	require.Equal(t, failed, rep.Computed)
	require.Equal(t, failed, c.all)
	require.Equal(t, want, results(t, dir))
}

// Points that a changed sweep shares with the old one are not computed again.
func TestChangedSweep(t *testing.T) {
	s, _, journal := inOneGo(t, grid)
	more := mustParse(t, strings.Replace(grid, "[1, 2, 3, 8]", "[1, 2, 4, 3, 8]", 1))
	fresh, dir := t.TempDir(), t.TempDir()
	run(t, more, Options{Dir: fresh})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "journal.jsonl"), journal, 0o644))
	rep := run(t, more, Options{Dir: dir})
	require.Equal(t, rep.Distinct-rep.Reused, rep.Computed)
	old := run(t, s, Options{Dir: t.TempDir()})
	require.Equal(t, old.Distinct, rep.Reused)
	require.Equal(t, results(t, fresh), results(t, dir))
	rep = run(t, more, Options{Dir: dir, Restart: true})
	require.Equal(t, rep.Distinct, rep.Computed)
}

// present makes what nil pointers of a scenario stand for, so that its fields are there.
func present(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				present(v.Field(i))
			}
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		present(v.Elem())
	}
}

// Identity follows every field of a scenario that a result depends on, and no other.
func TestIdentity(t *testing.T) {
	prof := &profiles{}
	sc, err := mustParse(t, grid).resolve(Point{})
	require.NoError(t, err)
	sc.Parallel.Order, sc.Training.Recompute.Parts = []string{"tp"}, []string{"mlp"}
	sc.Model.MoE = &models.MoE{}
	present(reflect.ValueOf(sc).Elem())
	id := func() string {
		got, err := identify(sc, prof)
		require.NoError(t, err)
		return got
	}
	plain := id()
	require.Len(t, plain, 32)
	require.Equal(t, plain, id())
	var walk func(v reflect.Value, path string) int
	walk = func(v reflect.Value, path string) (fields int) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					fields += walk(v.Field(i), path+"."+f.Name)
				}
			}
			return fields
		case reflect.Pointer:
			return walk(v.Elem(), path)
		case reflect.Slice:
			for i := range v.Len() {
				fields += walk(v.Index(i), path)
			}
			return fields
		}
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		switch v.Kind() {
		case reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Float64:
			v.SetFloat(v.Float() + 0.5)
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.String:
			v.SetString(map[bool]string{true: "a100", false: v.String() + "x"}[path == ".Cluster.Profile"])
		default:
			t.Fatalf("%s is a %s: teach this test to change it", path, v.Kind())
		}
		if path == ".Description" || path == ".Source" {
			require.Equal(t, plain, id(), path)
		} else {
			require.NotEqual(t, plain, id(), path)
		}
		v.Set(old)
		return 1
	}
	require.Greater(t, walk(reflect.ValueOf(sc).Elem(), ""), 100)
	require.Equal(t, plain, id())
	sc.Cluster.Profile = "h1000"
	_, err = identify(sc, prof)
	require.Error(t, err)
}

// Identity follows what a scenario reads from files, too.
func TestIdentityOfFiles(t *testing.T) {
	dir, prof := t.TempDir(), &profiles{}
	file, order := filepath.Join(dir, "s.toml"), filepath.Join(dir, "order.csv")
	text := strings.Replace(small, "tp = 1", "pp = 2\n[schedule]\nname = \"file\"\nfile = \"order.csv\"", 1)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(text, "global_batch = 16", "global_batch = 8", 1)), 0o644))
	id := func(rows string) string {
		require.NoError(t, os.WriteFile(order, []byte(rows), 0o644))
		res, err := scenarios.Load(file, nil)
		require.NoError(t, err)
		got, err := identify(&res.Scenario, prof)
		require.NoError(t, err)
		return got
	}
	gpipe := "0F0,0F1,0B0,0B1\n1F0,1F1,1B0,1B1\n"
	require.Equal(t, id(gpipe), id(gpipe))
	require.NotEqual(t, id(gpipe), id("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"))
}

// Two writers of one journal would mix their lines.
func TestSecondWriter(t *testing.T) {
	s, dir := mustParse(t, grid), t.TempDir()
	j, err := openJournal(dir, Shard{}, false)
	require.NoError(t, err)
	_, err = Run(context.Background(), s, Options{Dir: dir})
	require.ErrorContains(t, err, "is being written by another sim sweep")
	require.NoError(t, j.close())
	run(t, s, Options{Dir: dir})
}

// What is not ours, of another version or another build is refused.
func TestForeignJournal(t *testing.T) {
	s := mustParse(t, grid)
	for text, want := range map[string]string{
		"{\"a\": 1}\n": "not a journal",
		"hello\n":      "not a journal",
		"{\"format\": \"orrery-sweep-journal\", \"version\": 99}\n":                    "journal of version 99",
		"{\"format\": \"orrery-sweep-journal\", \"version\": 1, \"build\": \"old\"}\n": "computed by another build of sim (old; this is ",
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "journal.jsonl"), []byte(text), 0o644))
		_, err := Run(context.Background(), s, Options{Dir: dir})
		require.ErrorContains(t, err, want)
		run(t, s, Options{Dir: dir, Restart: true})
	}
	_, err := Merge(t.TempDir())
	require.ErrorContains(t, err, "is not the folder of a sweep")
}

// Shards put together are the sweep, however they are divided, in whatever order
// they end; a merge before all are done says what is missing and writes nothing.
func TestMergeShards(t *testing.T) {
	s, want, _ := inOneGo(t, grid)
	for _, of := range []int{2, 5, 40} {
		dir, c := t.TempDir(), &counter{}
		for i := of - 1; i >= 0; i-- {
			if i != 1 {
				run(t, s, Options{Dir: dir, Shard: Shard{i, of}, simulate: c.simulate})
			}
		}
		m, err := Merge(dir)
		require.NoError(t, err)
		require.Positive(t, m.Missing)
		require.Len(t, m.Shards, of)
		for i, state := range m.Shards {
			require.Equal(t, i != 1, state.Done(), "%v", state)
			require.Equal(t, i != 1, state.Started)
		}
		require.NoFileExists(t, filepath.Join(dir, ResultsFile))
		run(t, s, Options{Dir: dir, Shard: Shard{1, of}, simulate: c.simulate})
		for range 2 {
			m, err = Merge(dir)
			require.NoError(t, err)
			require.Zero(t, m.Missing)
			require.Equal(t, want, results(t, dir), "%d shards", of)
		}
		for scenario, n := range c.runs {
			require.Equal(t, 1, n, scenario)
		}
		// Another division, or none, has nothing left to do.
		rep := run(t, s, Options{Dir: dir})
		require.Zero(t, rep.Computed)
		require.Equal(t, want, results(t, dir))
	}
}

func TestJobs(t *testing.T) {
	j := Job{Name: "Llama's \"best\" split!", Spec: "it's.toml", Dir: "out dir", Shards: 8, Workers: 2, Image: "reg/sim:1", Claim: "data"}
	require.Contains(t, j.Slurm(), "#SBATCH --array=0-7\n")
	require.Contains(t, j.Slurm(), "#SBATCH --job-name=sweep-llama-s-best-split\n")
	require.Contains(t, j.Slurm(), `exec sim sweep 'it'\''s.toml' --out 'out dir' --shards 8 --workers 2`)
	require.Contains(t, j.Kubernetes(), "completions: 8\n")
	require.Contains(t, j.Kubernetes(), `command: ["sim","sweep","it's.toml","--out","out dir","--shards","8","--workers","2"]`)
}

// A folder that cannot be made is an error.
func TestUnwritableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err := Run(context.Background(), mustParse(t, grid), Options{Dir: file})
	require.Error(t, err)
	require.False(t, errors.Is(err, ErrInterrupted))
}

// BenchmarkSweep is a sweep of 1,000 points, resumed never: points per second is
// what matters.
func BenchmarkSweep(b *testing.B) {
	text, _ := scenarios.Sweep("sweeps/network")
	s, err := Parse("network.toml", bytes.Replace(text, []byte("points = 64"), []byte("points = 1000"), 1), os.ReadFile, scenarios.Open)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		rep := run(b, s, Options{Dir: b.TempDir()})
		require.Equal(b, 1000, rep.Computed)
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "points/s")
}
