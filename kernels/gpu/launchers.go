package gpu

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"orrery/sim/unit"
)

var launchers []Launcher

func register(l Launcher) { launchers = append(launchers, l) }

// Launchers lists what this binary was built with, the default first.
func Launchers() []Launcher {
	out := slices.Clone(launchers)
	slices.SortStableFunc(out, func(a, b Launcher) int { return strings.Compare(rank(a), rank(b)) })
	return out
}

func rank(l Launcher) string {
	if l.Name() == "dlopen" {
		return ""
	}
	return l.Name()
}

// Lookup returns the launcher of that name; "" is the default.
func Lookup(name string) (Launcher, error) {
	var known []string
	for _, l := range Launchers() {
		if name == "" || l.Name() == name {
			return l, nil
		}
		known = append(known, l.Name())
	}
	hint := ""
	if near := unit.Nearest(name, known); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	if name == "cu" {
		hint = "; it is built with -tags cuda"
	}
	return nil, fmt.Errorf("no launcher is called %q; this binary has %s%s", name, strings.Join(known, ", "), hint)
}

// Open opens a GPU by the launcher of that name; "" is the default.
func Open(name string, ordinal int) (Device, error) {
	l, err := Lookup(name)
	if err != nil {
		return nil, err
	}
	return l.Open(ordinal)
}

var kernelModule = regexp.MustCompile(`Kernel Module(?: for \S+)?\s+([0-9.]+)`)

// driverVersion is the version of the kernel module, or where the system does
// not tell, that of the driver API.
func driverVersion(cuda string) string {
	if text, err := os.ReadFile("/proc/driver/nvidia/version"); err == nil {
		if m := kernelModule.FindSubmatch(text); m != nil {
			return string(m[1])
		}
	}
	return "of CUDA " + cuda
}
