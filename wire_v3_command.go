package smartcar

import (
	"encoding/json"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// command wraps the arguments as API v3 wants them. Most commands have none.
func (wireV3) command(op *operation, args any) (wireRequest, error) {
	request := wireRequest{method: op.method, path: op.v3}
	attributes := args
	switch a := args.(type) {
	case nil:
		return request, nil
	case float64: // SetChargeLimit
		if a != math.Trunc(a) {
			return request, argumentError("SetChargeLimit percent", "must be whole on API v3, such as 80")
		}
		attributes = map[string]int{"percent": int(a)}
	case ChargeSchedule:
		var kind string
		kind, attributes = a.wire()
		request.path += "/" + kind
	case scheduleID:
		request.path += "/" + url.PathEscape(string(a))
		return request, nil
	}
	var err error
	request.body, err = json.Marshal(map[string]any{"data": map[string]any{"attributes": attributes}})
	return request, err
}

// scheduleID is the argument of DeleteChargeSchedule.
type scheduleID string

type spanV3 struct {
	Start string `json:"startTime,omitempty"`
	Stop  string `json:"stopTime,omitempty"`
}

// wire returns the kind of a valid schedule, which is a part of the path, and
// its attributes.
func (s ChargeSchedule) wire() (kind string, attributes map[string]any) {
	span := func(t *ChargeTimes) spanV3 { return spanV3{Start: t.Start, Stop: t.Stop} }
	attributes = map[string]any{"location": destination{Latitude: s.Latitude, Longitude: s.Longitude}}
	switch {
	case s.Daily != nil:
		attributes["startTime"], attributes["stopTime"] = s.Daily.Start, s.Daily.Stop
		for _, name := range []string{"startTime", "stopTime"} {
			if attributes[name] == "" {
				delete(attributes, name)
			}
		}
		return "daily", attributes
	case len(s.Weekly) > 0:
		days := make(map[string]spanV3, len(s.Weekly))
		for day, times := range s.Weekly {
			days[strings.ToLower(day.String())] = span(&times)
		}
		attributes["days"] = days
		return "weekly", attributes
	}
	for name, times := range map[string]*ChargeTimes{"weekdays": s.Weekdays, "weekends": s.Weekends} {
		if times != nil {
			attributes[name] = span(times)
		}
	}
	return "workweek", attributes
}

// validate reports what no car could follow.
func (s ChargeSchedule) validate() error {
	if err := checkPlace("ChargeSchedule", s.Latitude, s.Longitude); err != nil {
		return err
	}
	kinds := 0
	var all []ChargeTimes
	if s.Daily != nil {
		kinds, all = kinds+1, append(all, *s.Daily)
	}
	if len(s.Weekly) > 0 {
		kinds++
		for day, times := range s.Weekly {
			if day < time.Sunday || day > time.Saturday {
				return argumentError("ChargeSchedule.Weekly", "has a day that is none")
			}
			all = append(all, times)
		}
	}
	if s.Weekdays != nil || s.Weekends != nil {
		kinds++
		for _, times := range []*ChargeTimes{s.Weekdays, s.Weekends} {
			if times != nil {
				all = append(all, *times)
			}
		}
	}
	if kinds != 1 {
		return argumentError("ChargeSchedule", "needs exactly one of Daily, Weekly, and Weekdays with Weekends")
	}
	for _, times := range all {
		if times.Start == "" && times.Stop == "" || !isClock(times.Start) || !isClock(times.Stop) {
			return argumentError("ChargeTimes", `needs a Start or a Stop, as "HH:MM"`)
		}
	}
	return nil
}

func isClock(s string) bool {
	_, err := time.Parse("15:04", s)
	return s == "" || err == nil && len(s) == len("15:04")
}

// commandResult reads the body, which decides: a 202 may carry an error, as
// errors[], as error, or as a bare object.
func (wireV3) commandResult(op *operation, a *answer) (*CommandResult, error) {
	body, err := decodeObject[struct {
		Data lenient.Object[struct {
			ID         lenient.String `json:"id"`
			Attributes lenient.Object[struct {
				Status     json.RawMessage `json:"status"`
				ScheduleID lenient.String  `json:"scheduleId"`
			}] `json:"attributes"`
		}] `json:"data"`
	}](a.body)
	if err != nil {
		return nil, err
	}
	attributes := body.Data.Value.Attributes.Value
	switch status := readStatusV3(attributes.Status); {
	case enum(status.Value) == SignalStatusSuccess:
		return &CommandResult{
			Status: string(status.Value), ExecutionID: string(body.Data.Value.ID), ScheduleID: string(attributes.ScheduleID),
			Meta: metaFrom(a.header, a.at),
		}, nil
	case status.Value != "":
		return nil, statusErrorV3(op.name, string(status.Value), status.Error, a)
	}
	return nil, decodeError(op.name, a.status, a.header, a.body, a.at)
}
