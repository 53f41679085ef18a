package smartcar

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// wireV2 speaks API v2.0: one path an operation, /batch for several at once.
type wireV2 struct{}

var _ wire = wireV2{}

func (wireV2) version() string { return "v2.0" }

func (wireV2) base(o Origins) *url.URL { return o.API.JoinPath("v2.0") }

func (wireV2) supports(op *operation) bool { return op.v2 != "" }

func (wireV2) kind(op *operation) Kind { return op.kind }

// belowVehicle is a path of the operations table as it is sent: the vehicle
// itself has none.
func belowVehicle(path string) string {
	if path == "/" {
		return ""
	}
	return path
}

func (wireV2) read(ops []operation) wireRequest {
	if len(ops) == 1 {
		return wireRequest{method: http.MethodGet, path: belowVehicle(ops[0].v2)}
	}
	type item struct {
		Path string `json:"path"`
	}
	batch := struct {
		Requests []item `json:"requests"`
	}{Requests: make([]item, len(ops))}
	for i := range ops {
		batch.Requests[i].Path = ops[i].v2
	}
	body, _ := json.Marshal(batch) // texts only: cannot fail
	return wireRequest{method: http.MethodPost, path: "/batch", body: body}
}

func (wireV2) split(ops []operation, a *answer) ([]part, error) {
	if len(ops) == 1 {
		return []part{{op: &ops[0], body: a.body, meta: metaFrom(a.header, a.at)}}, nil
	}
	return splitBatch(ops, a)
}

// batchAnswer is HTTP 200 even when every item failed.
type batchAnswer struct {
	Responses lenient.List[struct {
		Path    lenient.String                            `json:"path"`
		Code    lenient.Int                               `json:"code"`
		Body    json.RawMessage                           `json:"body"`
		Headers lenient.Object[map[string]lenient.String] `json:"headers"`
	}] `json:"responses"`
}

func splitBatch(ops []operation, a *answer) ([]part, error) {
	batch, err := decodeObject[batchAnswer](a.body)
	switch {
	case err != nil:
		return nil, err
	case !lenient.HasShape(a.body, "responses[].path"):
		return nil, errForeign
	}
	parts := make([]part, len(ops))
	for i := range ops {
		parts[i] = part{op: &ops[i], err: &Error{
			Operation: ops[i].name, StatusCode: a.status, RequestID: a.header.Get(headerRequestID),
			Description: "the batch answer holds no item for this path",
		}}
	}
	for _, item := range batch.Responses {
		i := indexOfPath(ops, string(item.Path))
		if i < 0 {
			continue
		}
		header := make(http.Header, len(item.Headers.Value)+1)
		header.Set(headerRequestID, a.header.Get(headerRequestID))
		for name, value := range item.Headers.Value {
			header.Set(name, string(value))
		}
		parts[i] = part{op: &ops[i], body: item.Body, meta: metaFrom(header, a.at)}
		if item.Code < 200 || item.Code > 299 {
			parts[i].err = decodeError(ops[i].name, int(item.Code), header, item.Body, a.at)
		} else {
			parts[i].err = errorInside(ops[i].name, int(item.Code), header, item.Body, a.at)
		}
	}
	return parts, nil
}

func indexOfPath(ops []operation, path string) int {
	for i := range ops {
		if strings.Trim(ops[i].v2, "/") == strings.Trim(path, "/") {
			return i
		}
	}
	return -1
}

// decode has no use for units: v2.0 answers in those that it was asked for.
func (wireV2) decode(op *operation, body json.RawMessage, units UnitSystem) (reading, error) {
	if op.decodeV2 == nil {
		return nil, &NotSupportedError{Operation: op.name, API: string(V2)}
	}
	r, err := op.decodeV2(body, units)
	if err == nil && !op.isAnswer(body) {
		return nil, errForeign
	}
	return r, err
}

func (wireV2) command(op *operation, args any) (wireRequest, error) {
	body := args
	switch op.name {
	case Lock, Unlock:
		body = actionBody{strings.ToUpper(string(op.name))}
	case StartCharge:
		body = actionBody{"START"}
	case StopCharge:
		body = actionBody{"STOP"}
	case SetChargeLimit:
		body = struct {
			Limit float64 `json:"limit"`
		}{percentToFraction(args.(float64))}
	}
	request := wireRequest{method: op.method, path: belowVehicle(op.v2)}
	if body == nil {
		return request, nil
	}
	var err error
	request.body, err = json.Marshal(body)
	return request, err
}

type actionBody struct {
	Action string `json:"action"`
}

// destination is the argument of SendDestination, and its v2.0 body.
type destination struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
}

// commandResult: only the word success is one, and a 204 that says nothing. A body
// that says anything else is of Smartcar's error or of somebody else; the command
// may have been carried out either way.
func (wireV2) commandResult(op *operation, a *answer) (*CommandResult, error) {
	result := &CommandResult{Meta: metaFrom(a.header, a.at)}
	if a.isNoContent() {
		return result, nil
	}
	body, err := decodeObject[struct {
		Status  lenient.String `json:"status"`
		Message lenient.String `json:"message"`
	}](a.body)
	switch {
	case err != nil:
		return nil, err
	case !op.isAnswer(a.body):
		return nil, errForeign
	}
	result.Status, result.Message = string(body.Status), string(body.Message)
	return result, nil
}

// percent turns v2.0's fraction into 0-100 without leaving 28.999999999999996.
func percent(fraction lenient.Float) *float64 {
	if fraction.Value == nil {
		return nil
	}
	return new(math.Round(*fraction.Value*1e8) / 1e6)
}

func percentToFraction(p float64) float64 { return math.Round(p*1e6) / 1e8 }
