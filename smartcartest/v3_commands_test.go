package smartcartest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

type execution struct {
	Data struct {
		ID, Type   string
		Attributes struct {
			CommandType, ExecutionMode, Action, ScheduleType, ScheduleID string

			Status     struct{ Value string }
			Parameters map[string]any
		}
		Links struct{ Schedule string }
		Meta  struct {
			ExecutedAt, CompletedAt time.Time
			DurationInSeconds       int
		}
	}
}

func TestV3EveryCommand(t *testing.T) {
	a := v3(t)
	for path, body := range map[string]string{
		"security/lock": "", "security/unlock": "", "charge/start": "", "charge/stop": "",
		"charge/set-limit": `{"data":{"attributes":{"percent":80}}}`, "charge-port/open": "",
		"navigation/set-destination": `{"data":{"attributes":{"latitude":37.7749,"longitude":-122.4194}}}`,
	} {
		var got execution
		a.post(v3car(smartcartest.Model3, "/commands/"+path), body).ok(&got)
		require.Equal(t, "command-execution", got.Data.Type)
		require.Equal(t, "SUCCESS", got.Data.Attributes.Status.Value)
		require.NotEmpty(t, got.Data.ID)
		require.False(t, got.Data.Meta.ExecutedAt.IsZero())
		if body != "" {
			require.NotEmpty(t, got.Data.Attributes.Parameters, path)
		}
	}
	require.Equal(t, smartcartest.Command, a.sim.Ledger(smartcartest.Model3)[0].Kind)
	limit := v3car(smartcartest.Model3, "/commands/charge/set-limit")
	for _, percent := range []string{"49", "101", "80.5", `"80"`, "null"} {
		a.post(limit, `{"data":{"attributes":{"percent":`+percent+`}}}`).fails3(400, "VALIDATION", "")
	}
	a.post(limit, "").fails3(400, "VALIDATION", "")
	navigate := v3car(smartcartest.Model3, "/commands/navigation/set-destination")
	a.post(navigate, `{"data":{"attributes":{"latitude":91,"longitude":0}}}`).fails3(400, "VALIDATION", "")
	a.post(navigate, `{"data":{"attributes":{"latitude":1}}}`).fails3(400, "VALIDATION", "")
	a.post(v3car(smartcartest.Model3, "/commands/charge-port/close"), "").fails3(409, "VEHICLE_STATE", "CHARGING_PLUG_CONNECTED")
	a.post(v3car(smartcartest.MachE, "/commands/charge-port/open"), "").fails3(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	a.get(v3car(smartcartest.Model3, "/commands/security/lock")).fails3(404, "RESOURCE_NOT_FOUND", "INVALID_PATH")
	a.user = ""
	a.post(limit, "").fails3(400, "VALIDATION", "MISSING_PARAMETER")
}

func TestV3Schedules(t *testing.T) {
	a := v3(t)
	place := `"location":{"latitude":37.7749,"longitude":-122.4194}`
	wrap := func(attributes string) string { return `{"data":{"attributes":{` + attributes + `}}}` }
	path := func(kind string) string { return v3car(smartcartest.Model3, "/charge-schedules/"+kind) }
	var got execution
	a.post(path("daily"), wrap(place+`,"startTime":"08:00","stopTime":"10:00"`)).ok(&got)
	require.Equal(t, "charge-schedule-execution", got.Data.Type)
	require.Equal(t, "create", got.Data.Attributes.Action)
	require.Equal(t, "daily", got.Data.Attributes.ScheduleType)
	require.Equal(t, "08:00", got.Data.Attributes.Parameters["startTime"])
	require.Equal(t, "/vehicles/"+smartcartest.Model3+"/charge-schedules/"+got.Data.Attributes.ScheduleID, got.Data.Links.Schedule)
	id := got.Data.Attributes.ScheduleID
	a.post(path("weekly"), wrap(place+`,"days":{"monday":{"startTime":"01:00"},"SUNDAY":{"stopTime":"05:30"}}`)).ok(nil)
	a.post(path("workweek"), wrap(place+`,"weekdays":{"startTime":"01:00","stopTime":"02:00"},"weekends":{"startTime":"03:00","stopTime":"04:00"}`)).ok(nil)

	for kind, bad := range map[string]string{
		"daily": `"startTime":"08:00"`, "weekly": place, "workweek": place,
	} {
		a.post(path(kind), wrap(bad)).fails3(400, "VALIDATION", "")
	}
	for _, hours := range []string{"", `,"startTime":"8:00"`, `,"startTime":"25:00"`} {
		a.post(path("daily"), wrap(place+hours)).fails3(400, "VALIDATION", "")
	}
	a.post(path("weekly"), wrap(place+`,"days":{"someday":{"startTime":"01:00"}}`)).fails3(400, "VALIDATION", "")
	a.post(path("yearly"), wrap(place)).fails3(404, "RESOURCE_NOT_FOUND", "INVALID_PATH")
	a.post(v3car(smartcartest.MachE, "/charge-schedules/daily"), wrap(place)).fails3(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	a.post(v3car(modelY, "/charge-schedules/daily"), wrap(place+`,"startTime":"08:00"`)).fails3(400, "CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")

	a.call(http.MethodDelete, path("unknown"), "").fails3(404, "RESOURCE_NOT_FOUND", "SCHEDULE_NOT_FOUND")
	a.call(http.MethodDelete, path(id), "").ok(&got)
	require.Equal(t, "delete", got.Data.Attributes.Action)
	a.call(http.MethodDelete, path(id), "").fails3(404, "RESOURCE_NOT_FOUND", "SCHEDULE_NOT_FOUND")
}

// slow is a paired car that takes three minutes for a command, and one without
// the key that takes as long to say so.
func slow() smartcartest.Option {
	return smartcartest.WithCars(
		smartcartest.Car{ID: "slow", Make: "TESLA", Integration: smartcartest.Streaming, Paired: true, SlowCommands: 3 * time.Minute},
		smartcartest.Car{ID: "keyless", Make: "TESLA", Integration: smartcartest.Streaming, SlowCommands: 3 * time.Minute},
	)
}

func TestV3StreamedResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := v3(t, slow())
		begun := time.Now()
		res, err := a.http.Do(a.request(http.MethodPost, v3car("slow", "/commands/security/unlock"), ""))
		require.NoError(t, err)
		require.Zero(t, time.Since(begun), "the header comes at once")
		require.Equal(t, http.StatusAccepted, res.StatusCode)
		require.EqualValues(t, -1, res.ContentLength)
		require.Empty(t, res.Header.Get("Content-Length"))
		var got execution
		require.NoError(t, json.NewDecoder(res.Body).Decode(&got))
		require.NoError(t, res.Body.Close())
		require.Equal(t, 3*time.Minute, time.Since(begun))
		require.Equal(t, "SUCCESS", got.Data.Attributes.Status.Value)
		require.Equal(t, 180, got.Data.Meta.DurationInSeconds)
		require.Equal(t, 202, a.sim.Ledger("slow")[0].Status)

		// What is known without asking the car is not streamed.
		a.post(v3car("slow", "/commands/charge/set-limit"), "").fails3(400, "VALIDATION", "")
	})
}

func TestV3StreamedErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for shape, find := range map[smartcartest.ErrorShape]func(map[string]any) any{
			smartcartest.ErrorList:   func(m map[string]any) any { return m["errors"].([]any)[0] },
			smartcartest.SingleError: func(m map[string]any) any { return m["error"] },
			smartcartest.BareError:   func(m map[string]any) any { return m },
		} {
			a := v3(t, slow(), smartcartest.WithVariants(smartcartest.Variants{StreamedError: shape}))
			for range 2 {
				res := a.post(v3car("keyless", "/commands/security/unlock"), "")
				require.Equal(t, 202, res.status)
				var body map[string]any
				require.NoError(t, json.Unmarshal(res.body, &body))
				e := find(body).(map[string]any)
				require.Equal(t, "CONNECTED_SERVICES_ACCOUNT", e["type"])
				require.Equal(t, "400", e["status"], "the body contradicts the status line")
				// The same from a fault, whatever the car would say.
				a.sim.Inject(smartcartest.Fault{Accepted: true, ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "ACCOUNT_ISSUE", ErrorShape: shape, LatencyAfter: time.Minute})
			}
		}
	})
}

func TestV3StreamDropped(t *testing.T) {
	drop := func(t *testing.T, a *api) {
		t.Helper()
		a.sim.Inject(smartcartest.Fault{Path: "/unlock", Accepted: true, DropAfter: true, LatencyAfter: time.Millisecond})
		res, err := a.http.Do(a.request(http.MethodPost, v3car("slow", "/commands/security/unlock"), ""))
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, res.StatusCode)
		_, err = io.ReadAll(res.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NoError(t, res.Body.Close())
		ledger := a.sim.Ledger("slow")
		require.True(t, ledger[len(ledger)-1].Executed && ledger[len(ledger)-1].Dropped)
	}
	fast := smartcartest.WithCars(smartcartest.Car{ID: "slow", Make: "FORD", SlowCommands: time.Millisecond})
	t.Run("in memory", func(t *testing.T) { drop(t, v3(t, fast)) })
	t.Run("over a socket", func(t *testing.T) {
		a := v3(t, fast)
		origin, stop, err := a.sim.Start()
		require.NoError(t, err)
		defer stop()
		a.origin, a.http = origin, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		drop(t, a)
		res := a.post(v3car("slow", "/commands/security/lock"), "")
		require.Equal(t, 202, res.status)
		require.Contains(t, string(res.body), `"SUCCESS"`)
		require.Empty(t, res.header.Get("Content-Length"))
	})
}

func TestV3StreamEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := v3(t, slow())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		res, err := a.http.Do(a.request(http.MethodPost, v3car("slow", "/commands/security/lock"), "").WithContext(ctx))
		require.NoError(t, err)
		_, err = io.ReadAll(res.Body)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, res.Body.Close())
		require.True(t, a.sim.Ledger("slow")[0].Executed)

		// Closing frees a reader, and nobody else is held up meanwhile.
		res, err = a.http.Do(a.request(http.MethodPost, v3car("slow", "/commands/security/lock"), ""))
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { _, err := io.ReadAll(res.Body); ended <- err }()
		synctest.Wait()
		begun := time.Now()
		a.get(v3car("slow", "")).ok(nil)
		require.NoError(t, res.Body.Close())
		require.ErrorIs(t, <-ended, http.ErrBodyReadAfterClose)
		require.Zero(t, time.Since(begun))
		timed := &http.Client{Transport: a.sim.Transport(), Timeout: 2 * time.Second}
		res, err = timed.Do(a.request(http.MethodPost, v3car("slow", "/commands/security/lock"), ""))
		require.NoError(t, err)
		_, err = io.ReadAll(res.Body)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, res.Body.Close())
	})
}

func TestV3Billing(t *testing.T) {
	a := v3(t)
	a.sim.Inject(smartcartest.Fault{ErrorType: "BILLING", ErrorCode: "VEHICLE_REQUEST_LIMIT"})
	a.get(v3car(smartcartest.Model3, "/signals")).fails3(430, "BILLING", "VEHICLE_REQUEST_LIMIT")
	a.sim.Inject(smartcartest.Fault{ErrorType: "BILLING", ErrorCode: "INVALID_PLAN", ErrorShape: smartcartest.BareError})
	require.Contains(t, string(a.get(v3car(smartcartest.Model3, "")).body), `{"code":"INVALID_PLAN"`)
}
