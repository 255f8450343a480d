package cost

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ExpertLoad is what one rank of an expert-parallel group receives.
type ExpertLoad struct {
	Rows  float64 // tokens times experts they go to on this rank
	Hit   float64 // experts with at least one token
	Tiles float64 // tiles of 128 rows, each expert's rounded up
}

// expertTile is the rows of a tile of the grouped GEMMs.
const expertTile = 128

// ExpertTile is expertTile for those who count the tiles of a [GroupedGEMM].
const ExpertTile = expertTile

// alpha of the distribution; zero if balanced.
func (m MoE) alpha() (float64, error) {
	if m.Distribution == "balanced" || m.Distribution == "" {
		return 0, nil
	}
	text, ok := strings.CutPrefix(m.Distribution, "power_law_")
	alpha, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || !(alpha > 0 && alpha <= 4) || alpha == 1 {
		return 0, fmt.Errorf("moe: distribution %q is neither balanced nor power_law_<alpha> with alpha in (0, 4], not 1", m.Distribution)
	}
	return alpha, nil
}

// valid reports what is wrong with the shape.
func (m MoE) valid() error {
	switch {
	case m.Tokens < 1 || m.Hidden < 1 || m.Inter < 1 || m.TopK < 1 || m.Experts < 1 || m.TP < 1 || m.EP < 1:
		return fmt.Errorf("moe: sizes must be positive: %s", m)
	case m.TopK > m.Experts || m.Experts%m.EP != 0:
		return fmt.Errorf("moe: %d experts cannot be spread over %d ranks, %d a token", m.Experts, m.EP, m.TopK)
	case m.Inter%m.TP != 0:
		return fmt.Errorf("moe: %d channels cannot be split %d ways", m.Inter, m.TP)
	case m.Tokens > 1<<26 || m.Experts > 1<<14 || m.TopK > 1<<10 || m.Hidden > 1<<20 || m.Inter > 1<<20:
		return fmt.Errorf("moe: shape too large to price: %s", m)
	}
	return nil
}

// Load returns what the priced rank receives: the first rank if balanced, the
// hottest one on average if the expert loads follow a power law. Both follow the
// routing that the tables were measured with (aiconfigurator, collector/helper.py:
// balanced_logits and power_law_logits_v3).
func (m MoE) Load() (ExpertLoad, error) {
	if err := m.valid(); err != nil {
		return ExpertLoad{}, err
	}
	alpha, err := m.alpha()
	if err != nil {
		return ExpertLoad{}, err
	}
	k := loadKey{m.Tokens, m.TopK, m.Experts, m.EP, alpha}
	if l, ok := loads.Load(k); ok {
		return l.(ExpertLoad), nil
	}
	l := k.balanced()
	if alpha > 0 {
		l = k.hottest()
	}
	loads.Store(k, l)
	return l, nil
}

// loads remembers the results of a pure function that takes a millisecond.
var loads sync.Map

type loadKey struct {
	tokens, topK, experts, ep int64
	alpha                     float64
}

// balanced counts the rows of the first rank's experts when token i goes to
// experts i, i+stride, ... (modulo the number of experts).
func (k loadKey) balanced() ExpertLoad {
	var l ExpertLoad
	stride := (k.experts + k.topK - 1) / k.topK
	local := k.experts / k.ep
	rows := make([]int64, local)
	if k.tokens >= stride {
		for e := range local {
			for j := range k.topK {
				// tokens i < tokens with i = e - j*stride modulo experts
				first := ((e-j*stride)%k.experts + k.experts) % k.experts
				rows[e] += (k.tokens - first + k.experts - 1) / k.experts
			}
		}
	} else { // fewer tokens than a stride spread out evenly
		for i := range k.tokens {
			for j := range k.topK {
				if e := (i*stride/k.tokens + j*stride) % k.experts; e < local {
					rows[e]++
				}
			}
		}
	}
	for _, r := range rows {
		l.add(float64(r))
	}
	return l
}

func (l *ExpertLoad) add(rows float64) {
	l.Rows += rows
	if rows > 0 {
		l.Hit++
	}
	l.Tiles += math.Ceil(rows / expertTile)
}

// hottest averages the rank with most rows over draws of expert loads from a
// power law between one token and 0.8 of all (0.01 and 2 where there are fewer
// rows than experts). An expert takes a token once; what is left over goes to
// the first experts, that is to the hottest rank.
func (k loadKey) hottest() ExpertLoad {
	const draws = 48
	rng := rand.New(rand.NewPCG(1, uint64(k.experts)))
	rows := float64(k.tokens * k.topK)
	lo, hi := 1.0, 0.8*float64(k.tokens)
	if k.tokens*k.topK <= k.experts {
		lo, hi = 0.01, 2
	}
	beta := 1 - k.alpha
	from, to := math.Pow(lo, beta), math.Pow(hi, beta)
	local := int(k.experts / k.ep)
	var mean ExpertLoad
	x := make([]float64, k.experts)
	for range draws {
		sum := 0.0
		for e := range x {
			x[e] = math.Pow(from+(to-from)*rng.Float64(), 1/beta)
			sum += x[e]
		}
		over := 0.0
		for e := range x {
			x[e] = math.RoundToEven(x[e] / sum * rows)
			if excess := x[e] - float64(k.tokens); excess > 0 {
				x[e], over = float64(k.tokens), over+excess
			}
		}
		hot, most := x[:local], -1.0
		for rank := range slices.Chunk(x, local) {
			if r := total(rank); r > most {
				hot, most = rank, r
			}
		}
		var l ExpertLoad
		for _, r := range hot {
			room := min(over, float64(k.tokens)-r)
			over -= room
			l.add(r + room)
		}
		mean.Rows += l.Rows / draws
		mean.Hit += l.Hit / draws
		mean.Tiles += l.Tiles / draws
	}
	return mean
}

func total(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum
}
