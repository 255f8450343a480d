package calibrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"orrery/kernels/sample"
	"orrery/sim/cost"
	"orrery/sim/hw"
)

// TableUse tells what became of one table.
type TableUse struct {
	Table    string   `json:"table"` // relative to DIR, slash-separated
	Samples  int      `json:"samples"`
	Rejected Rejected `json:"rejected,omitempty"`
	Readers  []string `json:"-"`
	SHA256   string   `json:"sha256"`
	// Synthetic tells that a fake GPU made the numbers.
	Synthetic bool `json:"synthetic,omitempty"`

	note     string // of samples: GPU, driver, date and how sure; else empty
	bySource map[familyReader]int
}

type familyReader struct {
	family cost.Family
	reader string
}

// tables is what a folder of measurements holds.
type tables struct {
	Samples []Sample // in the order of the files and of their rows
	Used    []TableUse
	Unread  []string // files that no reader knows
}

// readTables reads every table under dir that a reader knows, in the order of
// names. One file may feed several readers.
func readTables(ctx context.Context, dir string, g *hw.GPU) (*tables, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tables of measured kernels: %w", err)
	}
	t := &tables{}
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := t.read(dir, file, g); err != nil {
			return nil, err
		}
	}
	if len(t.Used) == 0 {
		return nil, fmt.Errorf("%s holds no table that a reader knows; known are %s", dir, strings.Join(readerNames(), "; "))
	}
	return t, nil
}

// readFolders reads the tables of several folders as one.
func readFolders(ctx context.Context, dirs []string, g *hw.GPU) (*tables, error) {
	all := &tables{}
	for _, dir := range dirs {
		t, err := readTables(ctx, dir, g)
		if err != nil {
			return nil, err
		}
		all.Samples = append(all.Samples, t.Samples...)
		all.Used = append(all.Used, t.Used...)
		all.Unread = append(all.Unread, t.Unread...)
	}
	return all, nil
}

func (t *tables) read(dir, file string, g *hw.GPU) error {
	rel, err := filepath.Rel(dir, file)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	use := TableUse{Table: rel, Rejected: Rejected{}, bySource: map[familyReader]int{}}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if sample.Is(data) {
		return t.readSamples(&use, data, g)
	}
	for _, r := range readers {
		// a folder that is itself a part (…/simumax) still matches by its name
		if !r.match(rel) && !r.match(filepath.Base(dir)+"/"+rel) {
			continue
		}
		samples, rejected, err := r.read(file, g)
		if err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		use.Readers = append(use.Readers, r.name)
		use.Samples += len(samples)
		for why, n := range rejected {
			use.Rejected[why] += n
		}
		for i := range samples {
			samples[i].Table = rel
			if samples[i].Apart == "" {
				use.bySource[familyReader{samples[i].Kernel.Family(), r.name}]++
			}
		}
		t.Samples = append(t.Samples, samples...)
	}
	if len(use.Readers) == 0 {
		t.Unread = append(t.Unread, rel)
		return nil
	}
	t.use(&use, data)
	return nil
}

// use notes a table that was read.
func (t *tables) use(use *TableUse, data []byte) {
	sum := sha256.Sum256(data)
	use.SHA256 = hex.EncodeToString(sum[:])
	t.Used = append(t.Used, *use)
}

func readerNames() []string {
	names := []string{samplesReader}
	for _, r := range readers {
		names = append(names, r.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// byFamily splits samples, keeping their order.
func byFamily(samples []Sample) map[cost.Family][]Sample {
	m := map[cost.Family][]Sample{}
	for _, s := range samples {
		m[s.Kernel.Family()] = append(m[s.Kernel.Family()], s)
	}
	return m
}

var errNoSamples = errors.New("no rows of these families in the tables")
