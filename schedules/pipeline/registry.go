package pipeline

import "orrery/sim/unit"

var schedules = unit.NewRegistry[Schedule]("schedule")

func register(s Schedule) { schedules.Add(s) }

// All lists the schedules, sorted by name.
func All() []Schedule { return schedules.All() }

// Lookup finds a schedule by name, written as [unit.NameKey] allows.
func Lookup(name string) (Schedule, error) { return schedules.Lookup(name) }
