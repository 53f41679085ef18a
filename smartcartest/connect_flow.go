package smartcartest

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// flow is one Connect request after its parameters have been checked.
type flow struct {
	redirect     string // where the flow ends; "" is the vendor's own page
	sentRedirect string // redirect_uri as it was sent
	state        string
	hasState     bool
	externalID   string
	mode         string
	wantsCode    bool
	scope        []string
	required     []string
	make         string
	singleSelect bool
	vin          string
	vehicleID    string // only of a re-authentication
}

// newFlow checks the parameters that Connect and re-authentication share.
// types are the response types that the page takes. The problem is the text of
// a 400 page.
func (s *Server) newFlow(q url.Values, types ...string) (f *flow, problem string) {
	id := q.Get("application_id")
	if !q.Has("application_id") {
		id = q.Get("client_id")
	}
	f = &flow{
		sentRedirect: q.Get("redirect_uri"), state: q.Get("state"), hasState: q.Has("state"),
		externalID: q.Get("external_id"), mode: q.Get("mode"), wantsCode: q.Get("response_type") == "code",
		make: strings.ToUpper(q.Get("make")), singleSelect: q.Get("single_select") == "true", vin: q.Get("single_select_vin"),
	}
	f.redirect = f.sentRedirect
	if f.mode == "" {
		f.mode = "live"
	}
	if f.sentRedirect == "" && q.Get("response_type") != "none" {
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
	case f.vin != "" && (!f.singleSelect || len(f.vin) != 17):
		return nil, "Invalid parameter single_select_vin"
	}
	return f, ""
}

// readScope reads the permissions that the URL asks for. One with the prefix
// "required:" cannot be unticked by the owner.
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

// registered says whether Connect may redirect to uri: to RedirectURL, to
// those of WithRedirectURLs, and to any http URL of a loopback host.
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

// redirectBack sends the browser to the application with the result of the
// flow, and with state and external_id as they came. A flow without a redirect
// URI ends on a page instead.
func (f *flow) redirectBack(add url.Values) *response {
	if f.redirect == "" {
		return completionPage(add)
	}
	if f.hasState {
		add.Set("state", f.state)
	}
	if f.externalID != "" && f.externalID != "null" && !add.Has("error") {
		add.Set("external_id", f.externalID)
	}
	u, err := url.Parse(f.redirect)
	if err != nil { // registered by an option, but no URL
		return textResponse(http.StatusBadRequest, "Invalid parameter redirect_uri")
	}
	q := add.Encode()
	if u.RawQuery != "" {
		q = u.RawQuery + "&" + q
	}
	u.RawQuery = q
	return textResponse(http.StatusFound, "Back to the application.").header("Location", u.String())
}
