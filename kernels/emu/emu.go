// Package emu compiles the CUDA kernels for the CPU, for tests: the same sources
// with threads as fibers. The fake driver finds the library by its path in the
// environment variable ORRERY_EMU and runs kernels in it, so that the numbers of
// every kernel are checked without a GPU. Its times mean nothing.
package emu

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"orrery/kernels/cuda"
)

// LibraryEnv names the library to the fake driver.
const LibraryEnv = "ORRERY_EMU"

//go:embed src
var sources embed.FS

var entry = regexp.MustCompile(`extern "C" __global__ void (\w+)\(`)

// Build compiles the library into dir and returns its path. The error says so
// where there is no C++ compiler.
func Build(dir string) (string, error) {
	gxx, err := exec.LookPath("g++")
	if err != nil {
		return "", fmt.Errorf("the emulator of kernels needs g++: %w", err)
	}
	src, err := fs.Sub(sources, "src")
	if err != nil {
		return "", err
	}
	var all, table bytes.Buffer
	for _, from := range []fs.FS{src, cuda.Sources} {
		names, err := fs.Glob(from, "*.*")
		if err != nil {
			return "", err
		}
		for _, name := range names {
			text, err := fs.ReadFile(from, name)
			if err != nil {
				return "", err
			}
			if strings.HasSuffix(name, ".cu") {
				fmt.Fprintf(&all, "#include %q\n", name)
				for _, m := range entry.FindAllSubmatch(text, -1) {
					fmt.Fprintf(&table, "KERNEL(%s)\n", m[1])
				}
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				return "", err
			}
		}
	}
	for name, text := range map[string][]byte{"kernels.inc": all.Bytes(), "table.inc": table.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return "", err
		}
	}
	out := filepath.Join(dir, "liborrery-emu.so")
	cmd := exec.Command(gxx, "-O2", "-std=c++17", "-Wall", "-Wno-unknown-pragmas", "-Wno-attributes", "-shared", "-fPIC", "-fvisibility=hidden", "-fno-fast-math", "-o", out, filepath.Join(dir, "emulator.cpp"))
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("emulator: %w: %s", err, text)
	}
	return out, nil
}
