// Package fakelibs builds stand-ins for the vendor's libraries, for tests.
package fakelibs

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed src
var sources embed.FS

// Build compiles one of fakelt, fakecublas and fakenccl into dir and returns its
// path. The error says so where there is no C compiler.
func Build(dir, name string) (string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", fmt.Errorf("%s needs gcc: %w", name, err)
	}
	source, err := sources.ReadFile("src/" + name + ".c")
	if err != nil {
		return "", err
	}
	in, out := filepath.Join(dir, name+".c"), filepath.Join(dir, "lib"+name+".so")
	if err := os.WriteFile(in, source, 0o644); err != nil {
		return "", err
	}
	if text, err := exec.Command(gcc, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", out, in, "-lm").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return out, nil
}
