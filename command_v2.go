package smartcar

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

func (wireV2) command(op *operation, args any) (wireRequest, error) {
	body := args
	switch op.name {
	case Lock, Unlock:
		body = actionBody{strings.ToUpper(string(op.name))}
	case StartCharge:
		body = actionBody{"START"}
	case StopCharge:
		body = actionBody{"STOP"}
	case OpenChargePort:
		body = actionBody{"OPEN"}
	case CloseChargePort:
		body = actionBody{"CLOSE"}
	case StartClimate:
		body = actionBody{"START"}
	case StopClimate:
		body = actionBody{"STOP"}
	case SetClimate:
		body = struct {
			actionBody
			Temperature float64 `json:"temperature"`
		}{actionBody{"SET"}, args.(float64)}
	case SetChargeCurrent:
		body = struct {
			Amperage int `json:"amperage"`
		}{args.(int)}
	case SetChargeLimit:
		body = struct {
			Limit float64 `json:"limit"`
		}{percentToFraction(args.(float64))}
	}
	request := wireRequest{method: op.method, path: strings.TrimSuffix(op.v2, "/")}
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
func percent(fraction *float64) *float64 {
	if fraction != nil {
		*fraction = math.Round(*fraction*1e8) / 1e6
	}
	return fraction
}

func percentToFraction(p float64) float64 { return math.Round(p*1e6) / 1e8 }
