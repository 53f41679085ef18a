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
	// value is the body. With an error, a body is an old one: the vendor sends
	// both.
	value func(*view) (object, *apiError)
}

// carSet says which cars can answer a signal.
type carSet int

const (
	everyCar carSet = iota
	onlyTesla
	notTesla
)

// code is the id of the signal in paths and filters.
func (g signal) code() string { return strings.ToLower(g.group + "-" + g.name) }

// named is the signal without its value.
func (g *signal) named() object { return object{"code": g.code(), "name": g.name, "group": g.group} }

// text names the signal as webhooks did until 2025.
func (g *signal) text() string { return g.group + "." + g.name }

// capable says whether the car can answer the signal.
func (g signal) capable(v *vehicle) bool {
	switch {
	case g.cars == onlyTesla && !v.tesla(), g.cars == notTesla && v.tesla():
		return false
	case g.group == "InternalCombustionEngine" && !v.burnsFuel():
		return false
	case (g.group == "TractionBattery" || g.group == "Charge") && !v.plugsIn():
		return false
	case g.v2 != "" && slices.Contains(v.Unsupported, g.v2):
		return false
	default:
		return !slices.Contains(v.Unsupported, g.code())
	}
}
