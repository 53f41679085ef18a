package smartcartest

import (
	"bytes"
	"html/template"
	"net/http"
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

// htmlPage answers a page, with headers that keep it from being stored or
// framed.
func htmlPage(page *template.Template, data any) *response {
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return textResponse(http.StatusInternalServerError, err.Error())
	}
	r := &response{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: b.Bytes()}
	return r.header("Cache-Control", "no-store").
		header("Referrer-Policy", "no-referrer").
		header("X-Content-Type-Options", "nosniff").
		header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
}
