package gpu

import "errors"

// Tile fills a buffer with a pattern over and over, the last one cut off. The
// copies run on the GPU: uploads of gigabytes would take longer than measuring them.
func Tile(dev Device, dst Ptr, bytes int64, pattern []byte) (err error) {
	n := min(int64(len(pattern)), bytes)
	if err := dev.Upload(dst, pattern[:n]); err != nil || n == bytes {
		return err
	}
	s, err := dev.NewStream()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for n < bytes {
		more := min(n, bytes-n)
		if err := s.Copy(dst+Ptr(n), dst, more); err != nil {
			return err
		}
		n += more
	}
	return s.Sync()
}
