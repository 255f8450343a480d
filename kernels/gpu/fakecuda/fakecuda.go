// Package fakecuda builds a stand-in for the CUDA driver, for tests: launches,
// streams, events and graphs without a GPU. Its clock is synthetic, and launchers
// mark everything that was measured on it so.
package fakecuda

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed src/*.c
var sources embed.FS

// PTX declares the kernels that the library has of its own: fake_saxpy adds a*x
// to y, fake_nothing does nothing.
const PTX = `.version 8.0
.target sm_90a
.address_size 64
.visible .entry fake_saxpy(
	.param .u64 fake_saxpy_param_0,
	.param .u64 fake_saxpy_param_1,
	.param .f32 fake_saxpy_param_2,
	.param .u32 fake_saxpy_param_3
)
{ ret; }
.visible .entry fake_nothing()
{ ret; }
`

// Build compiles the driver into dir and returns its path. The error says so
// where there is no C compiler.
func Build(dir string) (string, error) { return Compile(dir, sources, "fakecuda") }

// BuildNVML compiles a stand-in for NVML.
func BuildNVML(dir string) (string, error) { return Compile(dir, sources, "fakenvml") }

// Compile makes a library of src/NAME.c.
func Compile(dir string, from fs.FS, name string) (string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", fmt.Errorf("%s needs gcc: %w", name, err)
	}
	source, err := fs.ReadFile(from, "src/"+name+".c")
	if err != nil {
		return "", err
	}
	in, out := filepath.Join(dir, name+".c"), filepath.Join(dir, "lib"+name+".so")
	if err := os.WriteFile(in, source, 0o644); err != nil {
		return "", err
	}
	if text, err := exec.Command(gcc, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", out, in, "-ldl", "-lm").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return out, nil
}
