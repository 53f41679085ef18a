package smartcartest

import (
	"slices"
	"strings"
)

// signal is one row of the v3 catalog.
type signal struct {
	group, name string
	permission  string
	v2          string // the v2 path of the same data; "" when there is none
	cars        carSet
	// value may come with an error: an old body, which the vendor sends too.
	value func(*view) (object, *apiError)
}

// carSet is which cars can answer a signal at all.
type carSet int

const (
	everyCar carSet = iota
	onlyTesla
	notTesla
)

// code is what the signal is asked by.
func (g signal) code() string { return strings.ToLower(g.group + "-" + g.name) }

func (g *signal) named() object { return object{"code": g.code(), "name": g.name, "group": g.group} }

// capable says whether the car can answer.
func (g signal) capable(v *vehicle) bool {
	switch {
	case g.cars == onlyTesla && !v.tesla(), g.cars == notTesla && v.tesla():
		return false
	case g.v2 != "" && slices.Contains(v.Unsupported, g.v2):
		return false
	default:
		return !slices.Contains(v.Unsupported, g.code())
	}
}
