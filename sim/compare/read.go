package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"orrery/sim"
)

// maxStepS bounds a step that picoseconds can count, in seconds (100 days).
const maxStepS = 100 * 86400

// Read reads a result as `sim run --json` prints it, and holds it to what is true
// of every one. name stands for the file in errors.
func Read(name string, data []byte) (*sim.Result, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var r sim.Result
	if err := dec.Decode(&r); err != nil {
		return nil, fmt.Errorf("%s: not a result of `sim run --json`: %w", name, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: not a result of `sim run --json`: text follows the document", name)
	}
	if err := check(&r); err != nil {
		return nil, fmt.Errorf("%s: not a result of `sim run --json`: %w", name, err)
	}
	return &r, nil
}

func check(r *sim.Result) error {
	if !(r.StepTimeS > 0 && r.StepTimeS <= maxStepS) {
		return fmt.Errorf("step_time_s is %g, must be above 0 and at most %g", r.StepTimeS, float64(maxStepS))
	}
	if err := partition(r.BreakdownS, r.StepTimeS); err != nil {
		return fmt.Errorf("breakdown_s %w", err)
	}
	for i, s := range r.MemoryGiBByStage {
		const most = 1 << 30 // GiB
		if !(s.PeakGiB >= 0 && s.PeakGiB <= most) {
			return fmt.Errorf("memory_gib_by_stage[%d]: peak_gib is %g", i, s.PeakGiB)
		}
		if err := partition(s.Breakdown, s.PeakGiB); err != nil {
			return fmt.Errorf("memory_gib_by_stage[%d]: breakdown_gib %w", i, err)
		}
	}
	return nil
}

// partition checks that rows are no less than 0 and add up to a whole.
func partition(rows map[string]float64, whole float64) error {
	sum := 0.0
	for _, name := range sorted(rows) {
		if !(rows[name] >= 0) {
			return fmt.Errorf("has %s = %g, must be 0 or more", name, rows[name])
		}
		sum += rows[name]
	}
	if !(math.Abs(sum-whole) <= 1e-6*whole) {
		return fmt.Errorf("adds up to %g instead of %g", sum, whole)
	}
	return nil
}
