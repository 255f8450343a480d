package lower

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The halves of a backward block hold each op once, in order; what an op waited
// for it still waits for, or it is in the half before.
func TestSplitBackward(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Block{Name: "b"}
		for i := range rapid.IntRange(1, 12).Draw(t, "ops") {
			op := Op{Name: string(rune('a' + i)), Lane: Lane(rapid.IntRange(0, 1).Draw(t, "lane"))}
			op.Wgrad = op.Lane == Compute && rapid.Bool().Draw(t, "wgrad")
			for a := range i {
				if rapid.IntRange(0, 3).Draw(t, "after") == 0 {
					op.After = append(op.After, a)
				}
			}
			b.Ops = append(b.Ops, op)
		}
		in, w := splitBackward(&b)
		require.Len(t, b.Ops, len(in.Ops)+len(w.Ops))
		first := map[string]bool{}
		for _, op := range in.Ops {
			require.False(t, op.Wgrad)
			first[op.Name] = true
		}
		for _, half := range []*Block{in, w} {
			last := ""
			for _, op := range half.Ops {
				require.Greater(t, op.Name, last)
				last = op.Name
				var now, was []string
				for _, a := range op.After {
					now = append(now, half.Ops[a].Name)
				}
				for _, a := range b.Ops[op.Name[0]-'a'].After {
					if name := b.Ops[a].Name; half == in || !first[name] {
						was = append(was, name)
					}
				}
				if half == in { // nothing in the first half may wait for the second, but for what it delayed
					for _, name := range now {
						require.True(t, first[name])
					}
					continue
				}
				require.Equal(t, was, now)
			}
		}
	})
}

// What waits for a weight gradient only because it ran in between waits, in the
// first half, for what was before: a combine for the experts' input gradients.
func TestSplitKeepsWhatMessagesWaitFor(t *testing.T) {
	b := Block{Ops: []Op{
		{Name: "gather", Lane: Comm},
		{Name: "dgrad", After: []int{0}},
		{Name: "regather", Lane: Comm, After: []int{1}},
		{Name: "wgrad 1", After: []int{2}, Wgrad: true},
		{Name: "wgrad 2", Wgrad: true},
		{Name: "combine", Lane: Comm, After: []int{4}},
	}}
	in, w := splitBackward(&b)
	require.Equal(t, []Op{{Name: "gather", Lane: Comm}, {Name: "dgrad", After: []int{0}}, {Name: "combine", Lane: Comm, After: []int{1}}}, in.Ops)
	require.Equal(t, []Op{{Name: "regather", Lane: Comm}, {Name: "wgrad 1", After: []int{0}, Wgrad: true}, {Name: "wgrad 2", Wgrad: true}}, w.Ops)
}
