package pipeline

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/sim/unit"
)

func TestRegistry(t *testing.T) {
	require.NoError(t, schedules.Err())
	var names []string
	for _, s := range All() {
		names = append(names, s.Name())
		require.Equal(t, unit.NameKey(s.Name()), s.Name(), "names are written as they are looked up")
		require.NotEmpty(t, s.Describe())
		require.NotContains(t, s.Describe(), "\n")
		found, err := Lookup(strings.ToUpper(strings.ReplaceAll(s.Name(), "_", "-")))
		require.NoError(t, err)
		require.Equal(t, s, found)
	}
	require.True(t, slices.IsSorted(names), "%v", names)
	require.Subset(t, names, []string{"none", "gpipe", "1f1b", "interleaved_1f1b"})
}

func TestLookupSuggests(t *testing.T) {
	for name, want := range map[string]string{
		"1f1d":             `did you mean "1f1b"?`,
		"interleaved":      `did you mean "interleaved_1f1b"?`,
		"interleaved-1f1d": `did you mean "interleaved_1f1b"?`,
		"g-pipe":           `did you mean "gpipe"?`,
		"wavefront":        "known are 1f1b, ",
		"":                 "known are 1f1b, ",
	} {
		_, err := Lookup(name)
		require.ErrorContains(t, err, want, "%q", name)
	}
}
