package packing

import "orrery/sim/unit"

var packers = unit.NewRegistry[Packer]("packer")

func register(p Packer) { packers.Add(p) }

// All lists the packers, sorted by name.
func All() []Packer { return packers.All() }

// Lookup finds a packer by name, written as [unit.NameKey] allows.
func Lookup(name string) (Packer, error) { return packers.Lookup(name) }
