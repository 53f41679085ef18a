package smartcartest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// operation is one row of the v2 table: a method and a path below a car. A row
// with read reads the car, a row with command changes it. Rows with neither
// are answered by Server.vehicleHandler.
type operation struct {
	method     string
	path       string // "*" stands for one segment
	permission string // "" needs a token only
	kind       Kind
	hasUnits   bool // the answer bears units, so SC-Unit-System is sent

	read    func(*view) (any, *apiError)
	check   func(url.Values) *apiError // of a read's query; may be nil
	command func(*view, []byte) (effect, *apiError)
}

// operations is the v2 table of all paths below a car.
func operations() []operation {
	return slices.Concat(coreReads(), coreCommands(), teslaReads(), teslaChargeReads(), teslaCommands(), []operation{
		{method: http.MethodGet, path: "/permissions", kind: Metadata},
		{method: http.MethodPost, path: "/batch", kind: Data},
		{method: http.MethodDelete, path: "/application", kind: Metadata},
		{method: http.MethodPost, path: "/webhooks/*", kind: Metadata},
		{method: http.MethodDelete, path: "/webhooks/*", kind: Metadata},
	})
}

// operation finds a row of the v2 table by method and the segments below the
// car; nil when there is none.
func (s *Server) operation(method string, rest []string) *operation {
	i := slices.IndexFunc(s.operations, func(o operation) bool { return o.method == method && o.matches(rest) })
	if i < 0 {
		return nil
	}
	return &s.operations[i]
}

// matches says whether the segments below the car are those of the row.
func (o *operation) matches(rest []string) bool {
	if o.path == "/" {
		return len(rest) == 0 || len(rest) == 1 && rest[0] == ""
	}
	return slices.EqualFunc(segments(o.path), rest, func(w, r string) bool { return w == r || w == "*" && r != "" })
}

// admit refuses what the vendor can refuse without asking the car: a missing
// permission, a car that is not capable, a bad query.
func (o *operation) admit(v *vehicle, perms []string, query url.Values) *apiError {
	if o.permission != "" && !slices.Contains(perms, o.permission) {
		return newError("PERMISSION", "")
	}
	if err := o.capable(v); err != nil {
		return err
	}
	if o.check != nil {
		return o.check(query)
	}
	return nil
}

// capable returns VEHICLE_NOT_CAPABLE when the car never answers the
// operation.
func (o *operation) capable(v *vehicle) *apiError {
	part, _, _ := strings.Cut(strings.TrimPrefix(o.path, "/"), "/")
	switch {
	case part == "tesla" && !v.tesla(),
		(part == "fuel" || part == "engine") && !v.burnsFuel(),
		(part == "battery" || part == "charge") && !v.plugsIn(),
		slices.Contains(v.Unsupported, o.path):
		return newError("COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	}
	return nil
}

// unitSystem is the header SC-Unit-System; empty when the answer has no units.
func (o *operation) unitSystem(w *view) string {
	switch {
	case !o.hasUnits:
		return ""
	case w.imperial:
		return "imperial"
	default:
		return "metric"
	}
}

// segments are the parts of a path such as /charge/limit.
func segments(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }
