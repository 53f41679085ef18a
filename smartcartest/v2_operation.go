package smartcartest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// operation is one row of the v2 table: a method and path below a vehicle.
// Either read or command is set, or neither: Server.vehicleHandler knows who
// answers then.
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

// operations is the v2 table of everything below a vehicle.
func operations() []operation {
	return slices.Concat(coreReads(), coreCommands(), teslaReads(), teslaCommands(), []operation{
		{method: http.MethodGet, path: "/permissions", kind: Metadata},
		{method: http.MethodPost, path: "/batch", kind: Data},
		{method: http.MethodDelete, path: "/application", kind: Metadata},
		{method: http.MethodPost, path: "/webhooks/*", kind: Metadata},
		{method: http.MethodDelete, path: "/webhooks/*", kind: Metadata},
	})
}

// operation finds an entry of the v2 table by method and the segments below
// the vehicle.
func (s *Server) operation(method string, rest []string) *operation {
	i := slices.IndexFunc(s.operations, func(o operation) bool { return o.method == method && o.matches(rest) })
	if i < 0 {
		return nil
	}
	return &s.operations[i]
}

func (o *operation) matches(rest []string) bool {
	if o.path == "/" {
		return len(rest) == 0 || len(rest) == 1 && rest[0] == ""
	}
	return slices.EqualFunc(segments(o.path), rest, func(w, r string) bool { return w == r || w == "*" && r != "" })
}

// admit says whether a request may go to the car, as far as the vendor knows
// without asking it.
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

// capable says whether the car can answer at all.
func (o *operation) capable(v *vehicle) *apiError {
	if strings.HasPrefix(o.path, "/tesla/") && !v.tesla() || slices.Contains(v.Unsupported, o.path) {
		return newError("COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	}
	return nil
}

// unitSystem is the value of SC-Unit-System; empty when the answer bears no
// units.
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

// segments are those of a path such as /charge/limit.
func segments(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }
