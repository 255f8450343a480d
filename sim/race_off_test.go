//go:build !race

package sim

// raceDetector: see race_on_test.go.
const (
	raceDetector = false
	RaceDetector = raceDetector // for the tests outside the package
)
