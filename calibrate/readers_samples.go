package calibrate

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"orrery/kernels/sample"
	"orrery/sim/cost"
	"orrery/sim/hw"
)

// samplesReader names files of samples, which are known by their first line.
const samplesReader = "samples of `sim calibrate run`"

// readSamples reads a file of samples. A row that was cut off is left out and
// counted. Where several libraries ran the same kernel, the fastest counts.
func (t *tables) readSamples(use *TableUse, data []byte, g *hw.GPU) error {
	f, err := sample.Read(data, use.Table)
	var truncated *sample.TruncatedError
	if errors.As(err, &truncated) {
		use.Rejected["cut off: an interrupted run"]++
	} else if err != nil {
		return err
	}
	if !f.Header.Synthetic {
		if name := gpuOf(f.Header.GPU); name != g.Name {
			return fmt.Errorf("%s holds samples of %q, not of %s", use.Table, f.Header.GPU, g.Name)
		}
	}
	use.Readers = append(use.Readers, samplesReader)
	use.Synthetic = f.Header.Synthetic
	use.note = sureness(f)
	lines := map[string]int{}
	for i, r := range f.Rows {
		lines[r.ID()] = f.Lines[i]
	}
	var samples []Sample
	type work struct { // shapes of one price may differ: rows and columns of the same bytes
		kernel cost.Kernel
		shape  sample.Shape
	}
	fastest := map[work]int{}
	for _, r := range f.Current() {
		s, why := sampleOfRow(r)
		if why != "" {
			use.Rejected[why]++
			continue
		}
		s.Table, s.Line = use.Table, lines[r.ID()]
		key := work{s.Kernel, r.Shape}
		at, seen := fastest[key]
		switch {
		case !seen:
			fastest[key] = len(samples)
			samples = append(samples, s)
		case s.Micros < samples[at].Micros:
			samples[at] = s
			fallthrough
		default:
			use.Rejected["another library's kernel was faster at the same shape"]++
		}
	}
	for _, s := range samples {
		use.bySource[familyReader{s.Kernel.Family(), samplesReader}]++
	}
	use.Samples = len(samples)
	t.Samples = append(t.Samples, samples...)
	t.use(use, data)
	return nil
}

// hostBoundBackward is how long a backward pass of the probe must take, in
// microseconds: shorter ones take 170 us and more whatever their size, as calls of
// autograd are not captured in a graph.
const hostBoundBackward = 500

// sampleOfRow turns a row into a sample, or says why no fit can use it.
func sampleOfRow(r sample.Row) (Sample, string) {
	k, err := RowKernel(r)
	switch {
	case r.Kernel == "cublas_grouped": // 2.3 times slower than torch._grouped_mm on an H100
		return Sample{}, "grouped GEMM of cuBLAS: kept in the file, frameworks train with faster kernels"
	case err != nil:
		return Sample{}, fmt.Sprintf("%s: not a kernel that has prices: %v", r.Kernel, err)
	case k == nil && r.Family == string(cost.FamMemory):
		return Sample{}, fmt.Sprintf("%s %s: kept in the file, no prices of this op yet", r.Family, r.Kernel)
	case k == nil:
		return Sample{}, fmt.Sprintf("%s: kept in the file, no prices of this family yet", r.Family)
	case r.Unit != "us":
		return Sample{}, fmt.Sprintf("%s: in %s, not a time", r.Family, r.Unit)
	case !(r.Median > 0 && r.Median < longest):
		return Sample{}, "no time"
	}
	if a, ok := k.(cost.Attention); ok {
		switch {
		case r.Kernel == "sdpa_efficient":
			return Sample{}, "memory-efficient attention of PyTorch: kept in the file, no prices of it"
		case a.Backward && r.Median < hostBoundBackward:
			return Sample{}, "backward attention below 0.5 ms: the host time of PyTorch's autograd shows"
		}
		a.FA2, a.CuDNN = r.Kernel == "sdpa_flash", r.Kernel == "sdpa_cudnn"
		k = a
	}
	if g, ok := k.(cost.GEMM); ok && r.Kernel == "cublaslt" && g.DType.Bytes() < 2 {
		g.Fastest = true // of narrow formats, engines bring kernels of their own
		k = g
	}
	return Sample{Kernel: k, DType: r.DType, Micros: r.Median, Own: true}, ""
}

// sureness sums up a file for the provenance.
func sureness(f *sample.File) string {
	within := 0
	for _, r := range f.Rows {
		if r.Within {
			within++
		}
	}
	note := fmt.Sprintf("%s, driver %s, %s: 95 %% interval of the median within 2 %% in %d of %d rows", f.Header.GPU, f.Header.Driver, f.Header.Date, within, len(f.Rows))
	if f.Header.Synthetic {
		note = "synthetic: " + note
	}
	return note
}

// gpuOf finds the profile's name of a GPU in what the driver calls it ("NVIDIA
// A100-SXM4-40GB" is a100-40gb); "" where none is known.
func gpuOf(driverName string) string {
	words := strings.FieldsFunc(strings.ToLower(driverName), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	best := ""
	for _, name := range hw.GPUNames() {
		inside := true
		for _, part := range strings.Split(name, "-") {
			inside = inside && slices.Contains(words, part)
		}
		if inside && len(name) > len(best) {
			best = name
		}
	}
	return best
}

// syntheticAllowed tells whether any table is of a fake GPU, and refuses those
// that a profile must not be made of.
func syntheticAllowed(used []TableUse, opt FitOptions) (bool, error) {
	for _, u := range used {
		if !u.Synthetic {
			continue
		}
		if !opt.AllowSynthetic {
			return true, fmt.Errorf("%s is synthetic: a fake GPU made its numbers; --allow-synthetic fits them for a test", u.Table)
		}
		if dir := filepath.Dir(opt.Path); opt.Path == "" || filepath.Base(dir) == "profiles" && filepath.Base(filepath.Dir(dir)) == "calibrate" {
			return true, fmt.Errorf("%s is synthetic: no embedded profile may be fitted to it; give --out elsewhere", u.Table)
		}
		return true, nil
	}
	return false, nil
}

// fewestOwnRows of a kind make a fit that replaces the one of public tables.
var fewestOwnRows = map[cost.Family]int{
	cost.FamGEMM: 30, cost.FamGroupedGEMM: fewestGroupedRows, cost.FamMoE: fewestMoERows, cost.FamMemory: fewestMemoryRows,
	cost.FamAttention: fewestAttentionRows, cost.FamEncoderAttn: fewestAttentionRows, cost.FamDecodeAttn: fewestAttentionRows,
	cost.FamMLA: fewestAttentionRows, cost.FamCollective: 10, cost.FamP2P: 10, cost.FamAllToAll: 10,
}

// kind tells which fit a sample belongs to: of a family, and of its format or op
// where those are fitted one by one.
func (s Sample) kind() string {
	f := string(s.Kernel.Family())
	switch k := s.Kernel.(type) {
	case cost.GEMM:
		return f + " " + string(k.DType)
	case cost.GroupedGEMM:
		return f + " " + string(k.DType)
	case cost.MoE:
		return f + " " + string(k.DType)
	case cost.Memory:
		return f + " " + k.Op
	}
	return f
}

// preferOwn keeps, of each kind of kernel, this project's samples if they are
// enough for a fit, and puts the rows of public tables aside; else it keeps the
// tables and says how many samples are missing. It keeps both where samples
// correct a fit to the tables.
func preferOwn(samples []Sample, skipped map[cost.Family]string) (kept, aside []Sample) {
	own, public := map[string][]Sample{}, map[string][]Sample{}
	for _, s := range samples {
		if a, ok := s.Kernel.(cost.Attention); s.Own && (!ok || !a.Backward && !a.FA2 && !a.CuDNN) { // fits are of forward passes of the generation's kernel
			own[s.kind()] = append(own[s.kind()], s)
		} else if !s.Own {
			public[s.kind()] = append(public[s.kind()], s)
		}
	}
	for _, s := range samples {
		f := s.Kernel.Family()
		n := len(own[s.kind()])
		enough := n > 0 && n >= fewestOwnRows[f]
		switch {
		case f == cost.FamGEMM && enough && !standsAlone(own[s.kind()]) && standsAlone(public[s.kind()]):
			kept = append(kept, s)
		case s.Own == enough:
			kept = append(kept, s)
		case s.Own:
			skipped[f] = fmt.Sprintf("%d rows of samples of %s, a fit needs %d", n, s.kind(), fewestOwnRows[f])
		default:
			if s.Apart == "" {
				aside = append(aside, s)
			}
		}
	}
	return kept, aside
}

// ProfileOf names the profile of the GPU that samples are of; "" where none is
// known, or the GPU is a fake.
func ProfileOf(h sample.Header) string {
	if h.Synthetic {
		return ""
	}
	return gpuOf(h.GPU)
}
