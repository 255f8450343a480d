package sweep

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"github.com/davecgh/go-spew/spew"

	"orrery/calibrate"
	"orrery/scenarios"
	"orrery/sim/cost"
)

// identity is what tells points apart: 32 hexadecimal digits of SHA-256 over all
// that a result depends on.
type identity = string

// profiles reads each price profile once, so that all points see the same.
type profiles struct {
	mu    sync.Mutex
	known map[string]*profile
}

type profile struct {
	*cost.Profile
	digest string
}

func (p *profiles) get(name string) (*profile, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.known[name]; ok {
		return f, nil
	}
	c, err := calibrate.Profile(name)
	if err != nil {
		return nil, err
	}
	f := &profile{Profile: c}
	if f.digest, err = c.Digest(); err != nil {
		return nil, err
	}
	if p.known == nil {
		p.known = map[string]*profile{}
	}
	p.known[name] = f
	return f, nil
}

func (p *profiles) find(name string) (*cost.Profile, error) {
	f, err := p.get(name)
	if err != nil {
		return nil, err
	}
	return f.Profile, nil
}

// resolve makes a point's scenario.
func (s *Spec) resolve(p Point) (*scenarios.Scenario, error) {
	overrides := append(append([]scenarios.Override(nil), s.set...), p.Values...)
	res, err := s.base.Resolve(overrides)
	if err != nil {
		return nil, err
	}
	return &res.Scenario, nil
}

// identify names a scenario with its prices. What does not reach a result
// (description, source) is no part of it.
func identify(s *scenarios.Scenario, prof *profiles) (identity, error) {
	f, err := prof.get(s.Cluster.Profile)
	if err != nil {
		return "", err
	}
	c := *s
	c.Description, c.Source, c.Expect = "", "", nil
	return hashOf(c, f.digest), nil
}

// refusal names a point that the language refuses: there is no scenario to name.
func refusal(p Point, reason string) identity { return hashOf(p.Map(), reason) }

// everything writes a value with all that it reaches: types, fields that are not
// exported, what pointers point to; maps sorted.
var everything = spew.ConfigState{Indent: " ", SortKeys: true, SpewKeys: true, DisableMethods: true, DisablePointerAddresses: true, DisableCapacities: true}

func hashOf(parts ...any) identity {
	h := sha256.New()
	everything.Fdump(h, parts...)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
