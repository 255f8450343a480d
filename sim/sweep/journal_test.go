package sweep

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzJournal: whatever a journal holds, it is refused, or every entry that
// counts is read back under its identity, and a writer can go on behind it.
func FuzzJournal(f *testing.F) {
	head, err := json.Marshal(header{Format: journalFormat, Version: journalVersion, Build: build()})
	require.NoError(f, err)
	for _, rest := range []string{
		"{\"id\":\"a\",\"status\":\"ok\"}\n{\"id\":\"a\",\"status\":\"failed\"}\n",
		"{\"id\":\"b\",\"status\":\"failed\"}\n\x00\x00\n{\"id\":\"b\",\"status\":\"refused\",\"reason\":\"x\"}\n{\"id\":\"c\",\"sta",
		"{\"id\":\"e\",\"status\":\"ok\",\"values\":3}\n",
		"\n\n{\"id\":\"d\",\"status\":\"lost\"}\n", "",
	} {
		f.Add(rest)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		dir := t.TempDir()
		path := filepath.Join(dir, journalName(Shard{}))
		require.NoError(t, os.WriteFile(path, append(append(head, '\n'), rest...), 0o644))
		before := readBack(t, dir)
		w, err := openJournal(dir, Shard{}, false)
		require.NoError(t, err)
		require.NoError(t, w.line(&Entry{ID: "new", Status: Refused}))
		require.NoError(t, w.close())
		after := readBack(t, dir)
		if s, ok := before["new"]; !ok || s == Failed {
			before["new"] = Refused
		}
		require.Equal(t, before, after)
	})
}

// readBack reads every entry of a folder.
func readBack(t *testing.T, dir string) map[identity]Status {
	j, err := readJournals(dir)
	require.NoError(t, err)
	in, err := j.open()
	require.NoError(t, err)
	defer in.close()
	out := map[identity]Status{}
	for id := range j.at {
		e, err := in.get(id)
		require.NoError(t, err)
		require.Equal(t, id, e.ID)
		out[id] = e.Status
	}
	return out
}
