package smartcartest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// serveConnect answers GET and POST /oauth/authorize. A bad parameter ends on
// a 400 page and never redirects, as then nothing in the URL can be trusted.
func (s *Server) serveConnect(c *call) *response {
	f, problem := s.newFlow(c.query, "code", "none")
	if problem != "" {
		return textResponse(http.StatusBadRequest, problem) // not a redirect, see above
	}
	if problem = f.readScope(c.query); problem != "" {
		return textResponse(http.StatusBadRequest, problem)
	}
	if c.request.Method == http.MethodGet {
		return s.showConsent(c, f)
	}
	form, problem := connectForm(c)
	if problem != "" {
		return textResponse(http.StatusBadRequest, problem)
	}
	if name := connectError(form); name != "" {
		return s.endWithError(f, name, form)
	}
	return s.grantCars(c, f, form)
}

// serveReauthenticate answers GET and POST /oauth/reauthenticate. It gives out
// no code, and existing tokens do not change. With response_type=none and no
// redirect_uri the flow ends on the vendor's own page and calls nobody back.
func (s *Server) serveReauthenticate(c *call) *response {
	f, problem := s.newFlow(c.query, "vehicle_id", "none")
	if problem != "" {
		return textResponse(http.StatusBadRequest, problem)
	}
	f.vehicleID = c.query.Get("vehicle_id")
	if f.vehicleID == "" && f.make == "TESLA" { // asks for more of Tesla's own permissions; the flow never comes back
		f.redirect = ""
	} else if s.vehicles[f.vehicleID] == nil {
		return textResponse(http.StatusBadRequest, "Invalid parameter vehicle_id")
	} else if f.sentRedirect == "" && c.query.Get("response_type") == "vehicle_id" { // here no registered one stands in
		return textResponse(http.StatusBadRequest, "Invalid parameter redirect_uri")
	}
	if c.request.Method == http.MethodGet {
		return s.showConsent(c, f)
	}
	form, problem := connectForm(c)
	if problem != "" {
		return textResponse(http.StatusBadRequest, problem)
	}
	if name := connectError(form); name != "" {
		return s.endWithError(f, name, form)
	}
	if v := s.vehicles[f.vehicleID]; v != nil {
		v.lostAccess, s.mustObserve = false, true
	}
	s.setExternalID(s.userID(form.Get("user")), f.externalID, c.now)
	for _, n := range s.connections {
		if n.vehicle == f.vehicleID {
			n.hideChange(c.now, s.cfg.connectionLag)
			n.updatedAt = c.now
		}
	}
	return f.redirectBack(url.Values{"vehicle_id": {f.vehicleID}})
}

// grantCars connects the cars that the owner ticked, with the permissions that
// were ticked, and sends the browser back. A required permission cannot be
// unticked, and that is all: since 2026-06-16 it keeps no car out, so a car
// that has no such thing is connected without it.
func (s *Server) grantCars(c *call, f *flow, form url.Values) *response {
	account := form.Get("user")
	cars := s.offered(f, account)
	if len(cars) == 0 {
		return s.endWithError(f, "no_vehicles", form)
	}
	if ids := form["vehicle"]; len(ids) > 0 || form.Has("form") {
		cars = slices.DeleteFunc(cars, func(v *vehicle) bool { return !slices.Contains(ids, v.ID) })
	}
	if f.singleSelect && len(cars) > 1 {
		cars = cars[:1]
	}
	scope := f.scope
	if form.Has("form") { // the page sends what is ticked; a script, without the field form, grants all
		scope = slices.DeleteFunc(slices.Clone(scope), func(p string) bool {
			return !slices.Contains(form["permission"], p) && !slices.Contains(f.required, p)
		})
	}
	if len(scope) == 0 {
		return textResponse(http.StatusBadRequest, "At least one permission must stay selected")
	}
	g := &grant{account: account, user: s.userID(account), vehicles: map[string][]string{}}
	keyMissing := false
	for _, v := range cars {
		g.vehicles[v.ID] = intersect(scope, v.Permissions)
		keyMissing = keyMissing || v.keyless() && v.tesla()
	}
	if len(g.vehicles) == 0 {
		return s.endWithError(f, "access_denied", form)
	}
	for _, id := range g.vehicleIDs(s.garage) {
		s.connectCar(account, id, f.mode, g.vehicles[id], c.now)
	}
	s.setExternalID(g.user, f.externalID, c.now)
	back := url.Values{"user_id": {g.user}}
	if f.wantsCode {
		back.Set("code", s.tokens.newCode(g, f.sentRedirect, c.now))
	}
	if keyMissing {
		back.Set("virtual_key_url", virtualKeyURL)
	}
	return f.redirectBack(back)
}

// offered are the cars among which an account can choose in a flow.
func (s *Server) offered(f *flow, account string) []*vehicle {
	var out []*vehicle
	for _, id := range s.garage {
		v := s.vehicles[id]
		reached, _ := v.reachedBy(account)
		if reached && (f.vin == "" || v.VIN == f.vin) && (f.vin != "" || f.make == "" || v.Make == f.make) {
			out = append(out, v)
		}
	}
	return out
}

// setExternalID writes external_id of a Connect URL to all connections of a
// user. Without external_id they keep the one they have.
func (s *Server) setExternalID(user, external string, now time.Time) {
	if external == "" {
		return
	}
	if external == "null" { // the documented way to clear it
		external = ""
	}
	for _, n := range s.connections {
		if n.user == user {
			n.hideChange(now, s.cfg.connectionLag)
			n.externalID, n.updatedAt = external, now
		}
	}
}

// connectForm reads the form that the page posts. The problem is the text of a
// 400 page.
func connectForm(c *call) (form url.Values, problem string) {
	if c.request.Method != http.MethodPost {
		return nil, "Use GET or POST"
	}
	form, ok := c.form()
	if !ok {
		return nil, "The form must be application/x-www-form-urlencoded"
	}
	if d := form.Get("decision"); form.Get("error") == "" && d != "grant" && d != "deny" {
		return nil, `Invalid parameter decision: "grant" or "deny"`
	}
	return form, ""
}

// connectError is the Connect error that the form asks for; empty when the
// owner consents.
func connectError(form url.Values) string {
	if form.Get("error") != "" {
		return form.Get("error")
	}
	if form.Get("decision") == "deny" {
		return "access_denied"
	}
	return ""
}

// endWithError sends the browser back with a Connect error. Each documented
// error brings its own parameters; a name that is not documented is sent as it
// is.
func (s *Server) endWithError(f *flow, name string, form url.Values) *response {
	back := url.Values{"error": {name}, "error_description": {connectErrorText(name)}}
	switch name {
	case "vehicle_incompatible":
		for _, p := range []string{"vin", "make", "model", "year"} {
			if form.Has(p) {
				back.Set(p, form.Get(p))
			}
		}
		if v := s.vehicles[form.Get("vehicle")]; v != nil {
			back.Set("vin", v.VIN)
			back.Set("make", v.Make)
			back.Set("model", v.Model)
			back.Set("year", strconv.Itoa(v.Year))
		}
	case "configuration_error":
		back.Set("status_code", "400")
		back.Set("error_message", "Invalid configuration, as asked for by the form.")
	}
	return f.redirectBack(back)
}

// connectErrorText is error_description for a Connect error.
func connectErrorText(name string) string {
	switch name {
	case "access_denied":
		return "User denied access to application."
	case "vehicle_incompatible":
		return "The user's vehicle is not compatible."
	case "invalid_subscription":
		return "User does not have an active connected vehicle subscription"
	case "no_vehicles":
		return "No vehicles found. Please add vehicles to your account and try again."
	case "configuration_error":
		return "There has been an error in the configuration of your application."
	case "server_error":
		return "An unexpected error occurred."
	case "user_manually_returned_to_application", "user_cancelled":
		return "The user exited Connect before granting your application access"
	default:
		return "An error asked for by the form."
	}
}
