package smartcar_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// v3Commands are all of them with the path and the attributes they send.
func v3Commands() map[string]struct {
	call             commandCall
	method, path     string
	attributes, kind string
} {
	type row = struct {
		call             commandCall
		method, path     string
		attributes, kind string
	}
	plain := func(command func(*smartcar.Vehicle, context.Context) (*smartcar.CommandResult, error)) commandCall {
		return func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return command(v, ctx)
		}
	}
	limit := func(percent float64) commandCall {
		return func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.SetChargeLimit(ctx, percent)
		}
	}
	destination := func(latitude, longitude float64) commandCall {
		return func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.SendDestination(ctx, latitude, longitude)
		}
	}
	schedule := func(s smartcar.ChargeSchedule) commandCall {
		return func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			s.Latitude, s.Longitude = 52.5, 13.25
			return v.SetChargeSchedule(ctx, s)
		}
	}
	const place = `"location":{"latitude":52.5,"longitude":13.25}`
	return map[string]row{
		"lock":        {plain((*smartcar.Vehicle).Lock), "POST", "/commands/security/lock", "", ""},
		"unlock":      {plain((*smartcar.Vehicle).Unlock), "POST", "/commands/security/unlock", "", ""},
		"start":       {plain((*smartcar.Vehicle).StartCharge), "POST", "/commands/charge/start", "", ""},
		"stop":        {plain((*smartcar.Vehicle).StopCharge), "POST", "/commands/charge/stop", "", ""},
		"limit":       {limit(80), "POST", "/commands/charge/set-limit", `{"percent":80}`, ""},
		"lowest":      {limit(50), "POST", "/commands/charge/set-limit", `{"percent":50}`, ""},
		"open port":   {plain((*smartcar.Vehicle).OpenChargePort), "POST", "/commands/charge-port/open", "", ""},
		"destination": {destination(52.5, -13.25), "POST", "/commands/navigation/set-destination", `{"latitude":52.5,"longitude":-13.25}`, ""},
		"equator":     {destination(0, 0), "POST", "/commands/navigation/set-destination", `{"latitude":0,"longitude":0}`, ""},
		"daily": {
			schedule(smartcar.ChargeSchedule{Daily: &smartcar.ChargeTimes{Start: "22:30", Stop: "06:00"}}),
			"POST", "/charge-schedules/daily", `{` + place + `,"startTime":"22:30","stopTime":"06:00"}`, "DAILY",
		},
		"daily, start alone": {
			schedule(smartcar.ChargeSchedule{Daily: &smartcar.ChargeTimes{Start: "00:00"}}),
			"POST", "/charge-schedules/daily", `{` + place + `,"startTime":"00:00"}`, "DAILY",
		},
		"weekly": {
			schedule(smartcar.ChargeSchedule{Weekly: map[time.Weekday]smartcar.ChargeTimes{time.Sunday: {Start: "10:00"}, time.Friday: {Stop: "07:15"}}}),
			"POST", "/charge-schedules/weekly", `{` + place + `,"days":{"sunday":{"startTime":"10:00"},"friday":{"stopTime":"07:15"}}}`, "WEEKLY",
		},
		"workweek": {
			schedule(smartcar.ChargeSchedule{Weekdays: &smartcar.ChargeTimes{Start: "22:30", Stop: "06:00"}, Weekends: &smartcar.ChargeTimes{Stop: "09:00"}}),
			"POST", "/charge-schedules/workweek", `{` + place + `,"weekdays":{"startTime":"22:30","stopTime":"06:00"},"weekends":{"stopTime":"09:00"}}`, "WORKWEEK",
		},
		"weekends alone": {
			schedule(smartcar.ChargeSchedule{Weekends: &smartcar.ChargeTimes{Stop: "09:00"}}),
			"POST", "/charge-schedules/workweek", `{` + place + `,"weekends":{"stopTime":"09:00"}}`, "WORKWEEK",
		},
	}
}

func TestCommandsOnV3(t *testing.T) {
	for name, tt := range v3Commands() {
		for _, slow := range []time.Duration{0, 200 * time.Second} {
			t.Run(name+" "+slow.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New(garageWith(smartcartest.Model3, func(c *smartcartest.Car) { c.SlowCommands = slow }))
					client, tap := tapped(t, sim)
					v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.Model3)
					began := time.Now()
					result, err := tt.call(t.Context(), v)
					require.NoError(t, err)
					require.Equal(t, slow, time.Since(began), "202 is no result")
					require.Equal(t, "SUCCESS", result.Status)
					require.NotEmpty(t, result.ExecutionID)
					require.NotEmpty(t, result.RequestID)
					require.Equal(t, tt.kind != "", result.ScheduleID != "")
					sent := tap.to(tt.path)
					require.Len(t, sent, 1)
					require.Equal(t, tt.method, sent[0].method)
					require.Equal(t, v.UserID(), sent[0].header.Get("Sc-User-Id"))
					if tt.attributes == "" {
						require.Empty(t, sent[0].body)
						require.Empty(t, sent[0].header.Get("Content-Type"))
					} else {
						require.JSONEq(t, `{"data":{"attributes":`+tt.attributes+`}}`, sent[0].body)
						require.Equal(t, "application/json", sent[0].header.Get("Content-Type"))
					}
					if tt.kind == "" {
						return
					}
					read, err := v.Signals(t.Context())
					require.NoError(t, err)
					timers, err := read.ChargeChargeTimers()
					require.NoError(t, err)
					require.Len(t, timers.Timers, 1)
					require.Equal(t, result.ScheduleID, timers.Timers[0].ScheduleID)
					_, err = v.DeleteChargeSchedule(t.Context(), result.ScheduleID)
					require.NoError(t, err)
					_, err = v.DeleteChargeSchedule(t.Context(), result.ScheduleID)
					require.ErrorIs(t, err, smartcar.ErrNotFound)
					require.False(t, smartcar.MayHaveSucceeded(err))
				})
			})
		}
	}
}

func TestPercentsAreWholeOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		v := client.User("u").Vehicle(smartcartest.Model3)
		for _, percent := range []float64{50.5, 79.999, 80.0000001} {
			_, err := v.SetChargeLimit(t.Context(), percent)
			requireArgumentError(t, err, "SetChargeLimit percent")
			require.ErrorContains(t, err, "whole")
		}
		require.Empty(t, tap.to(""))
		_, user := connected(t, sim)
		_, err := user.Vehicle(smartcartest.Model3).SetChargeLimit(t.Context(), 79.5)
		require.NoError(t, err, "v2.0 takes fractions")
	})
}

func TestSchedulesNoCarCouldFollow(t *testing.T) {
	v := apiClient(t, smartcartest.New(), smartcar.V3).User("u").Vehicle("v")
	day := &smartcar.ChargeTimes{Start: "22:00", Stop: "06:00"}
	week := map[time.Weekday]smartcar.ChargeTimes{time.Monday: *day}
	for name, tt := range map[string]struct {
		schedule smartcar.ChargeSchedule
		argument string
	}{
		"none":             {smartcar.ChargeSchedule{}, "ChargeSchedule"},
		"empty week":       {smartcar.ChargeSchedule{Weekly: map[time.Weekday]smartcar.ChargeTimes{}}, "ChargeSchedule"},
		"two":              {smartcar.ChargeSchedule{Daily: day, Weekly: week}, "ChargeSchedule"},
		"daily, weekends":  {smartcar.ChargeSchedule{Daily: day, Weekends: day}, "ChargeSchedule"},
		"no times":         {smartcar.ChargeSchedule{Daily: &smartcar.ChargeTimes{}}, "ChargeTimes"},
		"no day":           {smartcar.ChargeSchedule{Weekly: map[time.Weekday]smartcar.ChargeTimes{7: *day}}, "ChargeSchedule.Weekly"},
		"day below":        {smartcar.ChargeSchedule{Weekly: map[time.Weekday]smartcar.ChargeTimes{-1: *day}}, "ChargeSchedule.Weekly"},
		"one empty of two": {smartcar.ChargeSchedule{Weekdays: day, Weekends: &smartcar.ChargeTimes{}}, "ChargeTimes"},
		"24:00":            {smartcar.ChargeSchedule{Daily: &smartcar.ChargeTimes{Start: "24:00"}}, "ChargeTimes"},
		"seconds":          {smartcar.ChargeSchedule{Daily: &smartcar.ChargeTimes{Start: "08:00:00"}}, "ChargeTimes"},
		"short":            {smartcar.ChargeSchedule{Daily: &smartcar.ChargeTimes{Start: "8:00"}}, "ChargeTimes"},
		"12 hours":         {smartcar.ChargeSchedule{Daily: &smartcar.ChargeTimes{Start: "8:00PM"}}, "ChargeTimes"},
		"latitude":         {smartcar.ChargeSchedule{Daily: day, Latitude: 90.1}, "ChargeSchedule latitude"},
		"longitude":        {smartcar.ChargeSchedule{Daily: day, Longitude: -180.1}, "ChargeSchedule longitude"},
	} {
		_, err := v.SetChargeSchedule(t.Context(), tt.schedule)
		require.Error(t, err, name)
		requireArgumentError(t, err, tt.argument)
	}
	for _, id := range []string{"", ".", "..", "a\nb", strings.Repeat("x", 201)} {
		_, err := v.DeleteChargeSchedule(t.Context(), id)
		requireArgumentError(t, err, "schedule id")
	}
}

// What a car refuses after 202 is an error in one of three shapes.
func TestSlowCommandsThatFail(t *testing.T) {
	for shape, name := range map[smartcartest.ErrorShape]string{
		smartcartest.ErrorList: "list", smartcartest.SingleError: "single", smartcartest.BareError: "bare",
	} {
		for _, numeric := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New(
						garageWith(smartcartest.ModelY, func(c *smartcartest.Car) { c.SlowCommands = 30 * time.Second }),
						smartcartest.WithVariants(smartcartest.Variants{StreamedError: shape, NumericStatus: numeric}),
					)
					v := onV3(t, sim).Vehicle(smartcartest.ModelY)
					began := time.Now()
					_, err := v.Lock(t.Context())
					require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
					require.Equal(t, 30*time.Second, time.Since(began))
					require.False(t, smartcar.MayHaveSucceeded(err))
					require.Equal(t, 400, requireError(t, err).StatusCode)
					_, err = v.Lock(t.Context())
					var missing *smartcar.VirtualKeyRequiredError
					require.ErrorAs(t, err, &missing)
					require.Equal(t, 30*time.Second, time.Since(began), "it was learned")
				})
			})
		}
	}
}

// Whether a command may have run follows from how far it is known to have come.
func TestMayHaveSucceededOnV3(t *testing.T) {
	body := func(rest string) string { return `{"errors":[{` + rest + `,"title":"x","detail":"y"}]}` }
	for name, tt := range map[string]struct {
		status int
		body   string
		is     error
		may    bool
	}{
		"empty 202":              {202, ``, smartcar.ErrUnexpectedAnswer, true},
		"empty 200":              {200, ``, smartcar.ErrUnexpectedAnswer, true},
		"204":                    {204, ``, smartcar.ErrUnexpectedAnswer, true},
		"garbage 202":            {202, `<html>gateway</html>`, smartcar.ErrUnexpectedAnswer, true},
		"an empty object":        {202, `{}`, smartcar.ErrUnexpectedAnswer, true},
		"no status":              {200, `{"data":{"id":"exec_1","attributes":{}}}`, smartcar.ErrUnexpectedAnswer, true},
		"another status":         {200, `{"data":{"id":"exec_1","attributes":{"status":{"value":"PENDING"}}}}`, nil, true},
		"status error":           {200, `{"data":{"attributes":{"status":{"value":"ERROR","error":{"type":"COMPATIBILITY","code":"VEHICLE_NOT_CAPABLE"}}}}}`, smartcar.ErrNotSupported, false},
		"status error, unclear":  {200, `{"data":{"attributes":{"status":{"value":"ERROR","error":{"type":"UPSTREAM","code":"NO_RESPONSE"}}}}}`, smartcar.ErrUnavailable, true},
		"an empty list":          {202, `{"errors":[]}`, smartcar.ErrUnexpectedAnswer, true},
		"validation":             {202, body(`"type":"VALIDATION","code":"INVALID_INPUT_FORMAT"`), smartcar.ErrValidation, false},
		"permission":             {202, body(`"type":"PERMISSION","code":null`), smartcar.ErrPermission, false},
		"compatibility":          {202, body(`"type":"COMPATIBILITY","code":"VEHICLE_NOT_CAPABLE"`), smartcar.ErrNotSupported, false},
		"billing":                {202, body(`"type":"BILLING","code":"VEHICLE_REQUEST_LIMIT"`), smartcar.ErrBilling, false},
		"limit":                  {202, body(`"type":"RATE_LIMIT","code":"VEHICLE"`), smartcar.ErrRateLimited, false},
		"authentication":         {202, body(`"type":"AUTHENTICATION","code":"UNAUTHORIZED"`), smartcar.ErrUnauthorized, false},
		"not found":              {202, body(`"type":"RESOURCE_NOT_FOUND","code":"VEHICLE_NOT_FOUND"`), smartcar.ErrNotFound, false},
		"account":                {202, body(`"type":"CONNECTED_SERVICES_ACCOUNT","code":"AUTHENTICATION_FAILED"`), smartcar.ErrReauthenticate, false},
		"key":                    {202, body(`"type":"CONNECTED_SERVICES_ACCOUNT","code":"VIRTUAL_KEY_REQUIRED"`), smartcar.ErrVirtualKeyRequired, false},
		"state":                  {202, body(`"type":"VEHICLE_STATE","code":"IN_MOTION"`), smartcar.ErrVehicleState, false},
		"state unknown":          {202, body(`"type":"VEHICLE_STATE","code":"UNKNOWN"`), smartcar.ErrVehicleState, true},
		"unreachable":            {202, body(`"type":"VEHICLE_STATE","code":"UNREACHABLE"`), smartcar.ErrVehicleState, true},
		"unreachable, 409":       {202, body(`"type":"VEHICLE_STATE","code":"UNREACHABLE","status":"409"`), smartcar.ErrVehicleState, true},
		"state, 409":             {202, body(`"type":"VEHICLE_STATE","code":"DOOR_OPEN","status":409`), smartcar.ErrVehicleState, false},
		"status that is none":    {202, body(`"type":"VALIDATION","status":"soon"`), smartcar.ErrValidation, false},
		"status of a success":    {202, body(`"type":"VALIDATION","status":"200"`), smartcar.ErrValidation, false},
		"server":                 {202, body(`"type":"SERVER","code":"INTERNAL"`), smartcar.ErrUnavailable, true},
		"maker's cloud":          {202, body(`"type":"UPSTREAM","code":"NO_RESPONSE"`), smartcar.ErrUnavailable, true},
		"maker's limit":          {202, body(`"type":"UPSTREAM","code":"RATE_LIMIT"`), smartcar.ErrRateLimited, true},
		"a new type":             {202, body(`"type":"GREMLINS","code":"X"`), nil, true},
		"502":                    {502, body(`"status":"502","type":"UPSTREAM","code":"UNKNOWN_ISSUE"`), smartcar.ErrUnavailable, true},
		"504 of a gateway":       {504, `<html>`, smartcar.ErrUnavailable, true},
		"430":                    {430, body(`"status":"430","type":"BILLING","code":"VEHICLE_REQUEST_LIMIT"`), smartcar.ErrBilling, false},
		"430 without a body":     {430, ``, smartcar.ErrBilling, false},
		"501":                    {501, body(`"status":"501","type":"COMPATIBILITY","code":"SMARTCAR_NOT_CAPABLE"`), smartcar.ErrNotSupported, false},
		"missing user":           {400, body(`"status":"400","type":"VALIDATION","code":"MISSING_PARAMETER"`), smartcar.ErrValidation, false},
		"403":                    {403, body(`"status":"403","type":"PERMISSION","code":null`), smartcar.ErrPermission, false},
		"409 asleep":             {409, body(`"status":"409","type":"VEHICLE_STATE","code":"ASLEEP"`), smartcar.ErrAsleep, false},
		"409 with a lying body":  {409, body(`"status":"200","type":"VEHICLE_STATE","code":"UNREACHABLE"`), smartcar.ErrVehicleState, true},
		"429":                    {429, body(`"status":"429","type":"RATE_LIMIT","code":"VEHICLE"`), smartcar.ErrRateLimited, false},
		"redirect":               {307, ``, smartcar.ErrUnexpectedAnswer, true},
		"an error beside a body": {200, `{"data":{"attributes":{"status":"ERROR"}},"errors":[{"type":"PERMISSION"}]}`, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, tap := tapped(t, smartcartest.New())
				tap.instead = onlyTo("/v3/", func(sentRequest) *http.Response { return respond(tt.status, tt.body) })
				result, err := client.User("u").Vehicle("v").Lock(t.Context())
				require.Nil(t, result)
				e := requireError(t, err)
				if tt.is != nil {
					require.ErrorIs(t, err, tt.is)
				}
				require.Equal(t, tt.may, smartcar.MayHaveSucceeded(err), err.Error())
				require.False(t, tt.may && smartcar.Retryable(err))
				require.Equal(t, smartcar.Lock, e.Operation)
				require.Equal(t, "request-1", e.RequestID)
				require.Len(t, tap.to("/commands"), 1, "a command is never repeated")
				require.True(t, strings.HasPrefix(err.Error(), "smartcar: "))
			})
		})
	}
}

// A connection that breaks after 202: the car may have done it.
func TestACommandCutAfter202(t *testing.T) {
	for name, fault := range map[string]smartcartest.Fault{
		"cut":       {Accepted: true, DropAfter: true, LatencyAfter: time.Minute},
		"malformed": {Malformed: true},
		"dropped":   {DropAfter: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				v := onV3(t, sim).Vehicle(smartcartest.MachE)
				fault.Path = "/commands/"
				sim.Inject(fault)
				result, err := v.Lock(t.Context())
				require.Nil(t, result)
				require.Equal(t, smartcar.Lock, requireError(t, err).Operation)
				require.True(t, smartcar.MayHaveSucceeded(err))
				require.False(t, smartcar.Retryable(err))
				executed := 0
				for _, e := range sim.Ledger(smartcartest.MachE) {
					if e.Executed {
						executed++
					}
				}
				require.Equal(t, 1, executed)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageWith(smartcartest.MachE, func(c *smartcartest.Car) { c.SlowCommands = time.Hour }))
		v := onV3(t, sim).Vehicle(smartcartest.MachE)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := v.Lock(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, smartcar.MayHaveSucceeded(err))
		_, err = v.Unlock(t.Context())
		require.ErrorIs(t, err, smartcar.ErrUnavailable, "longer than any command takes")
		require.True(t, smartcar.MayHaveSucceeded(err))
	})
}

// The fixtures of errors, as the answer to a read and to a command.
func TestV3ErrorFixturesEndToEnd(t *testing.T) {
	for _, name := range fixtureNames(t, "v3") {
		if !strings.HasPrefix(name, "error.") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := readFixture(t, "v3/"+name)
				text := string(f.Response.Body)
				if f.Response.BodyText != nil {
					text = *f.Response.BodyText
				}
				client, tap := tapped(t, smartcartest.New())
				tap.instead = func(r sentRequest) *http.Response {
					switch {
					case strings.Contains(r.path, "/signals") || strings.Contains(r.path, "/commands"):
						answer := respond(f.Response.Status, text)
						for name, value := range f.Response.Headers {
							answer.Header.Set(name, value)
						}
						return answer
					case strings.Contains(r.path, "/v3/"):
						return respond(200, `{"data":{"id":"v","attributes":{"make":"FORD"}}}`)
					}
					return nil
				}
				v := client.User("u").Vehicle("v")
				_, read := v.Odometer(t.Context())
				e := requireError(t, read)
				require.Equal(t, f.Want.Type, e.Type)
				require.Equal(t, f.Want.Code, e.Code)
				require.Equal(t, f.Want.StatusCode, e.StatusCode)
				require.False(t, smartcar.MayHaveSucceeded(read))
				require.Equal(t, f.Want.Retryable, smartcar.Retryable(read))
				_, command := client.User("u").Vehicle("another").Lock(t.Context())
				require.Error(t, command)
				unsure := f.Want.StatusCode >= 500 && f.Want.StatusCode != 501 || f.Want.Type == "VEHICLE_STATE" && (f.Want.Code == "UNREACHABLE" || f.Want.Code == "UNKNOWN")
				require.Equal(t, unsure, smartcar.MayHaveSucceeded(command), "%v", command)
				require.Len(t, tap.to("/commands"), 1)
			})
		})
	}
}

// The port of a plugged car cannot be closed, that of another one can.
func TestCloseChargePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageWith(smartcartest.Model3, func(c *smartcartest.Car) { c.Plugged = false }))
		v := onV3(t, sim).Vehicle(smartcartest.Model3)
		_, err := v.OpenChargePort(t.Context())
		require.NoError(t, err)
		result, err := v.CloseChargePort(t.Context())
		require.NoError(t, err)
		require.Equal(t, "SUCCESS", result.Status)
		_, err = onV3(t, sim).Vehicle(smartcartest.MachE).CloseChargePort(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotSupported)

		sim = smartcartest.New()
		_, err = onV3(t, sim).Vehicle(smartcartest.Model3).CloseChargePort(t.Context())
		require.ErrorIs(t, err, smartcar.ErrVehicleState)
		require.False(t, smartcar.MayHaveSucceeded(err))
	})
}

// What a command's body says besides its status.
func TestCommandAnswersThatContradictThemselves(t *testing.T) {
	for body, mayHave := range map[string]bool{
		`{"errors":[{"type":"VEHICLE_STATE","code":"IN_MOTION","status":"409"}]}`:               false,
		`{"errors":[{"type":"VEHICLE_STATE","code":"UNKNOWN","status":409}]}`:                   true,
		`{"error":{"type":"UPSTREAM","code":"NO_RESPONSE"}}`:                                    true,
		`{"type":"VALIDATION","code":null}`:                                                     false,
		`{"data":{"attributes":{"status":{"value":"ERROR","error":{"type":"COMPATIBILITY"}}}}}`: false,
		`{"data":{"attributes":{"status":"PENDING"}}}`:                                          true,
		`{"data":null}`: true, ``: true, `<html>`: true, `[]`: true, `{"errors":[null]}`: true,
		`{"errors":[null,"x",{"type":"VEHICLE_STATE","code":"IN_MOTION"}]}`: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			client, tap := tapped(t, sim)
			user := client.User(connect(t, sim, client).UserID)
			tap.instead = onlyTo("/commands/", func(sentRequest) *http.Response { return respond(202, body) })
			_, err := user.Vehicle(smartcartest.MachE).Lock(t.Context())
			require.Error(t, err, body)
			require.Equal(t, mayHave, smartcar.MayHaveSucceeded(err), body)
			require.False(t, smartcar.Retryable(err), body)
			require.Len(t, tap.to("/commands/"), 1, body)
		})
	}
}
