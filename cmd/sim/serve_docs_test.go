package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim/serve"
)

// docs/serve.md has the routes, flags and defaults that the program has, and no others,
// and its command lines are understood.
func TestServeDocs(t *testing.T) {
	data, err := os.ReadFile("../../docs/serve.md")
	require.NoError(t, err)
	text := string(data)
	var want, have []string
	for _, r := range serve.Routes() {
		want = append(want, fmt.Sprintf("| `%s` | %s |", r.Pattern, r.Doc))
	}
	route := regexp.MustCompile("^\\| `(GET|POST|PUT|PATCH|DELETE) ")
	var flags []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if route.MatchString(line) {
			have = append(have, line)
		}
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `--") {
			flags = append(flags, strings.Trim(cells[0], "| `"))
		}
		if cmd, ok := strings.CutPrefix(line, "    sim "); ok {
			cmd, _, _ = strings.Cut(cmd, "#")
			p, err := kong.New(&cli{})
			require.NoError(t, err)
			_, err = p.Parse(strings.Fields(cmd))
			require.NoError(t, err, cmd)
		}
	}
	require.Equal(t, want, have)

	p, err := kong.New(&cli{})
	require.NoError(t, err)
	i := slices.IndexFunc(p.Model.Children, func(n *kong.Node) bool { return n.Name == "serve" })
	for k, f := range p.Model.Children[i].Flags {
		require.Equal(t, "--"+f.Name, flags[k])
		if f.Default != "" && f.Default != "0" {
			require.Contains(t, text, fmt.Sprintf("| `--%s` | %s |", f.Name, f.Default))
		}
	}
	require.Len(t, p.Model.Children[i].Flags, len(flags))
	field, ok := reflect.TypeFor[serveCmd]().FieldByName("MaxOps")
	require.True(t, ok)
	limit, err := strconv.ParseFloat(field.Tag.Get("default"), 64)
	require.NoError(t, err)
	require.Equal(t, float64(serve.DefaultMaxOps), limit)

	// The keys that are said to be refused are keys.
	for _, key := range []string{"model.config", "data.lengths", "routing.file", "schedule.file"} {
		require.True(t, slices.ContainsFunc(scenarios.Reference(), func(k scenarios.Key) bool { return k.Key == key }), key)
		require.Contains(t, text, "`"+key+"`")
	}
}
