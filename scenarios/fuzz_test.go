package scenarios

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// FuzzParse: no text panics; what fails fails with errors that name the file
// and the key; what resolves satisfies the invariants.
func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		data, _ := builtin(name)
		f.Add(string(data), "")
	}
	for _, text := range []string{
		"cluster = { gpu = \"h100\", gpus = 16 }\nmodel.name = \"mixtral-8x7b\"\ntraining.sequence_length = 4096\ntraining.global_batch = 32\nparallel.ep = 8\n[[expect]]\nmetric = \"mfu\"\nvalue = 0.4\n",
		"[cluster]\ngpu = \"h100\"\ngpus = 8\n[model]\nlayers = 4\nhidden = 64\nheads = 4\nvocab = 100\nffn = 256\n[training]\nsequence_length = 128\nmicrobatches = 2\n[parallel]\npp = 2\ntp = \"auto\"\ndp = 2\n",
		"expect = [{metric = \"fits\", value = true}, 3]", "a.\"b.c\".d = '''\n'''''", "[parallel]\norder = []\nlayers_per_stage = []\n",
		"[training]\nrecompute = \"full:99999999999999999999\"\nglobal_batch = 9223372036854775807\n",
	} {
		f.Add(text, "parallel.tp=2")
	}
	const two = "cluster = { gpu = \"h100\", gpus = 2 }\nmodel.name = \"llama3-8b\"\ntraining = { sequence_length = 4096, global_batch = 2 }\nparallel.pp = 2\n"
	for _, schedule := range []string{`name = "file", file = "order.csv"`, `name = "zb_auto", memory_limit = 2.5`, `name = "vocab_1f1b", barriers = 2`, `name = "mepipe_svpp", weight_pieces = true`} {
		f.Add(two+"schedule = { "+schedule+" }\n", "")
	}
	files := func(name string) ([]byte, error) {
		if name == "order.csv" {
			return []byte("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"), nil
		}
		return nil, os.ErrNotExist
	}
	f.Fuzz(func(t *testing.T, text, set string) {
		var sets []string
		if set != "" {
			sets = []string{set}
		}
		res, err := Parse("case.toml", []byte(text), sets, files)
		if err != nil {
			wellFormed(t, err)
			return
		}
		invariants(t, res)
	})
}

// FuzzLocate: every key that the parser finds is found by the locator.
func FuzzLocate(f *testing.F) {
	for _, text := range []string{
		"a = 1\n[b]\nc = \"x\" # [d]\n[[e]]\nf = 1\n[[e]]\n[e.g]\nh = 2\n",
		"a.b . c = { d = [1, {e = 2}], f = '''\n[x]\n''' }\n\"q.r\".'s' = \"\"\"\\\"\"\"\"\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var tree map[string]any
		if _, err := toml.Decode(text, &tree); err != nil {
			locate(text) // no panic
			return
		}
		where := locate(text)
		lines := strings.Count(text, "\n") + 1
		var walk func(tree map[string]any, path string)
		walk = func(tree map[string]any, path string) {
			for k, v := range tree {
				key := joinKey(path, k)
				if at, ok := where.key[key]; !ok || at.line > lines {
					t.Fatalf("%s of %q is at %v", key, text, at)
				}
				if sub, ok := v.(map[string]any); ok {
					walk(sub, key)
				}
			}
		}
		walk(tree, "")
	})
}

// FuzzParseSamples: no text panics, and what is read is written back as what was read.
func FuzzParseSamples(f *testing.F) {
	for _, text := range []string{"256 512\n\n1024", "# a\n1,2,\t3 # b\n", "0", "12x", "16777217", "\r\n4\r\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		samples, err := ParseSamples(text)
		if err != nil {
			return
		}
		var lines []string
		for _, s := range samples {
			lines = append(lines, strings.Trim(strings.ReplaceAll(fmt.Sprint(s), " ", ", "), "[]"))
		}
		again, err := ParseSamples(strings.Join(lines, "\n") + "\n")
		if err != nil || !reflect.DeepEqual(samples, again) {
			t.Fatalf("%v is read back as %v, %v", samples, again, err)
		}
	})
}
