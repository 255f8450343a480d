package scenarios

import (
	"fmt"
	"slices"
	"strings"
)

// relation is an equation between products of keys. Where all keys but one are
// settled it determines that one. A term "len:key" is the number of entries of
// a list that the author wrote.
type relation struct {
	left, right []string
	blame       []string // keys in the order in which an error points at them
}

var (
	gridRelations = []relation{
		{
			left:  []string{"cluster.gpus"},
			right: []string{"parallel.tp", "parallel.cp", "parallel.pp", "parallel.dp"},
			blame: []string{"cluster.gpus", "parallel.dp", "parallel.tp", "parallel.pp", "parallel.cp"},
		},
		{
			left:  []string{"training.global_batch"},
			right: []string{"training.micro_batch", "parallel.dp", "training.microbatches"},
			blame: []string{"training.global_batch", "training.microbatches", "training.micro_batch", "parallel.dp"},
		},
		{
			left:  []string{"len:parallel.layers_per_stage"},
			right: []string{"parallel.pp", "parallel.vp"},
			blame: []string{"parallel.layers_per_stage", "parallel.vp", "parallel.pp"},
		},
	}
	expertRelation = relation{
		left:  []string{"parallel.tp", "parallel.cp", "parallel.dp"},
		right: []string{"parallel.etp", "parallel.ep", "parallel.edp"},
		blame: []string{"parallel.ep", "parallel.etp", "parallel.edp"},
	}
)

// copiesTerm is the term of a relation for the copies that a schedule holds of a stage.
const copiesTerm = "copies of each"

// relations are those of the grid; where stages have copies, of pp x vp chunks
// as many are of one stage.
func (r *resolver) relations() []relation {
	if _, ok := r.llmStages(); ok { // whose number stages() knows
		return gridRelations[:len(gridRelations)-1]
	}
	if r.copies() == 1 {
		return gridRelations
	}
	out := slices.Clone(gridRelations)
	chunks := &out[len(out)-1]
	chunks.left = append(slices.Clone(chunks.left), copiesTerm)
	return out
}

func shortProduct(keys []string) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = short(k)
		if strings.HasPrefix(k, "len:") {
			names[i] = "entries of " + names[i]
		}
	}
	return strings.Join(names, " x ")
}

func (rel relation) String() string { return shortProduct(rel.left) + " = " + shortProduct(rel.right) }

// term is the value of a term; false if it is still open.
func (r *resolver) term(key string) (int64, bool) {
	if key == copiesTerm {
		return r.copies(), true
	}
	if list, ok := strings.CutPrefix(key, "len:"); ok {
		return int64(len(r.s.Parallel.LayersPerStage)), r.wrote(list)
	}
	if !r.settled(key) {
		return 0, false
	}
	return r.num(key), true
}

// solve settles the one open key of the relation, if there is just one, and
// checks the relation if there is none. It reports whether it settled one, and
// which keys are open.
func (r *resolver) solve(rel relation) (progress bool, open []string) {
	value := func(keys []string) (total int64, unknown []string, fits bool) {
		var known []int64
		for _, k := range keys {
			if v, ok := r.term(k); ok {
				known = append(known, v)
			} else {
				unknown = append(unknown, k)
			}
		}
		total, fits = product(known...)
		return total, unknown, fits
	}
	left, openL, fitsL := value(rel.left)
	right, openR, fitsR := value(rel.right)
	open = slices.Concat(openL, openR)
	if len(open) > 1 {
		return false, open
	}
	if !fitsL || !fitsR {
		r.fail(rel.blame, "the product is too large", r.values(slices.Concat(rel.left, rel.right)), "products below 2^63")
		return false, open
	}
	if len(open) == 0 {
		if left != right {
			r.fail(rel.blame, "does not fit the others", r.values(slices.Concat(rel.left, rel.right)), rel.String())
		}
		return false, nil
	}
	whole, others, from := left, right, rel.left
	divisor := rel.right
	if len(openL) == 1 { // the unknown stands on the left
		whole, others, from, divisor = right, left, rel.right, rel.left
	}
	key := open[0]
	if strings.HasPrefix(key, "len:") {
		return false, nil // nothing to settle: stages() makes the list
	}
	var rest []string
	for _, k := range divisor {
		if k != key {
			rest = append(rest, k)
		}
	}
	how := shortProduct(from)
	switch len(rest) {
	case 0:
	case 1:
		how += " / " + shortProduct(rest)
	default:
		how += " / (" + shortProduct(rest) + ")"
	}
	f := byKey[key]
	n := whole / others
	switch {
	case whole%others != 0:
		r.fail(rel.blame, fmt.Sprintf("%s = %s is not whole", short(key), how),
			r.values(slices.Concat(from, rest)), fmt.Sprintf("%s a multiple of %d", shortProduct(from), others))
	case float64(n) > f.max:
		r.fail(rel.blame, fmt.Sprintf("%s = %s is too large", short(key), how), fmt.Sprint(n), f.allowed())
	default:
		r.settle(key, n, "derived: "+how)
		return true, nil
	}
	return false, nil
}

// values writes "tp 8, cp 2".
func (r *resolver) values(keys []string) string {
	var parts []string
	for _, k := range keys {
		if v, ok := r.term(k); ok {
			parts = append(parts, fmt.Sprintf("%s %d", shortProduct([]string{k}), v))
		}
	}
	return strings.Join(parts, ", ")
}

// grid determines the dimensions that the file leaves open.
func (r *resolver) grid() {
	for progress := true; progress && len(r.problems) == 0; {
		progress = false
		for _, rel := range r.relations() {
			p, _ := r.solve(rel)
			progress = progress || p
			if len(r.problems) > 0 {
				return
			}
		}
	}
	if !r.settled("parallel.vp") && r.settled("parallel.pp") && r.s.Parallel.PP == 1 {
		r.settle("parallel.vp", int64(1), "derived: pp is 1")
	}
	if !r.wrote("cluster.gpus") && !r.wrote("parallel.dp") && !r.settled("parallel.dp") {
		r.missing("cluster.gpus", "cluster.gpus, or parallel.dp with every other dimension")
		return
	}
	if !r.settled("training.global_batch") && !r.auto("training.micro_batch") {
		r.missing("training.global_batch", "training.global_batch, or training.microbatches")
		return
	}
	for _, key := range []string{"parallel.tp", "parallel.cp", "parallel.pp", "parallel.vp", "parallel.dp", "cluster.gpus",
		"training.micro_batch", "training.microbatches", "training.global_batch"} {
		if !r.settled(key) {
			r.undetermined(key, r.relations())
			return
		}
	}
}

func (r *resolver) undetermined(key string, rels []relation) {
	var ways []string
	for _, rel := range rels {
		_, open := r.solve(rel)
		var others []string
		mine := false
		for _, k := range open {
			if k == key {
				mine = true
			} else {
				others = append(others, strings.TrimPrefix(k, "len:"))
			}
		}
		if mine {
			ways = append(ways, fmt.Sprintf("%s, which also needs %s", rel, strings.Join(others, " and ")))
		}
	}
	found := ""
	if r.auto(key) {
		found = `"auto"`
	}
	r.fail([]string{key}, "the other keys do not determine it", found, strings.Join(ways, "; or "))
}

// expertGrid determines ep, etp and edp.
func (r *resolver) expertGrid() {
	if r.s.Model.MoE == nil {
		r.settle("parallel.ep", int64(1), "derived: the model is dense")
	}
	if _, open := r.solve(expertRelation); len(r.problems) == 0 && len(open) > 0 {
		for _, key := range []string{"parallel.ep", "parallel.etp"} {
			if !r.settled(key) {
				r.undetermined(key, []relation{expertRelation})
				return
			}
		}
	}
}
