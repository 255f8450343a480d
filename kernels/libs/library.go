// Package libs measures the vendor's libraries, which it opens at run time:
// cuBLASLt, grouped GEMM of cuBLAS, and NCCL. Building needs none of them.
package libs

import (
	"fmt"
	"os"
	"strings"

	"github.com/ebitengine/purego"
)

// library is how one is found.
type library struct {
	title string
	env   string   // names another file than the system's
	files []string // newest first
	how   string   // to get it
}

// Environment variables that name another library, for tests and odd places.
const (
	LtEnv     = "ORRERY_CUBLASLT"
	CublasEnv = "ORRERY_CUBLAS"
	NCCLEnv   = "ORRERY_NCCL"
)

var (
	ltLibrary = library{"cuBLASLt", LtEnv, []string{"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"},
		"it comes with the CUDA toolkit and with the Python package nvidia-cublas; put its folder into LD_LIBRARY_PATH"}
	cublasLibrary = library{"cuBLAS", CublasEnv, []string{"libcublas.so.13", "libcublas.so.12", "libcublas.so"},
		"it comes with the CUDA toolkit and with the Python package nvidia-cublas; put its folder into LD_LIBRARY_PATH"}
	ncclLibrary = library{"NCCL", NCCLEnv, []string{"libnccl.so.2", "libnccl.so"},
		"it comes with the Python package nvidia-nccl-cu13 (or -cu12) and with NVIDIA's packages; put its folder into LD_LIBRARY_PATH"}
)

// toolkit is where CUDA's installer puts libraries, on the loader's path or not.
const toolkit = "/usr/local/cuda/lib64/"

// open loads the library and its functions.
func (l library) open(functions map[string]any) error {
	files := l.files
	if f := os.Getenv(l.env); f != "" {
		files = []string{f}
	}
	var handle uintptr
	var err error
	var file string
	for _, file = range files {
		if handle, err = purego.Dlopen(file, purego.RTLD_NOW|purego.RTLD_GLOBAL); err == nil {
			break
		}
		if handle, err = purego.Dlopen(toolkit+file, purego.RTLD_NOW|purego.RTLD_GLOBAL); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%s is not there (%s): %s", l.title, strings.Join(files, ", "), l.how)
	}
	for name, into := range functions {
		at, err := purego.Dlsym(handle, name)
		if err != nil {
			return fmt.Errorf("%s has no %s: it is too old", file, name)
		}
		purego.RegisterFunc(into, at)
	}
	return nil
}

// missing tells whether the library cannot be opened, and why.
func (l library) missing() error { return l.open(nil) }
