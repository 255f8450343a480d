//go:build race

package sim

// raceDetector slows what is drawn and planned by an order of magnitude.
const (
	raceDetector = true
	RaceDetector = raceDetector // for the tests outside the package
)
