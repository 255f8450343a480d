package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCatalogue: every scenario that ships resolves.
func TestCatalogue(t *testing.T) {
	names := Names()
	if !slices.Contains(names, "quickstart") || !slices.IsSorted(names) {
		t.Errorf("Names() = %v, want quickstart among them, sorted", names)
	}
	for _, name := range names {
		res, err := Load(name, nil)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		invariants(t, res)
		if res.Scenario.Description == "" {
			t.Errorf("%s has no description", name)
		}
	}
}

// TestLoadConfigBesideFile: model.config is relative to the scenario, not to
// the working directory.
func TestLoadConfigBesideFile(t *testing.T) {
	dir := t.TempDir()
	config, err := os.ReadFile(filepath.Join("testdata", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	text := "cluster = { gpu = \"h100\", gpus = 8 }\nmodel.config = \"c/config.json\"\ntraining = { sequence_length = 2048, global_batch = 8 }\n"
	for path, data := range map[string][]byte{"s.toml": []byte(text), "c/config.json": config} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	res, err := Load(filepath.Join(dir, "s.toml"), []string{"parallel.tp=2"})
	if err != nil {
		t.Fatal(err)
	}
	invariants(t, res)
	if res.Scenario.Model.Layers != 22 || res.Scenario.Name != "s" || res.Scenario.Parallel.TP != 2 {
		t.Errorf("%d layers, name %q, tp %d", res.Scenario.Model.Layers, res.Scenario.Name, res.Scenario.Parallel.TP)
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := Load("quickstrat", nil)
	var e *Error
	if !errors.As(err, &e) || e.Nearest != "quickstart" {
		t.Errorf("got %v, want the nearest scenario named", err)
	}
}

// TestResolveTypes: Go callers need not convert their integers.
func TestResolveTypes(t *testing.T) {
	res, err := Resolve("run", map[string]any{
		"cluster.gpu": "h100", "cluster.gpus": 16, "model.name": "llama3-8b", "parallel.pp": uint8(2),
		"training.sequence_length": int32(4096), "training.global_batch": int64(32), "parallel.layers_per_stage": []int{15, 17},
	})
	if err != nil {
		t.Fatal(err)
	}
	invariants(t, res)
	if p := res.Scenario.Parallel; p.DP != 8 || !slices.Equal(p.LayersPerStage, []int64{15, 17}) {
		t.Errorf("dp %d, layers %v", p.DP, p.LayersPerStage)
	}
	_, err = Resolve("run", map[string]any{"parallel.tp": struct{}{}, "parallel.pp": nil, "parallel.dp": -1, "paralel.tp": 1})
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("got %v, want four errors", err)
	}
	wellFormed(t, err)
}

// TestDocs: the page names every key once in its section's table, and each
// table's rows have the columns of its head.
func TestDocs(t *testing.T) {
	var b strings.Builder
	if err := WriteDocs(&b); err != nil {
		t.Fatal(err)
	}
	for _, f := range schema {
		if !strings.Contains(b.String(), "| `"+short(f.key)+"` | "+f.kind()) {
			t.Errorf("%s is not on the page", f.key)
		}
	}
	columns := 0
	for line := range strings.Lines(b.String()) {
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if columns > 0 && n > 0 && n != columns {
			t.Errorf("%d columns, want %d: %s", n-1, columns-1, line)
		}
		columns = n
	}
	for i, r := range presets[0].rules {
		for _, p := range presets {
			if p.rules[i].key != r.key {
				t.Errorf("preset %s has %s where %s has %s", p.name, p.rules[i].key, presets[0].name, r.key)
			}
		}
	}
}
