//go:build !race

package smartcar_test

const raceEnabled = false
