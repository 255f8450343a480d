package calibrate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"orrery/sim/cost"
	"orrery/sim/hw"
)

// FitOptions of Fit.
type FitOptions struct {
	Families []cost.Family // fit only these; empty is all that the tables hold
	Date     string        // of the fit, for the provenance: YYYY-MM-DD
	Path     string        // of the profile file; "" is ProfilePath(name)
	// Also are further folders: public tables beside samples check the fit to those.
	Also []string
	// AllowSynthetic lets samples of a fake GPU make a profile, for tests. Path must
	// then lie elsewhere than the embedded profiles.
	AllowSynthetic bool
}

// Report tells what a fit did.
type Report struct {
	Profile string `json:"profile"`
	Path    string `json:"path"`
	Bytes   int    `json:"bytes"`
	// HeldOut are the errors of a fit to four fifths of the rows on the other fifth.
	// The profile written is fitted to all rows.
	HeldOut []FamilyError `json:"held_out"`
	// Skipped are families of the tables that were not fitted, with the reason.
	Skipped map[cost.Family]string `json:"skipped,omitempty"`
	// CrossCheck are the errors of the profile written on rows of public tables that
	// it was not fitted to, since samples of the same kernels were there.
	CrossCheck []FamilyError `json:"cross_check,omitempty"`
	// Synthetic tells that the profile is fitted to numbers of a fake GPU.
	Synthetic bool       `json:"synthetic,omitempty"`
	Tables    []TableUse `json:"tables"`
	Unread    []string   `json:"unread,omitempty"`
}

// ProfilePath is where the profile of that name lies, from the project's root.
func ProfilePath(name string) string {
	return filepath.Join("calibrate", "profiles", name+".json")
}

// Fit fits the profile of a GPU to the tables under dir and writes it. Families
// that are not fitted keep what the profile file had.
func Fit(ctx context.Context, dir, name string, opt FitOptions) (*cost.Profile, Report, error) {
	g, err := hw.LookupGPU(name)
	if err != nil {
		return nil, Report{}, err
	}
	rep := Report{Profile: g.Name, Path: opt.Path, Skipped: map[cost.Family]string{}}
	if rep.Path == "" {
		rep.Path = ProfilePath(g.Name)
	}
	t, err := readFolders(ctx, append([]string{dir}, opt.Also...), g)
	if err != nil {
		return nil, rep, err
	}
	rep.Tables, rep.Unread = t.Used, t.Unread
	if rep.Synthetic, err = syntheticAllowed(t.Used, opt); err != nil {
		return nil, rep, err
	}
	before, err := existing(rep.Path, g)
	if err != nil {
		return nil, rep, err
	}
	preferred, aside := preferOwn(t.Samples, rep.Skipped)
	chosen, err := choose(preferred, opt.Families, rep.Skipped)
	if err != nil {
		return nil, rep, fmt.Errorf("%s: %w", dir, err)
	}
	train, held := split(chosen, byShape("report"))
	trial, err := fitProfile(ctx, before, train)
	if err != nil {
		return nil, rep, err
	}
	if rep.HeldOut, err = judgeSamples(ctx, trial, held); err != nil {
		return nil, rep, err
	}
	p, err := fitProfile(ctx, before, chosen)
	if err != nil {
		return nil, rep, err
	}
	p.Provenance = provenance(before.Provenance, chosen, t.Used, opt.Date)
	if rep.CrossCheck, err = judgeSamples(ctx, p, aside); err != nil {
		return nil, rep, err
	}
	rep.Bytes, err = writeProfile(rep.Path, p)
	return p, rep, err
}

// existing returns the profile that a fit starts from.
func existing(path string, g *hw.GPU) (*cost.Profile, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return unfitted(g)
	}
	if err != nil {
		return nil, err
	}
	p, err := cost.ReadProfile(data, Profile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if p.GPU != g.Name {
		return nil, fmt.Errorf("%s is a profile of %s, not of %s", path, p.GPU, g.Name)
	}
	fresh, err := unfitted(g)
	if err != nil {
		return nil, err
	}
	p.DeriveFrom(fresh.Base())
	return p, nil
}

// choose keeps the samples of families that are asked for and have a fitter, but
// those set apart.
func choose(samples []Sample, families []cost.Family, skipped map[cost.Family]string) ([]Sample, error) {
	fitted := map[cost.Family]bool{}
	for _, f := range fitters {
		fitted[f.family] = true
	}
	for _, f := range families {
		if !fitted[f] {
			return nil, fmt.Errorf("no fitter of family %q", f)
		}
	}
	var chosen []Sample
	for _, s := range samples {
		f := s.Kernel.Family()
		switch {
		case s.Apart != "":
		case !fitted[f]:
			skipped[f] = "no fitter"
		case len(families) > 0 && !slices.Contains(families, f):
			skipped[f] = "not asked for"
		default:
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, errNoSamples
	}
	return chosen, nil
}

// fitProfile returns a copy of before with the families of the samples fitted anew.
func fitProfile(ctx context.Context, before *cost.Profile, samples []Sample) (*cost.Profile, error) {
	data, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	p, err := cost.ReadProfile(data, Profile)
	if err != nil {
		return nil, err
	}
	families := byFamily(samples)
	for _, f := range fitters {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(families[f.family]) == 0 {
			continue
		}
		if err := f.fit(families[f.family], p.Hardware(), p); err != nil {
			return nil, fmt.Errorf("fit %s: %w", f.family, err)
		}
	}
	return p, nil
}

// provenance keeps the entries of families that were not fitted, and adds those
// that were: one entry for each family, table and reader. Samples may replace the
// fits of some formats or ops of a family only: the tables behind the others stay.
func provenance(before []cost.Provenance, chosen []Sample, used []TableUse, date string) []cost.Provenance {
	families := byFamily(chosen)
	var out []cost.Provenance
	for _, p := range before {
		partly := !slices.ContainsFunc(families[p.Family], func(s Sample) bool { return !s.Own })
		again := slices.ContainsFunc(used, func(u TableUse) bool { return u.Table == p.Table })
		if len(families[p.Family]) == 0 || partly && !again {
			out = append(out, p)
		}
	}
	for _, u := range used {
		for fr, rows := range u.bySource {
			taken := slices.ContainsFunc(families[fr.family], func(s Sample) bool { return s.Table == u.Table })
			if taken {
				out = append(out, cost.Provenance{Family: fr.family, Table: u.Table, Source: fr.reader, Rows: rows, SHA256: u.SHA256, FitDate: date,
					Noise: cmp.Or(u.note, noiseOf(families[fr.family], u.Table)), Synthetic: u.Synthetic})
			}
		}
	}
	slices.SortFunc(out, func(a, b cost.Provenance) int {
		return cmpStrings(string(a.Family), string(b.Family), a.Table, b.Table, a.Source, b.Source)
	})
	return out
}

// writeProfile writes the file whole or not at all.
func writeProfile(path string, p *cost.Profile) (size int, err error) {
	var b bytes.Buffer
	if err := encodeProfile(&b, p); err != nil {
		return 0, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".profile-*")
	if err != nil {
		return 0, fmt.Errorf("profile file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	if _, err = tmp.Write(b.Bytes()); err != nil {
		_ = tmp.Close()
		return 0, err
	}
	if err = tmp.Chmod(0o644); err != nil {
		_ = tmp.Close()
		return 0, err
	}
	if err = tmp.Close(); err != nil {
		return 0, err
	}
	return b.Len(), os.Rename(tmp.Name(), path)
}
