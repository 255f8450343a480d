package net

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// sharedFile is the path of a reference table beside the repository; the test
// is skipped where it is missing.
func sharedFile(t testing.TB, name string) string {
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		require.NotEqual(t, up, dir, "no go.mod above the test")
		dir = up
	}
	path := filepath.Join(dir, "..", "shared", "data", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("reference table ../shared/data/%s is missing", name)
	}
	return path
}

// readCSV returns a table's rows by column name.
func readCSV(t testing.TB, name string) []map[string]string {
	f, err := os.Open(sharedFile(t, name))
	require.NoError(t, err)
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	var rows []map[string]string
	for _, rec := range records[1:] {
		row := map[string]string{}
		for i, col := range records[0] {
			row[col] = rec[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func number(t testing.TB, s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return v
}

// The reference tables name collectives as nccl-tests does.
var collectives = map[string]Collective{
	"allreduce": AllReduce, "allgather": AllGather, "reducescatter": ReduceScatter,
	"alltoall": AllToAll, "broadcast": Broadcast, "p2p": SendRecv,
}
