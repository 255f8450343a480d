package cost

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Digest names what a profile prices by: SHA-256, in hexadecimal, of its
// parameters and those of all that it derives from.
func (p *Profile) Digest() (string, error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for ; p != nil; p = p.base {
		if err := enc.Encode(p); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
