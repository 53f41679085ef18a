package smartcartest

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

const consentHTML = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Simulated Smartcar Connect</title></head>
<body>
<h1>{{if .Reconnect}}Connect your car again{{else}}Connect your cars{{end}}</h1>
<p>This is a simulation. Nothing is shared with anybody.</p>
<form method="post">
<input type="hidden" name="form" value="1">
<input type="hidden" name="user" value="{{.Account}}">
{{if .Cars}}<fieldset><legend>Cars</legend>
{{range .Cars}}<p><label><input type="{{if $.Single}}radio{{else}}checkbox{{end}}" name="vehicle" value="{{.ID}}"{{if .Checked}} checked{{end}}> {{.Name}}</label></p>
{{end}}</fieldset>{{end}}
{{if .Permissions}}<fieldset><legend>Permissions</legend>
{{range .Permissions}}<p><label><input type="checkbox" name="permission" value="{{.Name}}" checked{{if .Required}} disabled{{end}}> {{.Name}}{{if .Required}} (required){{end}}</label></p>
{{end}}</fieldset>{{end}}
<p><button name="decision" value="grant">Allow</button> <button name="decision" value="deny">Deny access</button>
<button name="error" value="user_manually_returned_to_application">Back to application</button></p>
</form>
</body>
</html>
`

func consentPage() *template.Template {
	return template.Must(template.New("connect").Parse(consentHTML)) // a constant, parsed by every test
}

type consentCar struct {
	ID, Name string
	Checked  bool
}

type consentPermission struct {
	Name     string
	Required bool
}

// consent shows the page. The query parameter simulated_user picks another
// account; user is already the application's own.
func (s *Server) consent(c *call, f *flow) *response {
	data := struct {
		Account     string
		Reconnect   bool
		Single      bool
		Cars        []consentCar
		Permissions []consentPermission
	}{Account: c.query.Get("simulated_user"), Reconnect: f.vehicleID != "", Single: f.single}
	if !data.Reconnect {
		for i, v := range s.offered(f, data.Account) {
			data.Cars = append(data.Cars, consentCar{v.ID, carName(v), !f.single || i == 0})
		}
		for _, p := range f.scope {
			data.Permissions = append(data.Permissions, consentPermission{p, slices.Contains(f.required, p)})
		}
	}
	var b bytes.Buffer
	if err := s.page.Execute(&b, data); err != nil {
		return text(http.StatusInternalServerError, err.Error())
	}
	r := &response{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: b.Bytes()}
	return r.header("Cache-Control", "no-store")
}

const completionHTML = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Simulated Smartcar Connect</title></head>
<body>
<h1>%s</h1>
%s<p>You can close this window now.</p>
</body>
</html>
`

// completion is the hosted page at the end of a flow without a redirect URI.
func completion(result url.Values) *response {
	heading, link := "Connected", ""
	if name := result.Get("error"); name != "" {
		heading = "Not connected: " + name
	}
	if key := result.Get("virtual_key_url"); key != "" {
		link = `<p><a href="` + template.HTMLEscapeString(key) + `">Add the virtual key</a></p>` + "\n"
	}
	r := &response{status: http.StatusOK, contentType: "text/html; charset=utf-8"}
	r.body = fmt.Appendf(nil, completionHTML, template.HTMLEscapeString(heading), link)
	return r.header("Cache-Control", "no-store")
}

func carName(v *vehicle) string {
	return v.Make + " " + v.Model + " " + strconv.Itoa(v.Year)
}
