package keypage

import (
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"rsc.io/qr"
)

// validDone reports whether Config.Done is a path or an https URL: the developer may
// send owners to another site.
func validDone(raw string) bool {
	if sameSite(raw) {
		return true
	}
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && !strings.ContainsFunc(raw, notInURL)
}

// sameSite reports whether raw can be nothing but a path of this site, to
// whichever browser: no scheme, no host, no backslash, nothing invisible, also
// behind escapes.
func sameSite(raw string) bool {
	const longest = 2000
	if len(raw) == 0 || len(raw) > longest || raw[0] != '/' || strings.HasPrefix(raw, "//") || strings.ContainsFunc(raw, notInURL) {
		return false
	}
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && u.Opaque == "" &&
		!strings.HasPrefix(u.Path, "//") && !strings.ContainsFunc(u.Path, notInPath)
}

func notInURL(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }

func notInPath(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }

// done is where the owner goes next. It returns false if the return address in the
// query is refused.
func (h *Handler) done(r *http.Request) (string, bool) {
	wanted, ok := r.URL.Query()["return"]
	if !ok || !h.config.AllowReturn {
		return h.config.Done, true
	}
	return wanted[0], len(wanted) == 1 && sameSite(wanted[0])
}

// again is the address of this page, relative to itself, with nothing in it
// that is not ours.
func again(r *http.Request) string { return pageAddress(r, 0) }

// pageAddress is the address of the page with a count of its loads, which ends the
// reloading.
func pageAddress(r *http.Request, n int) string {
	query := url.Values{}
	for _, key := range []string{"vehicle", "return"} {
		if value := r.URL.Query().Get(key); value != "" {
			query.Set(key, value)
		}
	}
	if n > 0 {
		query.Set("n", strconv.Itoa(n))
	}
	return "?" + query.Encode()
}

// redirectInside adds the slash at the end of the path. Without it, the browser would
// look for the style and the script one folder above. The address is relative, because
// the path before StripPrefix is not known here.
func redirectInside(w http.ResponseWriter, r *http.Request) {
	last := r.RequestURI
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
		last = path.Base(u.Path)
	}
	to := url.URL{Path: "./" + last + "/"}
	w.Header().Set("Location", to.EscapedPath()+strings.TrimSuffix(again(r), "?"))
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// eventsAddress is where the script listens, relative to the page.
func eventsAddress(r *http.Request) string {
	address := "events"
	if id := r.URL.Query().Get("vehicle"); id != "" {
		address += "?" + url.Values{"vehicle": {id}}.Encode()
	}
	return address
}

// quietZone is the white border that a reader needs, in modules.
const quietZone = 4

// drawQR returns the path of a QR code in SVG, one unit per module, and its
// width with the quiet zone. Empty means that there is none.
func drawQR(text string) (drawn template.HTMLAttr, width int) {
	code, err := qr.Encode(text, qr.Q) // reads with a quarter of it covered
	if err != nil {
		return "", 0
	}
	var b strings.Builder
	b.WriteString(`d="`)
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			start := x
			for code.Black(x, y) {
				x++
			}
			if n := strconv.Itoa(x - start); x > start {
				b.WriteString("M" + strconv.Itoa(start+quietZone) + " " + strconv.Itoa(y+quietZone) + "h" + n + "v1h-" + n + "z")
			}
		}
	}
	b.WriteString(`"`)
	return template.HTMLAttr(b.String()), code.Size + 2*quietZone // digits and letters of ours
}
