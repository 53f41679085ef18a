package smartcartest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

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
