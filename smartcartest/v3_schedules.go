package smartcartest

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// schedule is one charge schedule of a car, at a place.
type schedule struct {
	id, kind            string // kind as in the path
	latitude, longitude float64
	hours               []dayHours
}

// dayHours are the hours of a schedule on some days of the week.
type dayHours struct {
	start, end string // HH:MM
	days       []string
}

// timeSpan is how a request writes hours.
type timeSpan struct {
	StartTime *string `json:"startTime"`
	StopTime  *string `json:"stopTime"`
}

// parse checks the hours for some days. Start or stop may be missing, not
// both. field is named in the error.
func (p *timeSpan) parse(field string, days ...string) (dayHours, *apiError) {
	h := dayHours{days: days}
	if p == nil || p.StartTime == nil && p.StopTime == nil {
		return h, invalidField(field, "needs a start or a stop time")
	}
	for at, to := range map[*string]*string{p.StartTime: &h.start, p.StopTime: &h.end} {
		if at == nil {
			continue
		}
		if _, err := time.Parse("15:04", *at); err != nil || len(*at) != 5 {
			return h, invalidField(field, "must have times as HH:MM")
		}
		*to = *at
	}
	return h, nil
}

// week is Monday to Sunday, as the vendor names the days.
func week() []string {
	return []string{"MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"}
}

// scheduleKinds are the kinds of schedules, as they stand in the path, and how
// each reads its hours.
func scheduleKinds() map[string]func(attributes []byte) ([]dayHours, *apiError) {
	return map[string]func([]byte) ([]dayHours, *apiError){"daily": daily, "weekly": weekly, "workweek": workweek}
}

// daily has the same hours every day.
func daily(b []byte) ([]dayHours, *apiError) {
	var p timeSpan
	if json.Unmarshal(b, &p) != nil {
		return nil, newError("VALIDATION", "INVALID_INPUT_FORMAT")
	}
	h, err := p.parse("startTime", week()...)
	return []dayHours{h}, err
}

// weekly has hours for each day that the request names, in upper or lower
// case.
func weekly(b []byte) ([]dayHours, *apiError) {
	var p struct {
		Days map[string]*timeSpan `json:"days"`
	}
	if json.Unmarshal(b, &p) != nil {
		return nil, newError("VALIDATION", "INVALID_INPUT_FORMAT")
	}
	if len(p.Days) == 0 {
		return nil, invalidField("days", "is required")
	}
	byDay := map[string]dayHours{}
	for name, one := range p.Days {
		day := strings.ToUpper(name)
		if !slices.Contains(week(), day) {
			return nil, invalidField("days", "must be named like monday")
		}
		h, err := one.parse("days", day)
		if err != nil {
			return nil, err
		}
		byDay[day] = h
	}
	var out []dayHours
	for _, day := range week() {
		if h, ok := byDay[day]; ok {
			out = append(out, h)
		}
	}
	return out, nil
}

// workweek has hours for Monday to Friday, for the weekend, or for both.
func workweek(b []byte) ([]dayHours, *apiError) {
	var p struct {
		Weekdays *timeSpan `json:"weekdays"`
		Weekends *timeSpan `json:"weekends"`
	}
	if json.Unmarshal(b, &p) != nil {
		return nil, newError("VALIDATION", "INVALID_INPUT_FORMAT")
	}
	if p.Weekdays == nil && p.Weekends == nil {
		return nil, invalidField("weekdays", "or \"weekends\" is required")
	}
	var out []dayHours
	for name, one := range map[string]*timeSpan{"weekdays": p.Weekdays, "weekends": p.Weekends} {
		if one == nil {
			continue
		}
		days := week()[:5]
		if name == "weekends" {
			days = week()[5:]
		}
		h, err := one.parse(name, days...)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b dayHours) int { return strings.Compare(a.days[0], b.days[0]) })
	return out, nil
}

// v3Schedule answers POST charge-schedules/{kind}.
func (s *Server) v3Schedule(c *call, v *vehicle, n *connection, kind string) *response {
	if err := v3Admit(n, "control_charge", !v.schedulable(kind)); err != nil {
		return c.fail(err)
	}
	attributes, err := c.attributes()
	if err != nil {
		return c.fail(err)
	}
	made := schedule{id: "sched_" + c.requestID, kind: kind}
	if err = made.parsePlace(attributes); err == nil {
		made.hours, err = scheduleKinds()[kind](attributes)
	}
	if err != nil {
		return c.fail(err)
	}
	return s.v3ChangeSchedules(c, v, "create", made, attributes, func(c *condition) {
		c.schedules = append(slices.Clone(c.schedules), made)
	})
}

// parsePlace reads the place at which a schedule holds.
func (p *schedule) parsePlace(attributes []byte) (err *apiError) {
	var body struct {
		Location json.RawMessage `json:"location"`
	}
	if json.Unmarshal(attributes, &body) != nil || body.Location == nil {
		return invalidField("location", "is required")
	}
	if p.latitude, err = boundedNumber(body.Location, "latitude", -90, 90); err == nil {
		p.longitude, err = boundedNumber(body.Location, "longitude", -180, 180)
	}
	return err
}

// v3Unschedule answers DELETE charge-schedules/{id}.
func (s *Server) v3Unschedule(c *call, v *vehicle, n *connection, id string) *response {
	if err := v3Admit(n, "control_charge", !v.schedulable("daily")); err != nil {
		return c.fail(err)
	}
	known := v.conditionAt(c.now).schedules
	i := slices.IndexFunc(known, func(p schedule) bool { return p.id == id })
	if i < 0 {
		return c.fail(newError("RESOURCE_NOT_FOUND", "SCHEDULE_NOT_FOUND"))
	}
	return s.v3ChangeSchedules(c, v, "delete", known[i], nil, func(c *condition) {
		c.schedules = slices.DeleteFunc(slices.Clone(c.schedules), func(p schedule) bool { return p.id == id })
	})
}

// v3ChangeSchedules sends a change of the schedules to the car and answers the
// execution.
func (s *Server) v3ChangeSchedules(c *call, v *vehicle, action string, p schedule, parameters json.RawMessage, apply func(*condition)) *response {
	if err := v.execute(c.now, c.entry, effect{apply: apply}); err != nil {
		return c.streamedIfSlow(v, c.failAs(err, c.carErrorShape(v)))
	}
	attributes := object{
		"action": action, "scheduleType": p.kind, "status": object{"value": "SUCCESS"}, "executionMode": "sync", "scheduleId": p.id,
	}
	if parameters != nil {
		attributes["parameters"] = parameters
	}
	return c.streamedIfSlow(v, c.ok(object{"data": object{
		"id": "exec_" + c.requestID, "type": "charge-schedule-execution", "attributes": attributes,
		"links": object{"schedule": "/vehicles/" + v.ID + "/charge-schedules/" + p.id}, "meta": c.executionMeta(v),
	}}))
}

// timer is the schedule as the signal charge-chargetimers lists it.
func (p schedule) timer() object {
	list := []object{}
	for _, h := range p.hours {
		list = append(list, object{"start": withSeconds(h.start), "end": withSeconds(h.end), "days": h.days})
	}
	return object{
		"type": "LOCATION", "scheduleType": strings.ToUpper(p.kind), "scheduleId": p.id,
		"condition": object{"name": nil, "address": nil, "latitude": p.latitude, "longitude": p.longitude},
		"schedules": list, "departureTimers": []object{}, "isOEMOptimizationEnabled": false,
	}
}

// withSeconds writes HH:MM as HH:MM:00; null when there is no time.
func withSeconds(hhmm string) any {
	if hhmm == "" {
		return nil
	}
	return hhmm + ":00"
}
