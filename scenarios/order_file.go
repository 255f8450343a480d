package scenarios

import (
	"errors"
	"io/fs"
	"strings"

	"orrery/schedules/pipeline"
)

// orderFile reads the order of passes that schedule.file names.
func (r *resolver) orderFile() {
	const key, want = "schedule.file", "the path of an order in PyTorch's pipeline grammar, relative to the scenario's file"
	sc := &r.s.Schedule
	switch {
	case sc.Name != fileOrder: // checkOwnKeys refuses the key of others
		return
	case !r.wrote(key):
		r.fail([]string{key, "schedule.name"}, "schedule file needs schedule.file", "", want)
		return
	case r.read == nil:
		r.fail([]string{key}, "there is no folder to read it from", show(sc.File), "scenarios in files")
		return
	}
	data, err := r.read(sc.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.fail([]string{key}, "no such file", show(sc.File), want)
		return
	case err != nil:
		r.fail([]string{key}, "cannot read the file", show(sc.File), want)
		return
	}
	if sc.read, err = pipeline.ReadOrder(string(data)); err != nil {
		r.fail([]string{key}, strings.ReplaceAll(err.Error(), "\n", "; "), show(sc.File), "an order in PyTorch's pipeline grammar that runs to its end")
	}
}
