package models

import (
	"encoding/json"
	"fmt"
	"slices"
)

// maxHFNumber keeps products of two numbers of a config.json within 64 bits.
const maxHFNumber = 1 << 30

// hfConfig is a parsed config.json. Its methods collect errors that name the key.
type hfConfig struct {
	values map[string]any
	errs   []error
}

func (c *hfConfig) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// num is a whole number that must be there.
func (c *hfConfig) num(key string) int64 {
	if c.values[key] == nil {
		c.fail("key %s is missing", key)
		return 0
	}
	return c.or(key, 0)
}

// or is a whole number, or def where the key is absent or null.
func (c *hfConfig) or(key string, def int64) int64 {
	v := c.values[key]
	if v == nil {
		return def
	}
	n, ok := v.(json.Number)
	if !ok {
		c.fail("key %s is %v, want a whole number", key, v)
		return 0
	}
	i, err := n.Int64()
	if err != nil || i < 0 || i > maxHFNumber {
		c.fail("key %s is %s, want a whole number from 0 to %d", key, n, maxHFNumber)
		return 0
	}
	return i
}

// share is whole/parts where that divides evenly, as head_dim is by default.
func (c *hfConfig) share(key string, whole, parts int64) int64 {
	switch {
	case parts < 1: // num has complained
		return 0
	case c.values["head_dim"] == nil && whole%parts != 0:
		c.fail("key %s is %d, which does not divide the hidden size %d, and head_dim is missing", key, parts, whole)
	}
	return whole / parts
}

func (c *hfConfig) flag(key string, def bool) bool {
	switch v := c.values[key].(type) {
	case nil:
		return def
	case bool:
		return v
	default:
		c.fail("key %s is %v, want true or false", key, v)
		return def
	}
}

func (c *hfConfig) text(key, def string) string {
	if s, ok := c.values[key].(string); ok && s != "" {
		return s
	}
	return def
}

func (c *hfConfig) list(key string) []any {
	l, _ := c.values[key].([]any)
	return l
}

// mustBe fails where the key says something else; it may be absent.
func (c *hfConfig) mustBe(key string, known ...string) {
	if v := c.text(key, known[0]); !slices.Contains(known, v) {
		c.fail("key %s is %q, want %q", key, v, known)
	}
}

// experts reads the mixture of experts of DeepSeek's lineage.
func (c *hfConfig) experts(count string) *MoE {
	e := &MoE{Experts: c.num(count), TopK: c.num("num_experts_per_tok"), FFN: c.num("moe_intermediate_size"),
		FirstDense: c.or("first_k_dense_replace", 0)}
	e.SharedFFN = e.FFN * c.or("n_shared_experts", 0)
	return e
}
