package smartcartest

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

// keyPath begins the path of a link that adds a virtual key. The real host
// opens the Tesla app there; the simulator shows a page that stands for the
// app.
const keyPath = "_ak"

const keyHTML = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Simulated Tesla app</title>
` + pageStyle + `</head>
<body>
<main>
<p><span class="sim">Simulated Tesla app</span></p>
<h1>Allow {{.Domain}} to reach your car?</h1>
<p>It could send commands to the car and get its data as it changes. This is a simulation: no car is changed.</p>
<ul>
{{range .Cars}}<li>
<h2>{{.Name}}</h2>
{{if .Says}}<p class="said">{{.Says}}</p>
{{else if .Paired}}<p>The key is on this car. You see it under Controls, Locks.</p>
<form method="post" class="row"><input type="hidden" name="vehicle" value="{{.ID}}"><button name="key" value="remove" aria-label="Remove the key of {{.Name}}">Remove the key</button></form>
{{else}}<p>There is no key on this car.</p>
<form method="post" class="row"><input type="hidden" name="vehicle" value="{{.ID}}"><button class="go" name="key" value="add" aria-label="Add the key to {{.Name}}">Add the key</button></form>
{{end}}</li>
{{else}}<li><p>There is no Tesla in this account.</p></li>
{{end}}</ul>
</main>
</body>
</html>
`

// keyCar is a car on the page.
type keyCar struct {
	ID, Name string
	Paired   bool
	Says     string // why the key cannot be changed; "" when it can
}

// serveKeyPage answers GET and POST /_ak/<domain>. The query parameter
// simulated_user names the account, as on the Connect page; vin shows one car
// only.
func (s *Server) serveKeyPage(c *call, rest []string) *response {
	if len(rest) != 1 || rest[0] == "" {
		return textResponse(http.StatusNotFound, "No domain")
	}
	domain := rest[0]
	if label, ok := strings.CutSuffix(domain, ".app.car"); domain != "smartcar.com" && (!ok || label == "" || strings.Contains(label, ".")) {
		return textResponse(http.StatusNotFound, domain+" has not registered with Tesla")
	}
	switch c.request.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		return s.changeKey(c, domain)
	default:
		return textResponse(http.StatusMethodNotAllowed, "Use GET or POST")
	}
	page := template.Must(template.New("key").Parse(keyHTML)) // a constant
	return htmlPage(page, struct {
		Domain string
		Cars   []keyCar
	}{domain, s.keyCars(c.query.Get("simulated_user"), c.query.Get("vin"))})
}

// keyCars are the Teslas of an account.
func (s *Server) keyCars(account, vin string) []keyCar {
	var cars []keyCar
	for _, id := range s.garage {
		v := s.vehicles[id]
		if reached, _ := v.reachedBy(account); !reached || !v.tesla() || vin != "" && v.VIN != vin {
			continue
		}
		cars = append(cars, keyCar{ID: id, Name: displayName(v), Paired: v.Paired, Says: s.keyRefusal(account, v)})
	}
	return cars
}

// keyRefusal is what the Tesla app says when the account cannot add a key to
// the car; empty when it can.
func (s *Server) keyRefusal(account string, v *vehicle) string {
	_, driver := v.reachedBy(account)
	switch {
	case v.Integration != Streaming:
		return "You don't need to set up a virtual key for this vehicle"
	case driver:
		return "You are not authorized to share this vehicle. Contact the owner"
	case s.connection(s.userID(account), v.ID) == nil:
		return "Unable to share vehicle: the application was not granted access"
	}
	return ""
}

// changeKey adds or removes the key of the car that the form names.
func (s *Server) changeKey(c *call, domain string) *response {
	form, ok := c.form()
	if !ok {
		return textResponse(http.StatusBadRequest, "The form must be application/x-www-form-urlencoded")
	}
	account := c.query.Get("simulated_user")
	v := s.vehicles[form.Get("vehicle")]
	if v == nil {
		return textResponse(http.StatusNotFound, "No such car")
	}
	if reached, _ := v.reachedBy(account); !reached || !v.tesla() {
		return textResponse(http.StatusNotFound, "No such car")
	}
	if says := s.keyRefusal(account, v); says != "" {
		return textResponse(http.StatusForbidden, says)
	}
	switch form.Get("key") {
	case "add":
		v.setPaired(true)
	case "remove":
		v.setPaired(false)
	default:
		return textResponse(http.StatusBadRequest, `Invalid parameter key: "add" or "remove"`)
	}
	back := url.URL{Path: s.cfg.basePath + "/" + keyPath + "/" + domain, RawQuery: c.query.Encode()} // relative, as the page can have any host
	return textResponse(http.StatusSeeOther, "Back to the page.").header("Location", back.String())
}
