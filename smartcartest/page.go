package smartcartest

import (
	"bytes"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// pageStyle is shared by the pages an owner clicks through.
const pageStyle = `<style>
:root{color-scheme:light dark;--b:#f3f4f6;--s:#fff;--t:#111827;--m:#4b5563;--l:#d1d5db;--a:#0f766e;--o:#fff}
@media(prefers-color-scheme:dark){:root{--b:#111417;--s:#1c2126;--t:#f3f4f6;--m:#b6bec8;--l:#3b444e;--a:#5eead4;--o:#042f2e}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1rem;max-width:32rem;background:var(--b);color:var(--t);font:1rem/1.5 system-ui,sans-serif}
main{padding:1.5rem;border:1px solid var(--l);border-radius:16px;background:var(--s)}
h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}
h2{margin:0;font-size:1.05rem}
p{margin:0 0 1rem}
.sim{display:inline-block;padding:.1rem .6rem;border:1px dashed var(--m);border-radius:99px;color:var(--m);font-size:.875rem}
fieldset{margin:0 0 1.25rem;padding:0;border:0}
legend{padding:0;margin-bottom:.5rem;font-weight:600}
label{display:flex;gap:.75rem;align-items:center;padding:.5rem .75rem;border:1px solid var(--l);border-radius:10px;margin-bottom:.4rem}
input{flex:none;width:1.15rem;height:1.15rem;accent-color:var(--a)}
details label{border:0;padding:.2rem .25rem;margin:0}
summary{cursor:pointer;padding:.25rem 0}
code{font-size:.875rem;overflow-wrap:anywhere}
.row{display:flex;flex-wrap:wrap;gap:.75rem;margin:0}
button{flex:1 1 8rem;padding:.8rem 1rem;border:1px solid var(--l);border-radius:10px;background:transparent;color:inherit;font:inherit;font-weight:600;cursor:pointer}
button.go{border-color:var(--a);background:var(--a);color:var(--o)}
button.link{flex-basis:100%;border-color:transparent;font-weight:400;text-decoration:underline}
:focus-visible{outline:3px solid var(--a);outline-offset:2px}
li{list-style:none;padding:1rem 0;border-top:1px solid var(--l)}ul{margin:0;padding:0}
li p{margin:.25rem 0 .75rem;color:var(--m)}
.said{padding:.75rem 1rem;border-left:4px solid var(--a);background:var(--b)}
</style>`

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
	return htmlPage(s.page, data)
}

func htmlPage(page *template.Template, data any) *response {
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return text(http.StatusInternalServerError, err.Error())
	}
	r := &response{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: b.Bytes()}
	return r.header("Cache-Control", "no-store").
		header("Referrer-Policy", "no-referrer").
		header("X-Content-Type-Options", "nosniff").
		header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
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

// completion is the hosted page at the end of a flow without a redirect URI.
func completion(result url.Values) *response {
	data := struct{ Heading, Key string }{"Connected", result.Get("virtual_key_url")}
	if name := result.Get("error"); name != "" {
		data.Heading = "Not connected: " + name
	}
	return htmlPage(template.Must(template.New("completion").Parse(completionHTML)), data) // a constant
}

func carName(v *vehicle) string {
	return v.Make + " " + v.Model + " " + strconv.Itoa(v.Year)
}
