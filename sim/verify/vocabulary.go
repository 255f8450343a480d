package verify

import (
	"fmt"
	"slices"
	"strings"
)

// vocabularySchedule maps the schedules of sail-sg/VocabularyParallelism
// (arXiv:2411.05288, section 6), written 1f1b:method.
func vocabularySchedule(r Row, v map[string]any) error {
	base, method, ok := strings.Cut(r["schedule"], ":")
	if !ok || method == "baseline" {
		return nil
	}
	if base == "1f1b" {
		switch method {
		case "vocab-1":
			v["schedule.name"], v["schedule.barriers"] = "vocab_1f1b", int64(2)
			return nil
		case "vocab-2":
			v["schedule.name"], v["schedule.barriers"] = "vocab_1f1b", int64(1)
			return nil
		case "interlaced":
			v["schedule.name"] = "interlaced_1f1b"
			return nil
		case "redis":
			layers, err := redistributed(r, v)
			if err != nil {
				return err
			}
			v["parallel.layers_per_stage"] = layers
			return nil
		}
	}
	return inexpressible("schedule " + r["schedule"] + " is not in the catalogue")
}

// redistributed divides the layers so that the stage with the most FLOPs has as few
// as can be: the output layer is V/(12h + 2s) layers by the formula of Narayanan et
// al. (arXiv:2104.04473, appendix). Of equal divisions it is the one with the most
// layers on the last stage; what does not divide among the others goes to the
// middle. The paper says that much; the artifact's own lists are not in the rows.
func redistributed(r Row, v map[string]any) ([]int64, error) {
	size := map[string]int64{}
	for _, col := range []string{"layers", "hidden", "seq", "vocab"} {
		n, err := r.int(col)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, inexpressible("layers are redistributed and " + col + " is not given")
		}
		size[col] = n
	}
	others := v["parallel.pp"].(int64) - 1
	if others < 1 {
		return nil, inexpressible(fmt.Sprintf("layers cannot be redistributed over %d stages", others+1))
	}
	head := float64(size["vocab"]) / float64(12*size["hidden"]+2*size["seq"])
	best, last := 0.0, int64(-1)
	for l := size["layers"]; l >= 0; l-- {
		most := max(float64(l)+head, float64((size["layers"]-l+others-1)/others))
		if last < 0 || most < best {
			best, last = most, l
		}
	}
	left := size["layers"] - last
	out := slices.Repeat([]int64{left / others}, int(others))
	for i := range left % others {
		out[(others-left%others)/2+i]++
	}
	return append(out, last), nil
}
