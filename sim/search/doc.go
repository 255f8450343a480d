// Package search finds the layout of a training step that is best under memory and
// other limits: branch and bound over the axes of a scenario. What it leaves out is
// provably not better, by the bounds of sim.Bounds; the rest is simulated.
package search
