package smartcartest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// apiError is one documented error, before it takes the shape of an API
// version.
type apiError struct {
	status        int
	typ           string
	code          string // "" is JSON null
	description   string
	resolution    string // "" is JSON null
	resolutionURL string // "" is absent
	userMessage   string // suggestedUserMessage; "" is absent
	detail        []fieldError
	retryAfter    time.Duration
}

// fieldError says what is wrong with one field of a request.
type fieldError struct {
	Field   []string `json:"field"`
	Message string   `json:"message"`
}

// newError looks an error up in the taxonomy. A code that is not documented
// gets the status of its type, so that tests can invent codes.
func newError(typ, code string) *apiError {
	status := http.StatusInternalServerError
	for _, e := range documentedErrors() {
		if e.typ != typ {
			continue
		}
		if e.code == code {
			return &e
		}
		status = e.status
	}
	return &apiError{status: status, typ: typ, code: code, description: "The vehicle or its account answered " + typ + ":" + code + "."}
}

// invalidField is a VALIDATION error about one field of a request. The message
// follows the field's name.
func invalidField(field, message string) *apiError {
	e := newError("VALIDATION", "")
	e.detail = []fieldError{{Field: []string{field}, Message: strconv.Quote(field) + " " + message}}
	return e
}

// docURL links to the vendor's page about the error.
func (e *apiError) docURL() string {
	code := e.code
	if code == "" {
		code = "null"
	}
	dashes := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "-")) }
	return "https://smartcar.com/docs/errors/api-errors/" + dashes(e.typ) + "-errors#" + dashes(code)
}

// resolutionBody is what the owner or the application can do about the error.
func (e *apiError) resolutionBody() map[string]any {
	r := map[string]any{"type": nullable(e.resolution)}
	if e.resolutionURL != "" {
		r["url"] = e.resolutionURL
	}
	return r
}

// v2Body is the error as API v2.0 sends it.
func (e *apiError) v2Body(requestID string) map[string]any {
	body := map[string]any{
		"type":        e.typ,
		"code":        nullable(e.code),
		"description": e.description,
		"docURL":      e.docURL(),
		"statusCode":  e.status,
		"requestId":   requestID,
		"resolution":  e.resolutionBody(),
	}
	if e.userMessage != "" {
		body["suggestedUserMessage"] = e.userMessage
	}
	if e.detail != nil {
		body["detail"] = e.detail
	}
	return body
}

// v3Body is the error as API v3 sends it. The status is a string there, unless
// numeric is set.
func (e *apiError) v3Body(shape ErrorShape, numeric bool) map[string]any {
	one := map[string]any{
		"status":     strconv.Itoa(e.status),
		"type":       e.typ,
		"code":       nullable(e.code),
		"title":      statusText(e.status),
		"detail":     e.description,
		"links":      map[string]any{"about": e.docURL()},
		"resolution": e.resolutionBody(),
	}
	if e.userMessage != "" {
		one["suggestedUserMessage"] = e.userMessage
	}
	if numeric {
		one["status"] = e.status
	}
	switch shape {
	case SingleError:
		return map[string]any{"error": one}
	case BareError:
		return one
	}
	return map[string]any{"errors": []any{one}}
}

// signalBody is the error inside one v3 signal, as seen live: without a code it
// has UNKNOWN, and without a resolution UNKNOWN_RESOLUTION_TYPE. described adds
// the field of before September 2026.
func (e *apiError) signalBody(described bool) map[string]any {
	code := e.code
	if code == "" {
		code = "UNKNOWN"
	}
	resolution := e.resolutionBody()
	if e.resolution == "" {
		resolution["type"] = "UNKNOWN_RESOLUTION_TYPE"
	}
	body := map[string]any{
		"type": e.typ, "code": code, "title": title(code), "detail": e.description, "resolution": resolution,
	}
	if described {
		body["description"] = "Deprecated. Use detail"
	}
	return body
}

// header is the part of the error that is sent in headers: Retry-After.
func (e *apiError) header() http.Header {
	h := http.Header{}
	if e.retryAfter > 0 {
		seconds := (e.retryAfter + time.Second - 1) / time.Second // rounded up, because a retry before the end is refused again
		h.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	return h
}

// statusText is the name of a status, with the vendor's own 430.
func statusText(status int) string {
	if status == 430 { // the vendor's own status, which net/http does not know
		return "Billing Limit Reached"
	}
	return http.StatusText(status)
}

// title makes "Not Charging" of NOT_CHARGING.
func title(code string) string {
	words := strings.Split(strings.ToLower(code), "_")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}

// oauthError is an error of either token endpoint.
func oauthError(status int, code, description string) *response {
	return jsonResponse(status, map[string]string{"error": code, "error_description": description})
}
