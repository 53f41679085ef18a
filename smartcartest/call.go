package smartcartest

import (
	"crypto/subtle"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// call is one request on its way through the server, and how it is answered.
type call struct {
	request   *http.Request
	requestID string
	path      []string // segments below the base path, unescaped
	query     url.Values
	body      []byte
	now       time.Time // when it is processed, in simulated time
	v3        bool      // the path is one of API v3
	cfg       *config
	car       *vehicle // that the path names; nil when there is none
	entry     *Entry   // for the ledger of car; nil when there is no car
}

// form is the body as a form; false when the Content-Type names something else
// or the body is malformed.
func (c *call) form() (url.Values, bool) {
	kind, _, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, false
	}
	form, err := url.ParseQuery(string(c.body))
	return form, err == nil
}

// hasBasicAuth says whether the request carries these credentials as HTTP
// Basic.
func (c *call) hasBasicAuth(user, password string) bool {
	u, p, ok := c.request.BasicAuth()
	return ok && equalSecrets(u, user) && equalSecrets(p, password)
}

// bearer is the bearer token of the request; empty when there is none.
func (c *call) bearer() string {
	scheme, token, _ := strings.Cut(c.request.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// hasManagementToken says whether the request carries the management token: as the
// password of the user "default", or as a bearer token, which the webhook
// endpoints document.
func (c *call) hasManagementToken() bool {
	return c.hasBasicAuth("default", managementToken) || equalSecrets(c.bearer(), managementToken)
}

// equalSecrets compares in constant time.
func equalSecrets(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// list answers one page of a list of v2.0. The query parameters limit and
// offset choose the page.
func (c *call) list(name string, all []string, byDefault, most int) *response {
	limit, err := c.queryNumber("limit", byDefault, 1, most)
	if err != nil {
		return c.fail(err)
	}
	offset, err := c.queryNumber("offset", 0, 0, 1<<31-1)
	if err != nil {
		return c.fail(err)
	}
	from := min(offset, len(all))
	part := append([]string{}, all[from:min(from+limit, len(all))]...) // never null
	return c.ok(map[string]any{"paging": map[string]int{"count": len(all), "offset": offset}, name: part})
}

// queryNumber reads a number from the query; byDefault when the query has
// none.
func (c *call) queryNumber(name string, byDefault, least, most int) (int, *apiError) {
	if !c.query.Has(name) {
		return byDefault, nil
	}
	n, err := strconv.Atoi(c.query.Get(name))
	if err != nil || n < least || n > most {
		return 0, invalidField(name, "must be a number between "+strconv.Itoa(least)+" and "+strconv.Itoa(most))
	}
	return n, nil
}

// matches says whether a connection passes the filters of the query: user_id,
// vehicle_id and mode of the management API of v2.0.
func (c *call) matches(n *connection) bool {
	for name, value := range map[string]string{"user_id": n.user, "vehicle_id": n.vehicle, "mode": n.mode} {
		if c.query.Has(name) && c.query.Get(name) != value {
			return false
		}
	}
	return true
}

// ok answers 200 with v as JSON.
func (c *call) ok(v any) *response {
	return jsonResponse(http.StatusOK, v).header("SC-Request-Id", c.requestID)
}

// empty answers 204.
func (c *call) empty() *response {
	return (&response{status: http.StatusNoContent}).header("SC-Request-Id", c.requestID)
}

// fail answers an error in the shape of the API version that was called.
func (c *call) fail(e *apiError) *response { return c.failAs(e, ErrorList) }

// failAs is fail with a choice of how v3 wraps the error.
func (c *call) failAs(e *apiError, shape ErrorShape) *response {
	var body any = e.v2Body(c.requestID)
	if c.v3 {
		body = e.v3Body(shape, c.cfg.variants.NumericStatus)
	}
	r := jsonResponse(e.status, body)
	r.headers = e.header()
	return r.header("SC-Request-Id", c.requestID)
}

// attributes are data.attributes of a v3 request; nil when the request has no
// body.
func (c *call) attributes() (json.RawMessage, *apiError) {
	var body struct {
		Data struct {
			Attributes json.RawMessage `json:"attributes"`
		} `json:"data"`
	}
	if len(c.body) > 0 && json.Unmarshal(c.body, &body) != nil {
		return nil, newError("VALIDATION", "INVALID_INPUT_FORMAT")
	}
	return body.Data.Attributes, nil
}

// filteredMode is the mode that filter[vehicle.mode] asks for. Connections of
// any other mode are hidden.
func (c *call) filteredMode(byDefault string) (mode string, err *apiError) {
	mode = c.query.Get("filter[vehicle.mode]")
	switch mode {
	case "":
		return byDefault, nil
	case "live", "simulated":
		return mode, nil
	default:
		return "", invalidField("filter[vehicle.mode]", "must be live or simulated")
	}
}

// passesFilter says whether a value passes filter[name] of the query. A filter
// that is absent or empty lets everything pass.
func (c *call) passesFilter(value, filter string) bool {
	f := c.query.Get("filter[" + filter + "]")
	return f == "" || value == f
}

// vehicleLink is a link to the host of the vehicle API of v3.
func (c *call) vehicleLink(path string) string { return c.v3Link("vehicle", path) }

// v3Link is a link to a host of v3: "vehicle" or "management".
func (c *call) v3Link(host, path string) string {
	if c.cfg.variants.RelativeLinks {
		return path
	}
	return "https://" + host + ".api.smartcar.com/v3" + path
}

// v3Time is a time as v3 sends it. Variants choose the format.
func (c *call) v3Time(t time.Time) any {
	switch v := &c.cfg.variants; {
	case v.EpochTimes && v.FractionTimes:
		return json.RawMessage(strconv.FormatInt(t.UnixMilli(), 10) + ".0")
	case v.EpochTimes:
		return t.UnixMilli()
	case v.OffsetTimes:
		return t.In(time.FixedZone("", 2*60*60)).Format("2006-01-02T15:04:05.000-07:00")
	default:
		return t.UTC().Format(timeLayout)
	}
}

// executionMeta says when a v3 command began and ended.
func (c *call) executionMeta(v *vehicle) object {
	return object{
		"executedAt": c.v3Time(c.now), "completedAt": c.v3Time(c.now.Add(v.SlowCommands)),
		"durationInSeconds": int(v.SlowCommands.Round(time.Second) / time.Second),
	}
}

// streamedIfSlow makes a slow car's answer to a command a 202 whose body is
// streamed later, whether the command succeeds or fails. The answer of any
// other car stays as it is.
func (c *call) streamedIfSlow(v *vehicle, r *response) *response {
	if v.SlowCommands > 0 {
		r.streamed, r.streamAfter, r.status = true, v.SlowCommands, http.StatusAccepted
	}
	return r
}

// carErrorShape is how v3 wraps an error that the car itself answered. Only
// the error of a slow car, which is streamed, may have another shape.
func (c *call) carErrorShape(v *vehicle) ErrorShape {
	if v.SlowCommands > 0 {
		return c.cfg.variants.StreamedError
	}
	return ErrorList
}
