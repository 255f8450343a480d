package unit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

type named string

func (n named) Name() string { return string(n) }

func TestRegistry(t *testing.T) {
	r := NewRegistry[named]("planet")
	for _, n := range []named{"venus", "planet_x", "earth_plus"} {
		r.Add(n)
	}
	require.NoError(t, r.Err())
	require.Equal(t, []named{"earth_plus", "planet_x", "venus"}, r.All())
	for name, want := range map[string]named{" Venus ": "venus", "PLANET-X": "planet_x", "Earth+": "earth_plus"} {
		got, err := r.Lookup(name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := r.Lookup("venos")
	require.EqualError(t, err, `no planet is called "venos"; did you mean "venus"?`)
	_, err = r.Lookup("kuiper")
	require.EqualError(t, err, `no planet is called "kuiper"; known are earth_plus, planet_x, venus`)

	r.Add("Planet-X")
	r.Add("")
	require.EqualError(t, r.Err(), "the planet name \"Planet-X\" is empty or taken\nthe planet name \"\" is empty or taken")
	require.Len(t, r.All(), 3)
}
