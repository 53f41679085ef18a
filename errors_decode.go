package smartcar

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// maxRetryAfter bounds what a server may make us believe: a week.
const maxRetryAfter = 7 * 24 * time.Hour

// errorBody is the union of every error shape: v2.0 flat, v1, OAuth, v3
// errors[] entries, and per-signal errors.
type errorBody struct {
	Type        lenient.String  `json:"type"`
	Code        lenient.String  `json:"code"`
	Description lenient.String  `json:"description"`
	Title       lenient.String  `json:"title"`
	Message     lenient.String  `json:"message"`
	DocURL      lenient.String  `json:"docURL"`
	StatusCode  lenient.Int     `json:"statusCode"`
	Status      lenient.Int     `json:"status"`
	RequestID   lenient.String  `json:"requestId"`
	Resolution  json.RawMessage `json:"resolution"`
	UserMessage lenient.String  `json:"suggestedUserMessage"`
	Detail      json.RawMessage `json:"detail"` // v2.0: a list of fields; v3: a text
	Links       lenient.Object[struct {
		About lenient.String `json:"about"`
	}] `json:"links"`

	Error            json.RawMessage               `json:"error"` // OAuth and v1: a text; v3: an object
	ErrorDescription lenient.String                `json:"error_description"`
	Errors           lenient.List[json.RawMessage] `json:"errors"`
}

// decodeError reads an error answer of any shape. It always returns an error
// with the status, even when the body says nothing.
func decodeError(op Operation, status int, header http.Header, body []byte, now time.Time) *Error {
	var parsed errorBody
	var e *Error
	if json.Unmarshal(body, &parsed) == nil {
		e = parsed.innermost().toError()
	} else {
		e = &Error{Description: "the body is not JSON (" + mediaType(header) + ", " + strconv.Itoa(len(body)) + " bytes)"}
	}
	e.Operation = op
	// Only a success status may be contradicted by its body (v3's streamed answers).
	if status >= 400 || e.StatusCode < 400 || e.StatusCode > 599 {
		e.StatusCode = status
	}
	if e.RequestID == "" {
		e.RequestID = header.Get(headerRequestID)
	}
	e.RetryAfter = parseRetryAfter(header.Get("Retry-After"), now)
	return e
}

// errorInside returns the error that is the whole body of a success, or nil. The
// body of an answer that is none, which is nearly every one, is not even parsed.
func errorInside(op Operation, status int, header http.Header, body []byte, now time.Time) *Error {
	body = bytes.TrimSpace(body)
	switch {
	case !isObject(body), bytes.HasPrefix(body, []byte(`{"data":[{`)), bytes.HasPrefix(body, []byte(`{"data":{"`)):
		return nil
	case !bytes.Contains(body, []byte(`"type"`)) && !bytes.Contains(body, []byte(`"error`)):
		return nil
	}
	var beside struct {
		Data       lenient.List[json.RawMessage]          `json:"data"`
		Responses  lenient.List[json.RawMessage]          `json:"responses"`
		Attributes lenient.Object[struct{}]               `json:"attributes"` // of a signal that stands alone
		Body       lenient.Object[struct{}]               `json:"body"`       // the same
		Error      json.RawMessage                        `json:"error"`
		Errors     lenient.List[lenient.Object[struct{}]] `json:"errors"`
	}
	readable := json.Unmarshal(body, &beside) == nil
	if !readable || len(beside.Data) > 0 || len(beside.Responses) > 0 || beside.Attributes.Present || beside.Body.Present {
		return nil
	}
	e := decodeError(op, status, header, body, now)
	e.inside = true
	said := e.Type != "" || e.Code != "" || e.Description != ""
	listed := slices.ContainsFunc(beside.Errors, func(o lenient.Object[struct{}]) bool { return o.Present })
	typed := e.StatusCode >= 400 || e.refused() || e.Type == typeServer || e.Type == typeUpstream
	if said && (listed || isObject(beside.Error)) || e.Type != "" && typed || e.Type == "" && e.Code != "" && !isNull(beside.Error) {
		return e
	}
	return nil
}

// innermost steps into v3's {"errors":[...]} or {"error":{...}}, once: no
// documented answer nests deeper.
func (b errorBody) innermost() errorBody {
	inner := b.Error
	if i := slices.IndexFunc(b.Errors, isObject); i >= 0 {
		inner = b.Errors[i]
	}
	var nested errorBody
	if isObject(inner) && json.Unmarshal(inner, &nested) == nil {
		return nested
	}
	return b
}

func (b errorBody) toError() *Error {
	e := &Error{
		StatusCode:           int(b.StatusCode),
		Type:                 string(b.Type),
		Code:                 string(b.Code),
		DocURL:               string(b.DocURL),
		RequestID:            string(b.RequestID),
		SuggestedUserMessage: string(b.UserMessage),
	}
	if e.StatusCode == 0 {
		e.StatusCode = int(b.Status)
	}
	if e.DocURL == "" {
		e.DocURL = string(b.Links.Value.About)
	}
	e.Resolution = decodeResolution(b.Resolution)
	e.Detail = decodeDetail(b.Detail)

	var text lenient.String
	_ = text.UnmarshalJSON(b.Detail)
	said, late := b.Description, lenient.String("")
	if strings.Contains(strings.ToLower(string(said)), "deprecated") { // most likely itself
		said, late = "", said
	}
	for _, alternative := range []lenient.String{text, said, b.ErrorDescription, b.Message, b.Title, late} {
		if e.Description == "" {
			e.Description = string(alternative)
		}
	}
	_ = text.UnmarshalJSON(b.Error)
	if e.Type == "" && text != "" {
		e.Code = string(text) // OAuth and v1 name the problem here
	}
	return e
}

// decodeResolution takes an object, a bare text or null.
func decodeResolution(raw json.RawMessage) Resolution {
	var o struct {
		Type lenient.String `json:"type"`
		URL  lenient.String `json:"url"`
	}
	if isObject(raw) {
		_ = json.Unmarshal(raw, &o)
		return Resolution{Type: string(o.Type), URL: string(o.URL)}
	}
	_ = o.Type.UnmarshalJSON(raw)
	return Resolution{Type: string(o.Type)}
}

func decodeDetail(raw json.RawMessage) []FieldProblem {
	var list lenient.List[struct {
		Field   lenient.List[lenient.String] `json:"field"`
		Message lenient.String               `json:"message"`
	}]
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	problems := make([]FieldProblem, 0, len(list))
	for _, d := range list {
		p := FieldProblem{Message: string(d.Message)}
		for _, f := range d.Field {
			p.Field = append(p.Field, string(f))
		}
		problems = append(problems, p)
	}
	return problems
}

func isObject(raw json.RawMessage) bool {
	return len(raw) > 0 && raw[0] == '{'
}

func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if t = strings.TrimSpace(t); t == "" {
		return "no content type"
	}
	return printable(t, 60)
}

// parseRetryAfter reads seconds, a fraction of seconds, a date, or seconds or
// milliseconds since 1970 (Smartcar's SDKs disagree), clamped to a week. What
// makes no sense is zero.
func parseRetryAfter(s string, now time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0
	}
	if at, err := http.ParseTime(s); err == nil {
		return clampRetryAfter(at.Sub(now))
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || n <= 0 {
		return 0
	}
	switch {
	case n > 1e11 && n < 1e15:
		return clampRetryAfter(time.UnixMilli(int64(n)).Sub(now))
	case n > 1e9 && n <= 1e11:
		return clampRetryAfter(time.Unix(int64(n), 0).Sub(now))
	}
	return clampRetryAfter(time.Duration(min(n, maxRetryAfter.Seconds()) * float64(time.Second)))
}

func clampRetryAfter(d time.Duration) time.Duration {
	return min(max(d, 0), maxRetryAfter)
}
