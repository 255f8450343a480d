package sweep

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"runtime/debug"
	"sync"
)

// build names the program: results of two must not mix. It is a hash of the
// binary, since a revision does not tell two modified work trees apart; Go builds
// the same source to the same bytes. The revision, where it is known, is for
// people.
var build = sync.OnceValue(func() string {
	hash := hashOfBinary()
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return hash
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return hash + " of revision " + s.Value
		}
	}
	return hash
})

func hashOfBinary() string {
	const unknown = "unknown binary"
	path, err := os.Executable()
	if err != nil {
		return unknown
	}
	f, err := os.Open(path)
	if err != nil {
		return unknown
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return unknown
	}
	const shown = 8
	return hex.EncodeToString(h.Sum(nil)[:shown])
}
