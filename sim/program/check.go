package program

import "fmt"

// Check reports what is wrong with a program's structure: lengths that do not
// match, an ID out of range, a dependency that is not earlier than its op.
func (p *Program) Check() error {
	n := p.Len()
	if len(p.Work) != n || (n > 0 && len(p.DepAt) != n+1) {
		return fmt.Errorf("program: %d lanes, %d works and %d dependency offsets of ops do not match", n, len(p.Work), len(p.DepAt))
	}
	if n > 0 && p.DepAt[0] != 0 {
		return fmt.Errorf("program: dependencies start at %d, not 0", p.DepAt[0])
	}
	for i, l := range p.Lanes {
		if l.Rank < 0 {
			return fmt.Errorf("program: lane %d belongs to rank %d", i, l.Rank)
		}
	}
	for i := range n {
		if l := p.Lane[i]; l < 0 || int(l) >= len(p.Lanes) {
			return fmt.Errorf("program: op %d is on lane %d of %d", i, l, len(p.Lanes))
		}
		if w := p.Work[i]; w < 0 || int(w) >= len(p.Works) {
			return fmt.Errorf("program: op %d is work %d of %d", i, w, len(p.Works))
		}
		if p.DepAt[i] > p.DepAt[i+1] || int(p.DepAt[i+1]) > len(p.Dep) {
			return fmt.Errorf("program: op %d has dependencies %d to %d of %d", i, p.DepAt[i], p.DepAt[i+1], len(p.Dep))
		}
		for _, d := range p.Deps(OpID(i)) {
			if d < 0 || int(d) >= i {
				return fmt.Errorf("program: op %d depends on op %d, which is not before it", i, d)
			}
		}
	}
	for _, m := range p.Mem {
		if m.Op < 0 || int(m.Op) >= n {
			return fmt.Errorf("program: a memory event is on op %d of %d", m.Op, n)
		}
	}
	return nil
}
