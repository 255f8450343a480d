package sweep

import (
	"fmt"
	"strconv"
	"strings"
)

// Shard is one of Of equal parts of a sweep, by Index from 0. The zero value is
// the whole.
type Shard struct {
	Index int `json:"index"`
	Of    int `json:"of"`
}

// MaxShards bounds the parts of a sweep.
const MaxShards = 9999

func (s Shard) String() string {
	if s.Of <= 1 {
		return "the whole sweep"
	}
	return fmt.Sprintf("shard %d/%d", s.Index, s.Of)
}

// owns reports whether the k-th different point is the shard's.
func (s Shard) owns(k int) bool { return s.Of <= 1 || k%s.Of == s.Index }

// ParseShard reads "i/n".
func ParseShard(text string) (Shard, error) {
	a, b, ok := strings.Cut(text, "/")
	i, err1 := strconv.Atoi(a)
	n, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || n < 1 || n > MaxShards || i < 0 || i >= n {
		return Shard{}, fmt.Errorf("shard %q: must be i/n, n from 1 to %d and i from 0 to n-1", text, MaxShards)
	}
	return Shard{i, n}, nil
}

// ShardOf is the shard of this process: of the text i/n if there is one; else by
// the environment of a Slurm array task or a Kubernetes indexed job; else the
// whole. of is the number of shards, 0 to take Slurm's count of array tasks; with
// it an array's index is that of the shard, so that an array of the missing ones
// alone (--array=3,5) does what it says. from names what decided.
func ShardOf(text string, of int, getenv func(string) string) (s Shard, from string, err error) {
	if text != "" {
		if s, err = ParseShard(text); err == nil && of > 0 && of != s.Of {
			err = fmt.Errorf("shard %q is not one of %d", text, of)
		}
		return s, "--shard", err
	}
	number := func(name string, missing int) int {
		v := getenv(name)
		if v == "" || err != nil {
			return missing
		}
		n, bad := strconv.Atoi(v)
		if bad != nil {
			err = fmt.Errorf("%s is %q, must be an integer", name, v)
		}
		return n
	}
	for _, engine := range []struct{ index, count, least, step string }{
		{"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"},
		{"JOB_COMPLETION_INDEX", "", "", ""},
	} {
		if getenv(engine.index) == "" {
			continue
		}
		s = Shard{number(engine.index, 0), of}
		if of == 0 {
			if engine.count == "" || getenv(engine.count) == "" {
				return s, engine.index, fmt.Errorf("%s is %d, but of how many shards? --shards tells", engine.index, s.Index)
			}
			s = Shard{(s.Index - number(engine.least, 0)) / max(number(engine.step, 1), 1), number(engine.count, 0)}
		}
		if err == nil && (s.Of < 1 || s.Of > MaxShards || s.Index < 0 || s.Index >= s.Of) {
			err = fmt.Errorf("%s makes this shard %d of %d, must be from 0 to one below the number, of which there may be %d", engine.index, s.Index, s.Of, MaxShards)
		}
		return s, engine.index, err
	}
	if of > 1 {
		return s, "", fmt.Errorf("one of %d shards, but which? --shard i/n, SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX tells", of)
	}
	return Shard{}, "", nil
}
