package smartcar

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// row is the row of an operation in the table, rows are those of several.
func row(op Operation) *operation { return &rows(op)[0] }

func rows(ops ...Operation) []operation {
	var list []operation
	for _, op := range ops {
		list = append(list, lookup(op)...)
	}
	return list
}

// connectedOver walks through Connect as a consenting owner.
func connectedOver(t *testing.T, sim *smartcartest.Server, api API, opts ...Option) *User {
	t.Helper()
	opts = append([]Option{WithHTTPClient(&http.Client{Transport: sim.Transport()}), WithAPI(api)}, opts...)
	client, err := New(Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
	}, opts...)
	require.NoError(t, err)
	link, err := client.Connect().AuthorizeURL(ConnectOptions{ExternalID: "owner"}, "state-of-the-test")
	require.NoError(t, err)
	back, err := sim.Grant(link)
	require.NoError(t, err)
	u, err := url.Parse(back)
	require.NoError(t, err)
	callback, err := ParseCallback(u.Query())
	require.NoError(t, err)
	grant, err := client.Connect().Exchange(t.Context(), callback, Expected{State: "state-of-the-test", ExternalID: "owner"})
	require.NoError(t, err)
	return client.User(grant.UserID)
}

// neutral is what both versions must agree on, value by value.
type neutral struct {
	make, model         string
	year                int
	percent, rangeLeft  float64
	distance            float64
	units               UnitSystem
	recorded, fetched   time.Time
	locked              bool
	snapshotPercent     float64
	snapshotDistance    float64
	requests            int // at the car: a snapshot is one
	lockResultIsSuccess bool
}

// walk reads battery and odometer, one by one and together, and locks the car.
func walk(t *testing.T, sim *smartcartest.Server, v *Vehicle) neutral {
	t.Helper()
	ctx := t.Context()
	var n neutral
	attributes, err := v.Attributes(ctx)
	require.NoError(t, err)
	n.make, n.model, n.year = attributes.Make, attributes.Model, attributes.Year
	require.Equal(t, v.ID(), attributes.ID)

	battery, err := v.Battery(ctx)
	require.NoError(t, err)
	require.NotNil(t, battery.Percent)
	require.NotNil(t, battery.Range)
	n.percent, n.rangeLeft, n.units = *battery.Percent, *battery.Range, battery.UnitSystem
	n.recorded, n.fetched = battery.RecordedAt, battery.FetchedAt
	odometer, err := v.Odometer(ctx)
	require.NoError(t, err)
	require.NotNil(t, odometer.Distance)
	n.distance = *odometer.Distance
	require.Equal(t, n.recorded, odometer.RecordedAt)

	before := len(sim.Ledger(v.ID()))
	snapshot, err := v.With(IgnorePolicy()).Snapshot(ctx, Battery, Odometer)
	require.NoError(t, err)
	n.requests = len(sim.Ledger(v.ID())) - before
	if battery, err = snapshot.Battery(); err == nil {
		n.snapshotPercent = *battery.Percent
	}
	if odometer, err = snapshot.Odometer(); err == nil {
		n.snapshotDistance = *odometer.Distance
	}

	result, err := v.Lock(ctx)
	require.NoError(t, err)
	n.lockResultIsSuccess = strings.EqualFold(result.Status, "success")
	ledger := sim.Ledger(v.ID())
	n.locked = ledger[len(ledger)-1].Executed
	return n
}

// Battery, odometer and lock are the same through either version.
func TestBothWiresSayTheSame(t *testing.T) {
	for _, id := range []string{smartcartest.Model3, smartcartest.MachE, smartcartest.ModelS2018, smartcartest.ModelX2020} {
		t.Run(id, func(t *testing.T) {
			got := map[string]neutral{}
			for _, api := range []API{V2, V3} {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					got[string(api)] = walk(t, sim, connectedOver(t, sim, api).Vehicle(id))
				})
			}
			require.Equal(t, got["v2.0"], got["v3"])
			require.Equal(t, 1, got["v3"].requests)
			require.True(t, got["v3"].locked)
			require.True(t, got["v3"].lockResultIsSuccess)
			require.InDelta(t, got["v3"].percent, got["v3"].snapshotPercent, 0)
			require.NotZero(t, got["v3"].snapshotDistance)
		})
	}
}

// An error of the car is the same error.
func TestBothWiresFailTheSame(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*testing.T, *smartcartest.Server)
		want    error
	}{
		"no permission": {func(t *testing.T, sim *smartcartest.Server) {
			require.NoError(t, sim.SetPermissions(smartcartest.MachE, "read_vehicle_info"))
		}, ErrPermission},
		"maker's cloud": {func(_ *testing.T, sim *smartcartest.Server) {
			sim.Inject(smartcartest.Fault{ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: -1, Match: dataOfMachE})
		}, ErrUnavailable},
		"vehicle limit": {func(_ *testing.T, sim *smartcartest.Server) {
			sim.Inject(smartcartest.Fault{ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE", Header: http.Header{"Retry-After": {"60"}}, Times: -1, Match: dataOfMachE})
		}, ErrRateLimited},
		"key": {func(_ *testing.T, sim *smartcartest.Server) {
			sim.Inject(smartcartest.Fault{ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "VIRTUAL_KEY_REQUIRED", Times: -1, Match: dataOfMachE})
		}, ErrVirtualKeyRequired},
	} {
		t.Run(name, func(t *testing.T) {
			for _, api := range []API{V2, V3} {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					v := connectedOver(t, sim, api).Vehicle(smartcartest.MachE)
					tt.prepare(t, sim)
					odometer, err := v.Odometer(t.Context())
					require.ErrorIs(t, err, tt.want, string(api))
					require.Nil(t, odometer)
				})
			}
		})
	}
}

func dataOfMachE(r *http.Request) bool {
	return strings.Contains(r.URL.Path, smartcartest.MachE+"/")
}

// What v3 has no row for is refused before any request.
func TestWireV3RefusesWhatItCannotDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := connectedOver(t, sim, V3).Vehicle(smartcartest.MachE)
		before := len(sim.Requests())
		_, err := v.Snapshot(t.Context(), Battery, Permissions)
		require.ErrorIs(t, err, ErrNotSupported)
		require.Len(t, sim.Requests(), before)
	})
}

// Attributes are no signal: beside one they are answered, or refused for what
// they are, and never reported as a signal that Smartcar lacks.
func TestWireV3SnapshotWithAttributes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := connectedOver(t, sim, V3).Vehicle(smartcartest.MachE)
		snapshot, err := v.Snapshot(t.Context(), Attributes, Battery)
		require.NoError(t, err)
		_, err = snapshot.Battery()
		require.NoError(t, err)
		if attributes, err := snapshot.Attributes(); err == nil {
			require.Equal(t, 2022, attributes.Year)
		} else {
			require.ErrorIs(t, err, ErrNotSupported)
		}
	})
}

// fixtureFile is a file of testdata as the tests inside the package need it.
type fixtureFile struct {
	Request struct {
		Method, Path string
		Body         json.RawMessage
	}
	Response struct {
		Status   int
		Headers  map[string]string
		Body     json.RawMessage
		BodyText *string
	}
	Want *struct {
		Type, Code, RequestID         string
		StatusCode                    int
		Retryable                     bool
		ResolutionType, ResolutionURL string
		RetryAfterSeconds             *float64
	}
	// Of the plain fixture of a read: what it is decoded to, and what the
	// fixtures of its signals are on API v3.
	Reading, ReadingV3 json.RawMessage
}

// fixtureFiles returns the fixtures that match a pattern below testdata, by
// their name without ".json".
func fixtureFiles(t testing.TB, pattern string) map[string]fixtureFile {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	files := make(map[string]fixtureFile, len(paths))
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		var f fixtureFile
		require.NoError(t, json.Unmarshal(raw, &f), path)
		files[strings.TrimSuffix(filepath.Base(path), ".json")] = f
	}
	return files
}

func (f fixtureFile) answer() *answer {
	a := &answer{status: f.Response.Status, header: http.Header{}, body: f.Response.Body, at: time.Date(2026, 9, 22, 12, 45, 0, 0, time.UTC)}
	if f.Response.BodyText != nil {
		a.body = []byte(*f.Response.BodyText)
	}
	for name, value := range f.Response.Headers {
		a.header.Set(name, value)
	}
	return a
}

func TestV3ErrorFixtures(t *testing.T) {
	for name, f := range fixtureFiles(t, "v3/error.*.json") {
		t.Run(name, func(t *testing.T) {
			a := f.answer()
			requireWanted(t, f, decodeError(Battery, a.status, a.header, a.body, a.at))
		})
	}
}

func requireWanted(t *testing.T, f fixtureFile, e *Error) {
	t.Helper()
	require.NotNil(t, f.Want)
	require.Equal(t, f.Want.Type, e.Type)
	require.Equal(t, f.Want.Code, e.Code)
	require.Equal(t, f.Want.StatusCode, e.StatusCode)
	require.Equal(t, f.Want.RequestID, e.RequestID)
	require.Equal(t, f.Want.ResolutionType, e.Resolution.Type)
	require.Equal(t, f.Want.ResolutionURL, e.Resolution.URL)
	e.read = true
	require.Equal(t, f.Want.Retryable, Retryable(e))
	if e.Type != "" {
		require.NotEmpty(t, e.Description)
	}
}

// A command's body decides: a 202 may carry the failure.
func TestV3CommandFixtures(t *testing.T) {
	for name, f := range fixtureFiles(t, "v3/command.lock*.json") {
		t.Run(name, func(t *testing.T) {
			result, err := wireV3{}.commandResult(row(Lock), f.answer())
			if f.Want == nil {
				require.NoError(t, err)
				require.Equal(t, "SUCCESS", result.Status)
				require.Equal(t, f.Response.Headers["SC-Request-Id"], result.RequestID)
				return
			}
			require.Nil(t, result)
			var e *Error
			require.ErrorAs(t, err, &e)
			requireWanted(t, f, e)
		})
	}
	request, err := wireV3{}.command(row(Lock), nil)
	require.NoError(t, err)
	require.Equal(t, wireRequest{method: "POST", path: "/commands/security/lock"}, request)

	for _, empty := range []string{`"errors":null`, `"errors":[]`, `"error":null`} {
		body := `{"data":{"attributes":{"status":{"value":"SUCCESS"}}},` + empty + `}`
		result, err := wireV3{}.commandResult(row(Lock), &answer{status: 200, header: http.Header{}, body: []byte(body)})
		require.NoError(t, err, "no error is no error, however it is written: %s", body)
		require.Equal(t, "SUCCESS", result.Status)
	}
}

func TestV3VehicleFixtures(t *testing.T) {
	for name, want := range map[string]*AttributesReading{
		"vehicle":               {ID: "36ab27d0-fd9d-4455-823a-ce30af709ffc", Make: "TESLA", Model: "Model S", Year: 2014},
		"vehicle.relative-link": {ID: "vehicle123", Make: "Toyota", Model: "Camry", Year: 2020},
	} {
		f := fixtureFiles(t, "v3/"+name+".json")[name]
		got, err := wireV3{}.decode(row(Attributes), f.answer().body, Metric)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// signalsWant is what battery and odometer are made of a list of signals.
type signalsWant struct {
	percent, rangeLeft, distance *float64
	battery, odometer            string // type and code of the error, if there is one
	undated                      bool
}

func TestV3SignalFixtures(t *testing.T) {
	const missing = "RESOURCE_NOT_FOUND:SIGNAL_NOT_FOUND"
	whole := signalsWant{percent: new(45.0), rangeLeft: new(280.0), distance: new(32208.0)}
	onlyPercent := signalsWant{percent: new(45.0), odometer: missing}
	undated := onlyPercent
	undated.undated = true
	nothing := signalsWant{battery: missing, odometer: missing}
	for name, want := range map[string]signalsWant{
		"signals": whole, "signals.epoch-times": whole, "signals.minimal-envelope": whole, "signals.unit-alias": whole,
		"signals.empty": nothing, "signal.vin": nothing, "signal.digital-key-paired": nothing, "signal.digital-key-not-paired": nothing,
		"signals.error-stale-body": {rangeLeft: new(280.0), distance: new(32208.0)},
		"signals.error-null-body":  onlyPercent, "signals.more-than-sent": onlyPercent, "signals.not-capable": onlyPercent,
		"signal": onlyPercent, "signal.bare": onlyPercent, "signals.zero-times": undated,
		"signals.unavailable": {battery: "UNAVAILABLE", odometer: "DEFERRED"},
	} {
		t.Run(name, func(t *testing.T) {
			f, ok := fixtureFiles(t, "v3/signal*.json")[name]
			require.True(t, ok)
			a := f.answer()
			parts, err := wireV3{}.split(rows(Battery, Odometer), a)
			require.NoError(t, err)
			require.Len(t, parts, 2)
			if want.battery != "" {
				requirePartError(t, want.battery, parts[0])
			} else {
				require.Equal(t, &BatteryReading{Percent: want.percent, Range: want.rangeLeft}, decodedPart(t, parts[0]))
				recorded, fetched := time.Date(2026, 9, 22, 12, 34, 51, 0, time.UTC), time.Date(2026, 9, 22, 12, 41, 16, 476e6, time.UTC)
				if want.undated {
					recorded, fetched = time.Time{}, time.Time{}
				}
				require.Equal(t, recorded, parts[0].meta.RecordedAt)
				require.Equal(t, fetched, parts[0].meta.FetchedAt)
			}
			if want.odometer != "" {
				requirePartError(t, want.odometer, parts[1])
			} else {
				require.Equal(t, &OdometerReading{Distance: want.distance}, decodedPart(t, parts[1]))
			}
		})
	}
}

func decodedPart(t *testing.T, p part) any {
	t.Helper()
	require.Nil(t, p.err)
	v, err := wireV3{}.decode(p.op, p.body, Metric)
	require.NoError(t, err)
	return v
}

// A reading that is made of several signals fails if not one of them can be
// read: it would say that the car said nothing.
func TestV3ReadingOfWhatCannotBeRead(t *testing.T) {
	const scalar, rangeLeft = `{"code":"tractionbattery-stateofcharge","body":45}`, `{"code":"tractionbattery-range","body":{"value":280,"unit":"km"}}`
	_, err := wireV3{}.decode(row(Battery), []byte(`{"data":[`+scalar+`]}`), Metric)
	require.ErrorIs(t, err, ErrUnexpectedAnswer)
	got, err := wireV3{}.decode(row(Battery), []byte(`{"data":[`+scalar+`,`+rangeLeft+`]}`), Metric)
	require.NoError(t, err)
	require.Equal(t, &BatteryReading{Range: new(280.0)}, got)
}

// requirePartError looks for the reason in the text, which is for people, and
// never takes the value beside an error for data.
func requirePartError(t *testing.T, want string, p part) {
	t.Helper()
	require.NotNil(t, p.err)
	require.Empty(t, p.body)
	require.Contains(t, p.err.Error(), want)
}

func TestNoV3SignalFixtureIsForgotten(t *testing.T) {
	for name := range fixtureFiles(t, "v3/signal*.json") {
		raw, err := os.ReadFile("wires_test.go")
		require.NoError(t, err)
		require.Contains(t, string(raw), `"`+name+`"`)
	}
}
