// Package fakelibs builds stand-ins for the vendor's libraries, for tests.
package fakelibs

import (
	"embed"

	"orrery/kernels/gpu/fakecuda"
)

//go:embed src
var sources embed.FS

// Build compiles one of fakelt, fakecublas and fakenccl into dir and returns its
// path. The error says so where there is no C compiler.
func Build(dir, name string) (string, error) { return fakecuda.Compile(dir, sources, name) }
