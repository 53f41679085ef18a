package smartcartest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// appToken mints a v3 token from a body of the given type.
func (a *api) appToken(contentType, body string) answer {
	a.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "https://iam.smartcar.com/oauth2/token", strings.NewReader(body))
	require.NoError(a.t, err)
	req.Header.Set("Content-Type", contentType)
	return a.do(req)
}

const formType = "application/x-www-form-urlencoded"

func v3(t *testing.T, opts ...smartcartest.Option) *api {
	t.Helper()
	a := connected(t, append([]smartcartest.Option{stopped()}, opts...)...)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {a.sim.APIClientID()}, "client_secret": {a.sim.APIClientSecret()}}
	var p pair
	a.appToken(formType, form.Encode()).ok(&p)
	a.token, a.user = p.Access, a.sim.UserID()
	return a
}

func v3car(id, path string) string { return "/v3/vehicles/" + id + path }

func (r answer) fails3(status int, typ, code string) map[string]any {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	var body struct{ Errors []map[string]any }
	require.NoError(r.t, json.Unmarshal(r.body, &body))
	require.Len(r.t, body.Errors, 1)
	e := body.Errors[0]
	require.Equal(r.t, typ, e["type"])
	if code == "" {
		require.Nil(r.t, e["code"])
	} else {
		require.Equal(r.t, code, e["code"])
	}
	require.IsType(r.t, "", e["status"])
	require.NotEmpty(r.t, e["title"])
	require.NotEmpty(r.t, e["detail"])
	return e
}

type signal struct {
	ID, Type   string
	Attributes struct {
		Code, Name, Group string
		Status            struct {
			Value string
			Error struct {
				Type string
				Code *string
			}
		}
		Body map[string]any
	}
	Meta struct{ OEMUpdatedAt, RetrievedAt, IngestedAt time.Time }
}

func TestAppToken(t *testing.T) {
	a := newAPI(t)
	creds := `"client_id":"` + a.sim.APIClientID() + `","client_secret":"` + a.sim.APIClientSecret() + `"`
	var p pair
	a.appToken("application/json", `{"grant_type":"client_credentials",`+creds+`}`).ok(&p)
	require.Equal(t, 3600, p.Expires)
	require.Equal(t, "Bearer", p.Type)
	require.Empty(t, p.Refresh)
	a.appToken("application/json", `{`+creds+`}`).oauth(400, "invalid_request")
	a.appToken(formType, "grant_type=client_credentials&client_id=x&client_secret=y").oauth(401, "invalid_client")
	a.appToken(formType, "grant_type=password").oauth(400, "unsupported_grant_type")
	a.appToken("application/json", "[").oauth(400, "invalid_request")
	require.Equal(t, 5, a.sim.AppTokenRequests())
	require.Zero(t, a.sim.TokenRequests())
}

func TestV3Vehicle(t *testing.T) {
	a := v3(t)
	a.user = ""
	var got struct {
		Data struct {
			ID, Type   string
			Attributes map[string]any
		}
	}
	a.get(v3car(smartcartest.Model3, "")).ok(&got)
	require.Equal(t, smartcartest.Model3, got.Data.ID)
	require.Equal(t, "vehicle", got.Data.Type)
	require.Equal(t, map[string]any{"make": "TESLA", "model": "Model 3", "year": 2022.0, "powertrainType": "BEV", "mode": "live"}, got.Data.Attributes)
	a.get(v3car("unknown", "")).fails3(404, "RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND")
	a.get(v3car(smartcartest.Model3, "/battery")).fails3(404, "RESOURCE_NOT_FOUND", "INVALID_PATH")
	a.get("/v3/vehicles").fails3(404, "RESOURCE_NOT_FOUND", "INVALID_PATH")
	e := a.get(v3car(smartcartest.Model3, "/signals")).fails3(400, "VALIDATION", "MISSING_PARAMETER")
	require.Equal(t, "missing userId", e["detail"])
	a.user = "stranger"
	a.get(v3car(smartcartest.Model3, "/signals")).fails3(404, "RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND")
	a.sim.Advance(time.Hour + time.Second)
	a.get(v3car(smartcartest.Model3, "")).fails3(401, "AUTHENTICATION", "UNAUTHORIZED")
	a.token = ""
	a.get(v3car(smartcartest.Model3, "")).fails3(401, "AUTHENTICATION", "UNAUTHORIZED")
}

func TestV3Signals(t *testing.T) {
	a := v3(t)
	for code, body := range map[string]map[string]any{
		"tractionbattery-stateofcharge": {"value": 80.0, "unit": "percent"},
		"tractionbattery-range":         {"value": 360.0, "unit": "km", "type": "DEFAULT", "additionalValues": []any{map[string]any{"type": "ESTIMATED", "value": 360.0}, map[string]any{"type": "RATED", "value": 378.0}}},
		"odometer-traveleddistance":     {"value": 30104.31, "unit": "km"},
	} {
		var got struct{ Data signal }
		a.get(v3car(smartcartest.Model3, "/signals/"+code)).ok(&got)
		require.Equal(t, code, got.Data.ID)
		require.Equal(t, "signal", got.Data.Type)
		require.Equal(t, "SUCCESS", got.Data.Attributes.Status.Value)
		require.Equal(t, code, strings.ToLower(got.Data.Attributes.Group+"-"+got.Data.Attributes.Name))
		require.Equal(t, body, got.Data.Attributes.Body)
		require.Equal(t, a.sim.Now().Truncate(time.Minute), got.Data.Meta.OEMUpdatedAt)
	}
	a.get(v3car(smartcartest.Model3, "/signals/vin")).fails3(404, "RESOURCE_NOT_FOUND", "SIGNAL_NOT_FOUND")
	require.NoError(t, a.sim.SetPermissions(smartcartest.Model3, "read_battery"))
	a.get(v3car(smartcartest.Model3, "/signals/odometer-traveleddistance")).fails3(403, "PERMISSION", "")
	list := signalsOf(a, smartcartest.Model3)
	require.Equal(t, "SUCCESS", list["tractionbattery-range"].Attributes.Status.Value)
	require.Equal(t, "PERMISSION", list["odometer-traveleddistance"].Attributes.Status.Error.Type)
	require.Nil(t, list["odometer-traveleddistance"].Attributes.Body)
	ford := signalsOf(a, smartcartest.MachE)
	require.Equal(t, "VEHICLE_NOT_CAPABLE", *ford["connectivitystatus-isdigitalkeypaired"].Attributes.Status.Error.Code)
}

func signalsOf(a *api, id string) map[string]signal {
	a.t.Helper()
	var got struct {
		Data []signal
		Meta struct{ TotalCount int }
	}
	a.get(v3car(id, "/signals")).ok(&got)
	require.Len(a.t, got.Data, got.Meta.TotalCount)
	byCode := map[string]signal{}
	for _, s := range got.Data {
		byCode[s.ID] = s
	}
	return byCode
}

func TestV3SharesTheWindow(t *testing.T) {
	a := v3(t)
	signalsOf(a, modelY)
	res := a.get(v3car(modelY, "/signals/tractionbattery-range"))
	e := res.fails3(429, "RATE_LIMIT", "VEHICLE")
	require.Equal(t, "429", e["status"])
	require.Equal(t, "28800", res.header.Get("Retry-After"))
	v2 := &api{t: t, sim: a.sim, http: a.http, origin: a.origin}
	v2.login(url.Values{"decision": {"grant"}})
	v2.get(car(modelY, "/battery")).fails(429, "RATE_LIMIT", "VEHICLE")
	require.Len(t, a.sim.BrokenWindows(modelY), 2)
	require.Equal(t, smartcartest.Data, a.sim.Ledger(modelY)[0].Kind)
}

func TestV3KeyRequiredKeepsTheOldBody(t *testing.T) {
	a := v3(t, smartcartest.WithKeylessAnswer(smartcartest.KeyRequired))
	first := signalsOf(a, modelY)["tractionbattery-stateofcharge"]
	a.sim.Advance(30 * time.Minute)
	second := signalsOf(a, modelY)["tractionbattery-stateofcharge"]
	require.Equal(t, "ERROR", second.Attributes.Status.Value)
	require.Equal(t, "VIRTUAL_KEY_REQUIRED", *second.Attributes.Status.Error.Code)
	require.Equal(t, first.Attributes.Body, second.Attributes.Body)
	require.Equal(t, first.Meta, second.Meta)
}

func TestV3Commands(t *testing.T) {
	a := v3(t)
	var got struct {
		Data struct {
			ID, Type   string
			Attributes struct {
				CommandType, ExecutionMode string
				Status                     struct{ Value string }
				Parameters                 map[string]any
			}
		}
	}
	a.post(v3car(smartcartest.Model3, "/commands/security/lock"), "").ok(&got)
	require.Equal(t, "command-execution", got.Data.Type)
	require.Equal(t, "security-lock", got.Data.Attributes.CommandType)
	require.Equal(t, "SUCCESS", got.Data.Attributes.Status.Value)
	a.post(v3car(smartcartest.Model3, "/commands/security/unlock"), "").ok(nil)
	require.Equal(t, false, signalsOf(a, smartcartest.Model3)["closure-islocked"].Attributes.Body["value"])
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{"data":{"attributes":{"percent":90}}}`).ok(&got)
	require.Equal(t, map[string]any{"percent": 90.0}, got.Data.Attributes.Parameters)
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{"data":{"attributes":{"percent":49}}}`).fails3(400, "VALIDATION", "")
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{`).fails3(400, "VALIDATION", "INVALID_INPUT_FORMAT")
	a.post(v3car(smartcartest.Model3, "/commands/climate/start"), "").fails3(404, "RESOURCE_NOT_FOUND", "INVALID_PATH")
	e := a.post(v3car(modelY, "/commands/security/lock"), "").fails3(400, "CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")
	require.Equal(t, map[string]any{"type": "ACTION_REQUIRED", "url": "https://www.tesla.com/_ak/smartcar.com"}, e["resolution"])
	require.NoError(t, a.sim.SetPermissions(smartcartest.Model3))
	a.post(v3car(smartcartest.Model3, "/commands/security/lock"), "").fails3(403, "PERMISSION", "")
}

func TestV3Connections(t *testing.T) {
	a := v3(t)
	a.user = ""
	a.answer(a.authorize(url.Values{"external_id": {"acct_42"}}), url.Values{"decision": {"grant"}, "vehicle": {smartcartest.MachE}})
	type list struct {
		Data []struct {
			Type       string
			Attributes struct {
				Permissions []string
				User        struct{ ID, ExternalID string }
				Vehicle     struct{ Make string }
			}
			Relationships struct {
				Vehicle struct{ Data struct{ ID string } }
			}
		}
		Meta  struct{ PageNumber, PageSize, TotalCount int }
		Links struct{ Next, Prev *string }
	}
	next := "/connections?page[size]=3&filter[userId]=" + a.sim.UserID()
	seen := []string{}
	for range 3 {
		var l list
		a.get("/v3" + next).ok(&l)
		require.Equal(t, 7, l.Meta.TotalCount)
		for _, d := range l.Data {
			seen = append(seen, d.Relationships.Vehicle.Data.ID)
			require.Equal(t, "acct_42", d.Attributes.User.ExternalID)
		}
		if l.Links.Next != nil {
			next = strings.TrimPrefix(*l.Links.Next, "https://vehicle.api.smartcar.com/v3")
		}
	}
	require.Len(t, seen, 7)
	require.Equal(t, smartcartest.MachE, seen[0], "the newest first")
	var none list
	a.get("/v3/connections?filter[user.externalId]=other").ok(&none)
	require.Empty(t, none.Data)
	a.get("/v3/connections?filter[vehicle.mode]=simulated").ok(&none)
	require.Empty(t, none.Data)
	a.answer(a.authorize(url.Values{"external_id": {"null"}}), url.Values{"decision": {"grant"}})
	a.get("/v3/connections?filter[user.externalId]=acct_42").ok(&none)
	require.Empty(t, none.Data)
}
