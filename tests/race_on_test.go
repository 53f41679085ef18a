//go:build race

package smartcar_test

// raceEnabled: the race detector allocates by itself, so allocations do not count.
const raceEnabled = true
