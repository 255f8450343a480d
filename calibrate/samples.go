package calibrate

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"orrery/kernels/bench"
	"orrery/kernels/sample"
)

// samples/GPU/*.csv are the measurements that this project ships.
//
//go:embed samples
var sampleFiles embed.FS

// MeasuredFile is an embedded file of samples, by the name of its GPU's profile.
type MeasuredFile struct {
	GPU string
	*sample.File
}

// MeasuredFiles are the embedded samples, sorted by name.
func MeasuredFiles() ([]MeasuredFile, error) { return measuredFiles(sampleFiles) }

func measuredFiles(files fs.FS) ([]MeasuredFile, error) {
	names, err := fs.Glob(files, "samples/*/*.csv")
	if err != nil {
		return nil, err
	}
	var out []MeasuredFile
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		f, err := sample.Read(data, strings.TrimPrefix(name, "samples/"))
		if err != nil {
			return nil, fmt.Errorf("embedded samples: %w", err)
		}
		gpu := path.Base(path.Dir(name))
		if f.Header.Synthetic {
			return nil, fmt.Errorf("embedded samples: %s is synthetic", f.Name)
		}
		if of := gpuOf(f.Header.GPU); of != gpu {
			return nil, fmt.Errorf("embedded samples: %s lies with %s but is of %s", f.Name, gpu, f.Header.GPU)
		}
		out = append(out, MeasuredFile{gpu, f})
	}
	return out, nil
}

// MeasuredFamily tells how much of a family one file holds.
type MeasuredFamily struct {
	GPU    string  `json:"gpu"`
	Family string  `json:"family"`
	Rows   int     `json:"rows"`
	Within float64 `json:"share_within_2_percent"`
	File   string  `json:"file"`
	Date   string  `json:"date"`
	Stale  int     `json:"stale"` // rows of a kernel that has changed since
}

// MissingFamily counts the cases of the registered suites that no row measured on a GPU.
type MissingFamily struct {
	GPU     string `json:"gpu"`
	Family  string `json:"family"`
	Cases   int    `json:"cases"`
	Missing int    `json:"missing"`
	First   string `json:"first,omitempty"` // the ID of the heaviest
}

// SampleStatus tells what was measured and what is missing.
type SampleStatus struct {
	Measured []MeasuredFamily `json:"measured"`
	// Missing has a row for each GPU with samples and family of the suites; the GPU
	// is "" where nothing was measured at all.
	Missing []MissingFamily `json:"missing"`
}

// StatusOfSamples holds files of samples against the cases of suites.
func StatusOfSamples(files []MeasuredFile, suites []bench.Suite) SampleStatus {
	st := SampleStatus{Measured: []MeasuredFamily{}, Missing: []MissingFamily{}}
	var cases []bench.Case
	for _, s := range suites {
		cases = append(cases, s.Cases()...)
	}
	slices.SortStableFunc(cases, func(a, b bench.Case) int { return cmp.Compare(b.Weight, a.Weight) })
	hash := map[string]string{}
	for _, c := range cases {
		hash[c.ID()] = c.Hash
	}
	have := map[string]map[string]bool{}
	for _, f := range files {
		if have[f.GPU] == nil {
			have[f.GPU] = map[string]bool{}
		}
		byFamily := map[string]*MeasuredFamily{}
		within := map[string]int{}
		for _, r := range f.Current() {
			m := byFamily[r.Family]
			if m == nil {
				m = &MeasuredFamily{GPU: f.GPU, Family: r.Family, File: f.Name, Date: f.Header.Date}
				byFamily[r.Family] = m
			}
			m.Rows++
			if r.Within {
				within[r.Family]++
			}
			if h := hash[r.ID()]; h != "" && h != r.Hash { // "": the library is not here to compare with
				m.Stale++
			} else {
				have[f.GPU][r.ID()] = true
			}
		}
		for _, name := range sortedKeys(byFamily) {
			m := *byFamily[name]
			m.Within = float64(within[name]) / float64(m.Rows)
			st.Measured = append(st.Measured, m)
		}
	}
	gpus := sortedKeys(have)
	if len(gpus) == 0 {
		gpus = []string{""}
	}
	for _, g := range gpus {
		byFamily := map[string]*MissingFamily{}
		for _, c := range cases {
			m := byFamily[c.Family]
			if m == nil {
				m = &MissingFamily{GPU: g, Family: c.Family}
				byFamily[c.Family] = m
			}
			m.Cases++
			if !have[g][c.ID()] {
				if m.Missing++; m.First == "" {
					m.First = c.ID()
				}
			}
		}
		for _, name := range sortedKeys(byFamily) {
			st.Missing = append(st.Missing, *byFamily[name])
		}
	}
	return st
}
