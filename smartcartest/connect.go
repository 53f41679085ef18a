package smartcartest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// flow is one Connect request after its parameters have been checked.
type flow struct {
	redirect  string // "" ends on the vendor's page
	sent      string // redirect_uri as it was sent
	state     string
	hasState  bool
	external  string
	mode      string
	code      bool
	scope     []string
	required  []string
	make      string
	single    bool
	vin       string
	vehicleID string // of a re-authentication
}

// connect is GET and POST /oauth/authorize.
func (s *Server) connect(c *call) *response {
	f, problem := s.flow(c.query, "code", "none")
	if problem != "" {
		return text(http.StatusBadRequest, problem) // never a redirect: nothing about the URL is trusted
	}
	if problem = f.readScope(c.query); problem != "" {
		return text(http.StatusBadRequest, problem)
	}
	if c.r.Method == http.MethodGet {
		return s.consent(c, f)
	}
	form, problem := answered(c)
	if problem != "" {
		return text(http.StatusBadRequest, problem)
	}
	if name := outcome(form); name != "" {
		return s.refuse(f, name, form)
	}
	return s.accept(c, f, form)
}

// accept grants what the owner ticked and sends the browser back.
func (s *Server) accept(c *call, f *flow, form url.Values) *response {
	account := form.Get("user")
	cars := s.offered(f, account)
	if len(cars) == 0 {
		return s.refuse(f, "no_vehicles", form)
	}
	if ids := form["vehicle"]; len(ids) > 0 || form.Has("form") {
		cars = slices.DeleteFunc(cars, func(v *vehicle) bool { return !slices.Contains(ids, v.ID) })
	}
	if f.single && len(cars) > 1 {
		cars = cars[:1]
	}
	scope := f.scope
	if form.Has("form") { // the page sends what is ticked; a script that sends nothing grants all
		scope = slices.DeleteFunc(slices.Clone(scope), func(p string) bool {
			return !slices.Contains(form["permission"], p) && !slices.Contains(f.required, p)
		})
	}
	g := &grant{account: account, user: s.userID(account), vehicles: map[string][]string{}}
	keyMissing := false
	for _, v := range cars {
		granted := intersect(scope, v.Permissions)
		if len(intersect(f.required, granted)) < len(f.required) {
			continue // it cannot grant what is required: as good as incompatible
		}
		g.vehicles[v.ID] = granted
		keyMissing = keyMissing || v.keyless() && v.tesla()
	}
	if len(g.vehicles) == 0 {
		if len(cars) > 0 {
			return s.refuse(f, "vehicle_incompatible", url.Values{"vehicle": {cars[0].ID}})
		}
		return s.refuse(f, "access_denied", form)
	}
	for _, id := range s.vehiclesOf(g) {
		s.connectCar(account, id, f.mode, g.vehicles[id], c.now)
	}
	s.setExternal(g.user, f.external, c.now)
	back := url.Values{"user_id": {g.user}}
	if f.code {
		code := randomUUID()
		s.codes[code] = &authCode{grant: g, redirectURI: f.sent, expires: c.now.Add(codeLife)}
		back.Set("code", code)
	}
	if keyMissing {
		back.Set("virtual_key_url", virtualKeyURL)
	}
	return f.back(back)
}

// reauthenticate is GET and POST /oauth/reauthenticate: no code, the tokens
// stay what they are.
func (s *Server) reauthenticate(c *call) *response {
	f, problem := s.flow(c.query, "vehicle_id", "none")
	if problem != "" {
		return text(http.StatusBadRequest, problem)
	}
	f.vehicleID = c.query.Get("vehicle_id")
	if f.vehicleID == "" && f.make == "TESLA" { // asks for more of Tesla's own permissions, and ends here
		f.redirect = ""
	} else if s.vehicles[f.vehicleID] == nil {
		return text(http.StatusBadRequest, "Invalid parameter vehicle_id")
	}
	if c.r.Method == http.MethodGet {
		return s.consent(c, f)
	}
	form, problem := answered(c)
	if problem != "" {
		return text(http.StatusBadRequest, problem)
	}
	if name := outcome(form); name != "" {
		return s.refuse(f, name, form)
	}
	s.setExternal(s.userID(form.Get("user")), f.external, c.now)
	for _, n := range s.connections {
		if n.vehicle == f.vehicleID {
			s.lag(n, c.now)
			n.updated = c.now
		}
	}
	return f.back(url.Values{"vehicle_id": {f.vehicleID}})
}

// flow checks what both pages share. The problem is for a 400 page.
func (s *Server) flow(q url.Values, types ...string) (f *flow, problem string) {
	id := q.Get("application_id")
	if !q.Has("application_id") {
		id = q.Get("client_id")
	}
	f = &flow{
		sent: q.Get("redirect_uri"), state: q.Get("state"), hasState: q.Has("state"),
		external: q.Get("external_id"), mode: q.Get("mode"), code: q.Get("response_type") == "code",
		make: strings.ToUpper(q.Get("make")), single: q.Get("single_select") == "true", vin: q.Get("single_select_vin"),
	}
	f.redirect = f.sent
	if f.mode == "" {
		f.mode = "live"
	}
	if f.sent == "" && q.Get("response_type") != "none" {
		f.redirect = redirectURL // the first registered one is the default
	}
	switch {
	case id != clientID:
		return nil, "Invalid parameter client_id"
	case !slices.Contains(types, q.Get("response_type")):
		return nil, "Invalid parameter response_type"
	case f.redirect != "" && !s.registered(f.redirect):
		return nil, "Invalid parameter redirect_uri"
	case !slices.Contains([]string{"live", "simulated", "test"}, f.mode):
		return nil, "Invalid parameter mode"
	case f.vin != "" && (!f.single || len(f.vin) != 17):
		return nil, "Invalid parameter single_select_vin"
	}
	return f, ""
}

// readScope reads the permissions, of which some may be required.
func (f *flow) readScope(q url.Values) (problem string) {
	known := allPermissions()
	for _, p := range strings.Fields(q.Get("scope")) {
		p, required := strings.CutPrefix(p, "required:")
		if !slices.Contains(known, p) {
			return "Invalid parameter scope: " + p
		}
		f.scope = append(f.scope, p)
		if required {
			f.required = append(f.required, p)
		}
	}
	if len(f.scope) == 0 {
		f.scope = known // what the dashboard says, if the URL says nothing
	}
	return ""
}

func (s *Server) registered(uri string) bool {
	if uri == redirectURL || slices.Contains(s.cfg.redirects, uri) {
		return true
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// offered are the cars that an account can grant in a flow.
func (s *Server) offered(f *flow, account string) []*vehicle {
	var out []*vehicle
	for _, id := range s.order {
		v := s.vehicles[id]
		reached, _ := v.reachedBy(account)
		if reached && (f.vin == "" || v.VIN == f.vin) && (f.vin != "" || f.make == "" || v.Make == f.make) {
			out = append(out, v)
		}
	}
	return out
}

func (s *Server) setExternal(user, external string, now time.Time) {
	if external == "" {
		return
	}
	if external == "null" { // the documented way to clear it
		external = ""
	}
	for _, n := range s.connections {
		if n.user == user {
			s.lag(n, now)
			n.externalID, n.updated = external, now
		}
	}
}

// answered reads the form of the page.
func answered(c *call) (form url.Values, problem string) {
	if c.r.Method != http.MethodPost {
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

// outcome is the Connect error that the form asks for; empty is consent.
func outcome(form url.Values) string {
	if form.Get("error") != "" {
		return form.Get("error")
	}
	if form.Get("decision") == "deny" {
		return "access_denied"
	}
	return ""
}

// refuse sends the browser back with one of the documented errors, or with
// whatever error the form names.
func (s *Server) refuse(f *flow, name string, form url.Values) *response {
	back := url.Values{"error": {name}, "error_description": {describe(name)}}
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
	return f.back(back)
}

func describe(name string) string {
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

// back is the redirect, with what every one carries.
func (f *flow) back(add url.Values) *response {
	if f.redirect == "" {
		return completion(add)
	}
	if f.hasState {
		add.Set("state", f.state)
	}
	if f.external != "" && f.external != "null" && !add.Has("error") {
		add.Set("external_id", f.external)
	}
	u, err := url.Parse(f.redirect)
	if err != nil { // registered by an option, but no URL
		return text(http.StatusBadRequest, "Invalid parameter redirect_uri")
	}
	q := add.Encode()
	if u.RawQuery != "" {
		q = u.RawQuery + "&" + q
	}
	u.RawQuery = q
	return text(http.StatusFound, "Back to the application.").header("Location", u.String())
}

// intersect keeps the order of a.
func intersect(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

// Grant drives the Connect page as a consenting default owner and returns the
// full redirect URL, with code, state, user_id and the rest. Only the path and
// query of authorizeURL matter, the base path included. An error page is an
// error with its text. Injected faults spoil it like any request.
func (s *Server) Grant(authorizeURL string) (callbackURL string, err error) {
	return s.AnswerConnect(authorizeURL, url.Values{"decision": {"grant"}})
}

// Deny is Grant for an owner who refuses.
func (s *Server) Deny(authorizeURL string) (callbackURL string, err error) {
	return s.AnswerConnect(authorizeURL, url.Values{"decision": {"deny"}})
}

// AnswerConnect posts a form to a Connect or re-authentication URL and returns
// where the browser would be sent. The fields are decision (grant or deny),
// user (the owner's account, default the empty name), vehicle (repeated; the
// cars to grant, default all), and error (a Connect error to end with; for
// vehicle_incompatible with vin, make, model and year, or with vehicle).
func (s *Server) AnswerConnect(authorizeURL string, form url.Values) (callbackURL string, err error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, authorizeURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("smartcartest: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := s.Transport().RoundTrip(req)
	if err != nil {
		return "", err
	}
	page, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return "", err
	}
	if location := res.Header.Get("Location"); location != "" {
		return location, nil
	}
	if res.StatusCode == http.StatusOK {
		return "", errors.New("smartcartest: Connect ended on its own page: the URL has no redirect_uri")
	}
	return "", fmt.Errorf("smartcartest: Connect answered %d: %s", res.StatusCode, strings.TrimSpace(string(page)))
}
