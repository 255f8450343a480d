package scenarios

import (
	"errors"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Texts that would take the parser minutes, or all memory, are refused at the place from
// which on they are too deep; strings and comments may have what they like.
func TestNesting(t *testing.T) {
	const n = maxNesting
	for text, at := range map[string]place{
		"a = 1\nb = " + strings.Repeat("[", 1e5):                {2, 5 + n},
		"a = " + strings.Repeat("{a=", 1e5):                     {1, 5 + 3*n},
		strings.Repeat("é.", 1e5) + "a = 1":                     {1, 2 * (n + 1)},
		"[" + strings.Repeat("a.", 1e5) + "a]":                  {1, 1 + 2*(n+1)},
		"a = [\n\"]]]]\", # ]]\n" + strings.Repeat("[", n) + "": {3, n},
	} {
		_, err := Parse("x.toml", []byte(text), nil, nil)
		var e *Error
		require.True(t, errors.As(err, &e))
		require.Equal(t, "nested too deep", e.Msg)
		require.Equal(t, at, place{e.Line, e.Col})
	}
	deep := strings.Repeat("[{a.b.c", 100)
	for _, text := range []string{"a = \"" + deep + "\\\"" + deep + "\"", "a = '" + deep + "'", "a = \"\"\"\n" + deep + "\"\n\\\"\"\"\"", "a = '''\n" + deep + "'\n'''", "# " + deep,
		strings.Repeat("a = [[1.5, 2.5], {b = 1}]\n", 100)} {
		require.NoError(t, nestedTooDeep("x.toml", text))
	}
	_, err := Parse("x.toml", nil, []string{"parallel.tp=" + strings.Repeat("[", 1e6)}, nil)
	require.ErrorContains(t, err, "--set: parallel.tp: nested too deep")
}

// What is as deep as is allowed is never refused, however it is nested.
func TestNestingAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		depth := rapid.IntRange(0, maxNesting).Draw(t, "depth")
		text, end := "", ""
		for range depth {
			if rapid.Bool().Draw(t, "list") {
				text, end = text+"[ '[[', ", "]"+end
			} else {
				text, end = text+"{ \"a.b\".c = ", "}"+end
			}
		}
		text = "a." + strings.Repeat("b.", rapid.IntRange(0, maxNesting-2).Draw(t, "dots")) + "c = " + text + "1.5" + end + "\n"
		var tree map[string]any
		if _, err := toml.Decode(text, &tree); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if err := nestedTooDeep("x.toml", text); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// Columns on a long line are those that counting from its start gives.
func TestLocateLongLine(t *testing.T) {
	text := "\"é\" = [" + strings.Repeat("'ü', ", 1000) + "]\nb = {c = 1, d = 2}\n[e]\nf = 3\n"
	where := locate(text)
	require.Equal(t, place{1, 8 + 5*999}, where.value[`"é"[999]`])
	require.Equal(t, place{2, 10}, where.value["b.c"])
	require.Equal(t, place{2, 13}, where.key["b.d"])
	require.Equal(t, place{4, 5}, where.value["e.f"])
	require.Equal(t, place{3, 1}, where.key["e"])
}

// The reference has every key that the schema has, with what it says of it.
func TestReference(t *testing.T) {
	keys := Reference()
	require.Len(t, keys, len(schema))
	for i, k := range keys {
		require.Equal(t, schema[i].key, k.Key)
		require.NotEmpty(t, k.Doc, k.Key)
		require.NotEmpty(t, k.Kind, k.Key)
	}
}
