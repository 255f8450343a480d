// Package cuda holds the kernels: their sources in CUDA C++, which the emulator
// compiles for the CPU, and the PTX that gen.sh made of them.
package cuda

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
)

// Sources are the .cu and .h files.
//
//go:embed *.cu *.h
var Sources embed.FS

//go:embed ptx/*.ptx
var images embed.FS

// PTX is the compiled code of one source file, by its name without ending, and
// the first 12 hex digits of its SHA-256, which every sample carries.
func PTX(name string) (code []byte, hash string, err error) {
	code, err = images.ReadFile("ptx/" + name + ".ptx")
	if err != nil {
		return nil, "", fmt.Errorf("no kernels of %s.cu are built into this binary; kernels/gen.sh makes them", name)
	}
	sum := sha256.Sum256(code)
	return code, hex.EncodeToString(sum[:])[:12], nil
}
