package smartcartest

import (
	"html/template"
	"net/url"
	"slices"
)

const consentHTML = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Simulated Smartcar Connect</title>
` + pageStyle + `</head>
<body>
<main>
<p><span class="sim">Simulated Connect</span></p>
<h1>{{if .Reconnect}}Connect your car again{{else}}Connect your cars{{end}}</h1>
<p>The application asks to reach your cars. This is a simulation: nothing is shared with anybody.</p>
<form method="post">
<input type="hidden" name="form" value="1">
<input type="hidden" name="user" value="{{.Account}}">
{{if .Cars}}<fieldset><legend>Cars</legend>
{{range .Cars}}<label><input type="{{if $.Single}}radio{{else}}checkbox{{end}}" name="vehicle" value="{{.ID}}"{{if .Checked}} checked{{end}}> {{.Name}}</label>
{{end}}</fieldset>{{end}}
{{if .Permissions}}<fieldset><legend>What the application may do</legend>
<details><summary>{{len .Permissions}} permissions</summary>
{{range .Permissions}}<label><input type="checkbox" name="permission" value="{{.Name}}" checked{{if .Required}} disabled{{end}}> <code>{{.Name}}{{if .Required}} (required){{end}}</code></label>
{{end}}</details></fieldset>{{end}}
<p class="row"><button class="go" name="decision" value="grant">Allow</button><button name="decision" value="deny">Deny access</button><button class="link" name="error" value="user_manually_returned_to_application">Back to application</button></p>
</form>
</main>
</body>
</html>
`

// consentPage parses the template of the page. New calls it once for each
// server.
func consentPage() *template.Template {
	return template.Must(template.New("connect").Parse(consentHTML)) // a constant, parsed by every test
}

// consentCar is a car to choose on the page.
type consentCar struct {
	ID, Name string
	Checked  bool
}

// consentPermission is a permission to choose on the page. A required one
// cannot be unticked.
type consentPermission struct {
	Name     string
	Required bool
}

// showConsent answers the page with the cars and permissions of an account.
// The query parameter simulated_user names the account. It is not called user,
// because that parameter belongs to the application.
func (s *Server) showConsent(c *call, f *flow) *response {
	data := struct {
		Account     string
		Reconnect   bool
		Single      bool
		Cars        []consentCar
		Permissions []consentPermission
	}{Account: c.query.Get("simulated_user"), Reconnect: f.vehicleID != "", Single: f.singleSelect}
	if !data.Reconnect {
		for i, v := range s.offered(f, data.Account) {
			data.Cars = append(data.Cars, consentCar{v.ID, displayName(v), !f.singleSelect || i == 0})
		}
		for _, p := range f.scope {
			data.Permissions = append(data.Permissions, consentPermission{p, slices.Contains(f.required, p)})
		}
	}
	return htmlPage(s.consentTemplate, data)
}

const completionHTML = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Simulated Smartcar Connect</title>
` + pageStyle + `</head>
<body>
<main>
<p><span class="sim">Simulated Connect</span></p>
<h1>{{.Heading}}</h1>
{{with .Key}}<p><a href="{{.}}">Add the virtual key</a></p>
{{end}}<p>You can close this window now.</p>
</main>
</body>
</html>
`

// notConnected begins the heading of the page after a flow that has failed; the
// name of the error follows.
const notConnected = "Not connected: "

// completionPage is the vendor's own page at the end of a flow that has no
// redirect URI.
func completionPage(result url.Values) *response {
	data := struct{ Heading, Key string }{"Connected", result.Get("virtual_key_url")}
	if name := result.Get("error"); name != "" {
		data.Heading = notConnected + name
	}
	return htmlPage(template.Must(template.New("completion").Parse(completionHTML)), data) // a constant
}
