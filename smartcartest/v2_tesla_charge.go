package smartcartest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// chargePlan is the charge schedule that a Tesla has in v2.0: at most one of
// its two kinds is enabled.
type chargePlan struct {
	kind string // startPlan, departurePlan, or empty when nothing is scheduled
	time string // HH:MM
}

// The kinds of a charge plan, as a request names them.
const startPlan, departurePlan = "START_TIME", "DEPARTURE_TIME"

// body is the plan as the read and the command answer it.
func (p chargePlan) body() object {
	one := func(kind string) object {
		if p.kind == kind {
			return object{"enabled": true, "time": p.time}
		}
		return object{"enabled": false, "time": nil}
	}
	return object{"departureTime": one(departurePlan), "startTime": one(startPlan)}
}

// teslaChargeReads are the reads of /tesla/charge that tell of times.
func teslaChargeReads() []operation {
	return []operation{
		{method: http.MethodGet, path: "/tesla/charge/completion", permission: "read_charge", kind: Data, read: func(w *view) (any, *apiError) {
			if w.chargeStatus() != "CHARGING" {
				return nil, newError("VEHICLE_STATE", "NOT_CHARGING")
			}
			left := time.Duration(w.minutesToLimit()) * time.Minute
			return object{"time": w.recording.recorded.Add(left).Format(timeLayout)}, nil
		}},
		{method: http.MethodGet, path: "/tesla/charge/schedule", permission: "read_charge", kind: Data, read: func(w *view) (any, *apiError) {
			return w.plan.body(), nil
		}},
		{method: http.MethodGet, path: "/tesla/charge/records", permission: "read_charge_records", kind: Data, check: checkRecordDates, read: chargeRecords},
		{method: http.MethodGet, path: "/tesla/charge/records/billing", permission: "read_charge_records", kind: Data, check: checkBilling, read: chargeBills},
	}
}

// planCharge takes a charge plan. Older parameter tables of the vendor call the
// field enable enabled: either is taken.
func planCharge(w *view, b []byte) (effect, *apiError) {
	var body struct {
		Type    string `json:"type"`
		Enable  *bool  `json:"enable"`
		Enabled *bool  `json:"enabled"`
		Time    string `json:"time"`
	}
	if json.Unmarshal(b, &body) != nil {
		return effect{}, newError("VALIDATION", "")
	}
	if body.Enable == nil {
		body.Enable = body.Enabled
	}
	if body.Type != startPlan && body.Type != departurePlan {
		return effect{}, invalidField("type", "must be START_TIME or DEPARTURE_TIME")
	}
	if body.Enable == nil {
		return effect{}, invalidField("enable", "is required")
	}
	after := w.vehicle.conditionAt(w.now).plan
	if *body.Enable {
		if _, err := time.Parse("15:04", body.Time); err != nil || len(body.Time) != 5 {
			return effect{}, invalidField("time", "must be a time as HH:mm")
		}
		after = chargePlan{kind: body.Type, time: body.Time}
	} else if after.kind == body.Type {
		after = chargePlan{}
	}
	return effect{apply: func(c *condition) { c.plan = after }, answer: after.body()}, nil
}

// checkRecordDates checks the query of the charge records.
func checkRecordDates(q url.Values) *apiError {
	_, _, err := recordDates(q, time.Time{})
	return err
}

// recordDates reads the days of the query; by default the last 30 until now.
func recordDates(q url.Values, now time.Time) (from, to time.Time, err *apiError) {
	from, to = now.AddDate(0, 0, -30), now
	if q.Has("startDate") {
		day, bad := time.Parse(time.DateOnly, q.Get("startDate"))
		if bad != nil {
			return from, to, invalidField("startDate", "must be a date as YYYY-MM-DD")
		}
		from = day
	}
	if q.Has("endDate") {
		day, bad := time.Parse(time.DateOnly, q.Get("endDate"))
		if bad != nil {
			return from, to, invalidField("endDate", "must be a date as YYYY-MM-DD")
		}
		to = day.AddDate(0, 0, 1) // the day itself counts
	}
	return from, to, nil
}

// chargedOn lists when the car was charged in a period, newest first: every 7
// days, up to the day before it was made.
func (w *view) chargedOn(from, to time.Time) []time.Time {
	var out []time.Time
	for i := range 8 {
		if at := w.born.AddDate(0, 0, -7*i-1); !at.Before(from) && at.Before(to) {
			out = append(out, at)
		}
	}
	return out
}

// chargeRecords answers what was charged where, in kWh.
func chargeRecords(w *view) (any, *apiError) {
	from, to, err := recordDates(w.query, w.now)
	if err != nil {
		return nil, err
	}
	records := []object{}
	for _, at := range w.chargedOn(from, to) {
		records = append(records, object{"date": at.Format(timeLayout), "home": 10, "other": 15, "superCharger": 25, "total": 50})
	}
	return object{"records": records}, nil
}

// checkBilling checks the query of the bills.
func checkBilling(q url.Values) *apiError {
	if q.Has("page") {
		if _, err := (&call{query: q}).queryNumber("page", 1, 1, 1<<20); err != nil {
			return err
		}
	}
	return checkRecordDates(q)
}

// billsOnAPage is small, so that there are several pages.
const billsOnAPage = 2

// chargeBills answers what charging has cost, newest first. The second page is
// empty although more follows, as the vendor documents that it happens.
func chargeBills(w *view) (any, *apiError) {
	from, to, err := recordDates(w.query, w.now)
	if err != nil {
		return nil, err
	}
	page, err := (&call{query: w.query}).queryNumber("page", 1, 1, 1<<20)
	if err != nil {
		return nil, err
	}
	charged, records := w.chargedOn(from, to), []object{}
	begin := billsOnAPage * (page - 1)
	if page >= 2 {
		begin -= billsOnAPage // the page without records
	}
	end := min(begin+billsOnAPage, len(charged))
	if page == 2 {
		end = min(begin, len(charged))
	}
	for i := begin; i < end; i++ {
		at := charged[i]
		records = append(records, object{
			"chargeStart": at.Format(timeLayout), "chargeEnd": at.Add(40 * time.Minute).Format(timeLayout), "energyConsumed": 44.1,
			"cost":     object{"currency": "USD", "energy": "41", "other": "41"},
			"location": "Los Gatos, CA", "recordId": namedUUID("bill", w.ID+at.Format(timeLayout)),
		})
	}
	return object{"records": records, "hasMoreData": end < len(charged)}, nil
}
