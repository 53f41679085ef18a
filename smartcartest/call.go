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

// call is one request on its way through the server.
type call struct {
	request   *http.Request
	path      []string // segments below the base path, unescaped
	query     url.Values
	body      []byte
	now       time.Time
	requestID string // request id
	v3        bool   // shape of the errors
	cfg       *config
	entry     *Entry   // for the ledger of ledger, when the path names a car
	car       *vehicle // whose ledger it is
}

// form is the body as a form; false when its type says otherwise.
func (c *call) form() (url.Values, bool) {
	kind, _, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, false
	}
	form, err := url.ParseQuery(string(c.body))
	return form, err == nil
}

func (c *call) hasBasicAuth(user, password string) bool {
	u, p, ok := c.request.BasicAuth()
	return ok && equalSecrets(u, user) && equalSecrets(p, password)
}

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

func equalSecrets(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// list answers a part of a list by limit and offset.
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

// queryNumber reads a query parameter.
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

// matches matches the connections that the query names.
func (c *call) matches(n *connection) bool {
	for name, value := range map[string]string{"user_id": n.user, "vehicle_id": n.vehicle, "mode": n.mode} {
		if c.query.Has(name) && c.query.Get(name) != value {
			return false
		}
	}
	return true
}

// ok is a 200 of the API.
func (c *call) ok(v any) *response {
	return jsonResponse(http.StatusOK, v).header("SC-Request-Id", c.requestID)
}

// empty is a 204 of the API.
func (c *call) empty() *response {
	return (&response{status: http.StatusNoContent}).header("SC-Request-Id", c.requestID)
}

// fail is an error in the shape of the called API version.
func (c *call) fail(e *apiError) *response { return c.failAs(e, ErrorList) }

// failAs is fail with a choice of the shape in v3.
func (c *call) failAs(e *apiError, shape ErrorShape) *response {
	var body any = e.v2Body(c.requestID)
	if c.v3 {
		body = e.v3Body(shape, c.cfg.variants.NumericStatus)
	}
	r := jsonResponse(e.status, body)
	r.headers = e.header()
	return r.header("SC-Request-Id", c.requestID)
}

// attributes are data.attributes of the body; nil without a body.
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

// filteredMode is filter[vehicle.mode], which hides what it does not name.
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

// passesFilter says whether a value passes a filter of the query.
func (c *call) passesFilter(value, filter string) bool {
	f := c.query.Get("filter[" + filter + "]")
	return f == "" || value == f
}

// vehicleLink is a link of the vehicle API.
func (c *call) vehicleLink(path string) string { return c.v3Link("vehicle", path) }

// v3Link is a link of one of the two hosts of v3.
func (c *call) v3Link(host, path string) string {
	if c.cfg.variants.RelativeLinks {
		return path
	}
	return "https://" + host + ".api.smartcar.com/v3" + path
}

// v3Time is a time in the called API version.
func (c *call) v3Time(t time.Time) any {
	if c.cfg.variants.EpochTimes {
		return t.UnixMilli()
	}
	return t.UTC().Format(timeLayout)
}

// executionMeta is the meta of an execution.
func (c *call) executionMeta(v *vehicle) object {
	return object{
		"executedAt": c.v3Time(c.now), "completedAt": c.v3Time(c.now.Add(v.SlowCommands)),
		"durationInSeconds": int(v.SlowCommands.Round(time.Second) / time.Second),
	}
}

// streamedIfSlow streams what a slow car answers to a command, success or error alike.
func (c *call) streamedIfSlow(v *vehicle, r *response) *response {
	if v.SlowCommands > 0 {
		r.streamed, r.streamAfter, r.status = true, v.SlowCommands, http.StatusAccepted
	}
	return r
}

// carErrorShape is the shape of an error that the car itself answers.
func (c *call) carErrorShape(v *vehicle) ErrorShape {
	if v.SlowCommands > 0 {
		return c.cfg.variants.StreamedError
	}
	return ErrorList
}
