package sample

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Appender adds rows to a file, each on the disk before Add returns: an
// interrupted run loses at most the row in flight.
type Appender struct{ out *os.File }

// Append opens a file for more rows, or begins it with the header where there is
// none. It returns the rows that are there. A row that was cut off is removed
// first; cut tells its line, else 0. A file of another GPU is refused, and one
// whose numbers are synthetic where the header's are not, or the reverse.
func Append(path string, h Header) (a *Appender, before *File, cut int, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := begin(path, h); err != nil {
			return nil, nil, 0, err
		}
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, nil, 0, err
	}
	f, err := Read(data, path)
	var truncated *TruncatedError
	if errors.As(err, &truncated) {
		cut = truncated.Line
	} else if err != nil {
		return nil, nil, 0, err
	}
	if f.Header.GPU != h.GPU || f.Header.Synthetic != h.Synthetic {
		return nil, nil, 0, fmt.Errorf("%s holds samples of %s, this is %s: give another --out", path, describe(f.Header), describe(h))
	}
	out, err := os.OpenFile(path, os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, 0, err
	}
	if err := errors.Join(out.Truncate(f.Whole), seek(out, f.Whole)); err != nil {
		return nil, nil, 0, errors.Join(err, out.Close())
	}
	return &Appender{out}, f, cut, nil
}

func describe(h Header) string {
	if h.Synthetic {
		return h.GPU + " (synthetic)"
	}
	return h.GPU
}

func seek(f *os.File, to int64) error {
	_, err := f.Seek(to, 0)
	return err
}

// begin makes a file with a header and no rows, whole or not at all.
func begin(path string, h Header) error {
	head, err := encodeHeader(h)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(head)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // nothing is there after the rename
	}
	return err
}

// Add writes one row and waits until it is on the disk.
func (a *Appender) Add(r Row) error {
	line, err := encodeRow(r)
	if err != nil {
		return err
	}
	if _, err := a.out.Write(line); err != nil {
		return err
	}
	return a.out.Sync()
}

// Close closes the file.
func (a *Appender) Close() error { return a.out.Close() }
