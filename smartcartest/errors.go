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
	resolutionURL string // of the resolution
	userMessage   string // suggestedUserMessage
	detail        []fieldError
	retryAfter    time.Duration
}

type fieldError struct {
	Field   []string `json:"field"`
	Message string   `json:"message"`
}

// newError looks an error up in the taxonomy. An unknown pair keeps its words
// and takes the status of its type, so that tests can invent new codes.
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

// invalidField is a VALIDATION error about one field.
func invalidField(field, message string) *apiError {
	e := newError("VALIDATION", "")
	e.detail = []fieldError{{Field: []string{field}, Message: strconv.Quote(field) + " " + message}}
	return e
}

func (e *apiError) docURL() string {
	code := e.code
	if code == "" {
		code = "null"
	}
	dashes := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "-")) }
	return "https://smartcar.com/docs/errors/api-errors/" + dashes(e.typ) + "-errors#" + dashes(code)
}

func (e *apiError) resolutionBody() map[string]any {
	r := map[string]any{"type": nullable(e.resolution)}
	if e.resolutionURL != "" {
		r["url"] = e.resolutionURL
	}
	return r
}

// v2Body is the body of API v2.0.
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

// v3Body is the body of API v3: every scalar is a string, the status too.
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

// signalBody is the error as it stands inside one v3 signal.
func (e *apiError) signalBody() map[string]any {
	name := e.code
	if name == "" {
		name = e.typ
	}
	resolution := e.resolutionBody()
	if e.resolution == "" { // as seen live: no null here
		resolution["type"] = "UNKNOWN_RESOLUTION_TYPE"
	}
	return map[string]any{
		"type": e.typ, "code": nullable(e.code), "title": title(name),
		"detail": e.description, "resolution": resolution,
	}
}

// header holds what the error says outside its body.
func (e *apiError) header() http.Header {
	h := http.Header{}
	if e.retryAfter > 0 {
		seconds := (e.retryAfter + time.Second - 1) / time.Second // rounded up: earlier would be refused again
		h.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	return h
}

func statusText(status int) string {
	if status == 430 { // not in net/http: the vendor's own
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

func oauthError(status int, code, description string) *response {
	return jsonResponse(status, map[string]string{"error": code, "error_description": description})
}
