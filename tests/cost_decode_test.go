package smartcar_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/catalog"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// allSignals is an answer of API v3 with every documented signal, as its fixture has it,
// of a car whose answers are not kept between its refreshes.
func allSignals(tb testing.TB) []byte {
	tb.Helper()
	list := make([]json.RawMessage, 0, 100)
	var included json.RawMessage
	for _, row := range catalog.Signals() {
		var one struct{ Data, Included json.RawMessage }
		require.NoError(tb, json.Unmarshal(signalFixture(tb, row.Code()).Response.Body, &one))
		list, included = append(list, one.Data), one.Included
	}
	body, err := json.Marshal(map[string]any{"data": list, "included": included, "meta": map[string]any{"totalCount": len(list)}})
	require.NoError(tb, err)
	return bytes.Replace(body, []byte("5YJSA1CN5DFP00101"), []byte("3FMTK3SU5MMA00001"), 1)
}

// eventOf is a webhook event with so many of the signals.
func eventOf(tb testing.TB, list []byte, n int) []byte {
	tb.Helper()
	var all struct {
		Data []struct {
			Attributes map[string]any       `json:"attributes"`
			Meta       map[string]time.Time `json:"meta"`
		} `json:"data"`
	}
	require.NoError(tb, json.Unmarshal(list, &all))
	entries := make([]map[string]any, n)
	for i := range entries {
		entries[i] = all.Data[i].Attributes
		entries[i]["meta"] = map[string]int64{
			"oemUpdatedAt": all.Data[i].Meta["oemUpdatedAt"].UnixMilli(), "retrievedAt": all.Data[i].Meta["retrievedAt"].UnixMilli(),
		}
	}
	body, err := json.Marshal(map[string]any{
		"eventId": "bead8cd7-2d6b-4c1a-8b1f-0f6f9f3f5a11", "eventType": "VEHICLE_STATE",
		"data": map[string]any{
			"user":    map[string]any{"id": "e0514ef4-5226-11e8-8c13-8f6e8f02e27e"},
			"vehicle": map[string]any{"id": smartcartest.MachE, "make": "FORD", "model": "Mustang Mach-E", "year": 2022, "mode": "live"},
			"signals": entries,
		},
		"triggers": []map[string]any{{"type": "SIGNAL_UPDATED", "signal": map[string]any{"name": "Voltage", "group": "Charge"}}},
		"meta":     map[string]any{"version": "4.0", "deliveryId": "d", "webhookId": "w", "signalCount": n, "deliveredAt": 1780222662364},
	})
	require.NoError(tb, err)
	return body
}

// pagesOf answers requests for the pages of a collection: for those of vehicles by
// their offset, and for others by their number.
type pagesOf [][]byte

// newPages makes pages of n entries, with a number in place of each %d. What stands
// around the entries has %s in place of them.
func newPages(n, size int, around, entry string) (pages pagesOf) {
	for from := 0; from < n; from += size {
		var entries []string
		for i := from; i < min(n, from+size); i++ {
			entries = append(entries, strings.ReplaceAll(entry, "%d", strconv.Itoa(100_000+i)))
		}
		pages = append(pages, []byte(strings.Replace(around, "%s", strings.Join(entries, ","), 1)))
	}
	return pages
}

func (p pagesOf) RoundTrip(r *http.Request) (*http.Response, error) {
	query := r.URL.Query()
	i, _ := strconv.Atoi(query.Get("page[number]"))
	if i--; i < 0 {
		offset, _ := strconv.Atoi(query.Get("offset"))
		i = offset / 50
	}
	canned := cannedTransport{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: p[i]}
	return canned.RoundTrip(r)
}

const connectionEntry = `{"id":"553c49e4-08b0-4d28-b83c-%d","type":"connection","attributes":{"permissions":["control_charge","read_battery","read_vehicle_info"],` +
	`"vehicle":{"make":"TESLA","model":"Model S","year":2014,"mode":"live","powertrainType":"BEV"},"user":{"id":"e0514ef4-5226-11e8-8c13-%d","externalId":"acct_42"}},` +
	`"relationships":{"vehicle":{"data":{"id":"36ab27d0-fd9d-4455-823a-%d","type":"vehicle"}},"user":{"data":{"id":"e0514ef4-5226-11e8-8c13-%d","type":"user"}}},` +
	`"meta":{"createdAt":"2025-05-03T02:45:45.349Z","updatedAt":"2026-06-21T02:56:21.130Z"}}`

// costOf is one thing that is done often.
type costOf struct {
	name string
	most float64 // allocations
	do   func(ctx context.Context) error
}

// measuredCar is a car without rules of its own that has been read, and is then answered
// alike whatever is asked.
func measuredCar(tb testing.TB, api smartcar.API, status int, body []byte) *smartcar.Vehicle {
	tb.Helper()
	_, user, transport := measuredUser(tb, api)
	v := user.Vehicle(smartcartest.MachE)
	_, err := v.Odometer(tb.Context())
	require.NoError(tb, err)
	canned := cannedOdometer()
	canned.status, canned.body = status, body
	transport.RoundTripper = canned
	return v
}

func measuredUser(tb testing.TB, api smartcar.API) (*smartcar.Client, *smartcar.User, *switchedTransport) {
	tb.Helper()
	sim, transport := smartcartest.New(), new(switchedTransport)
	transport.RoundTripper = sim.Transport()
	client := apiClient(tb, sim, api, smartcar.WithHTTPClient(&http.Client{Transport: transport}))
	return client, client.User(connect(tb, sim, client).UserID), transport
}

func decodingCosts(tb testing.TB) []costOf {
	tb.Helper()
	list := allSignals(tb)
	accessors := accessorsOfAll()
	odometer := func(v *smartcar.Vehicle) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := v.Odometer(ctx)
			return err
		}
	}
	return []costOf{
		{"v3 Odometer against the list of all signals", 600, odometer(measuredCar(tb, smartcar.V3, 200, list))},
		{"v3 Signals, all typed", 650, readAllSignals(measuredCar(tb, smartcar.V3, 200, list), accessors)},
		{"v3 cached Odometer", 2, odometer(measuredCar(tb, smartcar.V3, 200, list).With(smartcar.MaxAge(100_000 * time.Hour)))},
		{"v2 cached Odometer", 2, odometer(measuredCar(tb, smartcar.V2, 200, []byte(`{"distance":104.32}`)).With(smartcar.MaxAge(100_000 * time.Hour)))},
		{"v2 Odometer", 22, odometer(measuredCar(tb, smartcar.V2, 200, []byte(`{"distance":104.32}`)))},
		{"v2 Battery", 22, readingBattery(measuredCar(tb, smartcar.V2, 200, []byte(`{"percentRemaining":0.3,"range":40.5}`)))},
		{"v2 cached Battery", 2, readingBattery(measuredCar(tb, smartcar.V2, 200, []byte(`{"percentRemaining":0.3,"range":40.5}`)).With(smartcar.MaxAge(forever)))},
		{"refusal known here", 2, refusedHere(tb)},
		{"404", 40, refusedOdometer(tb, "resource-not-found.path")},
		{"429", 45, refusedOdometer(tb, "rate-limit.vehicle")},
		{"v2 Snapshot of 10, read back", 450, readSnapshotBack(tb)},
		{"webhook of 50 signals, verified and parsed", 450, verifyAndParse(tb, eventOf(tb, list, 50))},
		{"struct decode of the list", 10000, func(context.Context) error {
			var s struct{ Data []plainSignal }
			return json.Unmarshal(list, &s)
		}},
	}
}

const forever = 200_000 * time.Hour

func readingBattery(v *smartcar.Vehicle) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := v.Battery(ctx)
		return err
	}
}

// refusedOdometer is answered with an error each time, also where the policy would not
// ask again.
func refusedOdometer(tb testing.TB, fixture string) func(context.Context) error {
	tb.Helper()
	answer := readFixture(tb, "v2/errors/"+fixture).Response
	v := measuredCar(tb, smartcar.V2, answer.Status, answer.Body).With(smartcar.IgnorePolicy())
	return func(ctx context.Context) error {
		if _, err := v.Odometer(ctx); err == nil {
			return errors.New("no error")
		}
		return nil
	}
}

// refusedHere asks a car without its key, whose turn is used.
func refusedHere(tb testing.TB) func(context.Context) error {
	tb.Helper()
	v := readVehicle(tb, new(switchedTransport), smartcartest.Cybertruck)
	return func(ctx context.Context) error {
		if _, err := v.Odometer(ctx); !errors.Is(err, smartcar.ErrRateLimited) {
			return fmt.Errorf("not refused: %w", err)
		}
		return nil
	}
}

func readAllSignals(v *smartcar.Vehicle, accessors []func(*smartcar.Signals) error) func(context.Context) error {
	return func(ctx context.Context) error {
		s, err := v.Signals(ctx)
		if err != nil {
			return err
		}
		for _, read := range accessors {
			if err := read(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// readSnapshotBack reads ten operations in one request, and takes each result.
func readSnapshotBack(tb testing.TB) func(context.Context) error {
	tb.Helper()
	var items []string
	for _, name := range []string{
		"vin", "odometer", "location", "fuel", "battery", "charge", "charge-limit", "tire-pressure", "engine-oil", "lock-status",
	} {
		fixture := readFixture(tb, "v2/reads/"+name)
		path := fixture.Request.Path[strings.LastIndex(fixture.Request.Path, "{id}")+len("{id}"):]
		items = append(items, fmt.Sprintf(`{"path":%q,"code":200,"headers":{"sc-data-age":"2026-09-22T12:34:51.000Z","sc-unit-system":"metric"},"body":%s}`, path, fixture.Response.Body))
	}
	v := measuredCar(tb, smartcar.V2, 200, []byte(`{"responses":[`+strings.Join(items, ",")+`]}`))
	return func(ctx context.Context) error {
		s, err := v.Snapshot(ctx, smartcar.VIN, smartcar.Odometer, smartcar.Location, smartcar.Fuel, smartcar.Battery,
			smartcar.Charge, smartcar.ChargeLimit, smartcar.TirePressure, smartcar.EngineOil, smartcar.LockStatus)
		if err != nil {
			return err
		}
		return errors.Join(
			typed((*smartcar.Snapshot).VIN)(s), typed((*smartcar.Snapshot).Odometer)(s), typed((*smartcar.Snapshot).Location)(s),
			typed((*smartcar.Snapshot).Fuel)(s), typed((*smartcar.Snapshot).Battery)(s), typed((*smartcar.Snapshot).Charge)(s),
			typed((*smartcar.Snapshot).ChargeLimit)(s), typed((*smartcar.Snapshot).TirePressure)(s),
			typed((*smartcar.Snapshot).EngineOil)(s), typed((*smartcar.Snapshot).LockStatus)(s),
		)
	}
}

func verifyAndParse(tb testing.TB, event []byte) func(context.Context) error {
	tb.Helper()
	verifier, err := smartcar.NewWebhookVerifier(webhookSecret)
	require.NoError(tb, err)
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	mac.Write(event)
	signature := hex.EncodeToString(mac.Sum(nil))
	return func(context.Context) error {
		if err := verifier.Verify(event, signature); err != nil {
			return err
		}
		_, err := smartcar.ParseWebhookEvent(event, fixtureTime)
		return err
	}
}

type plainSignal struct {
	ID         string `json:"id"`
	Attributes struct {
		Code, Name, Group string
		Status            struct {
			Value string
			Error json.RawMessage
		}
		Body json.RawMessage
	} `json:"attributes"`
	Meta struct {
		OEMUpdatedAt, RetrievedAt, FetchedAt, IngestedAt string
	} `json:"meta"`
}

func BenchmarkDecoding(b *testing.B) {
	for _, c := range decodingCosts(b) {
		b.Run(strings.ReplaceAll(c.name, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.do(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What is decoded costs about as much as decoding it by hand.
func TestAllocationsOfDecoding(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates by itself")
	}
	for _, c := range decodingCosts(t) {
		require.NoError(t, c.do(t.Context()), c.name)
		got := allocations(func() { _ = c.do(t.Context()) })
		t.Logf("%s: %v allocations of %v", c.name, got, c.most)
		require.LessOrEqual(t, got, c.most, c.name)
	}
}

// A list of n entries costs little more than to decode its pages.
func TestAllocationsOfLists(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates by itself")
	}
	const n = 10_000
	_, user, transport := measuredUser(t, smartcar.V2)
	cars := newPages(n, 50, `{"vehicles":[%s],"paging":{"count":10000}}`, `"36ab27d0-fd9d-4455-823a-%d"`)
	transport.RoundTripper = cars
	ours := testing.AllocsPerRun(1, func() { require.Equal(t, n, countAll(t, user.Vehicles(t.Context()))) })
	requireTimes(t, "vehicles", 2, ours, testing.AllocsPerRun(1, func() {
		for offset := 0; offset < n; offset += 50 {
			var page struct{ Vehicles []string }
			getPage(t, cars, fmt.Sprintf("limit=50&offset=%d", offset), &page)
		}
	}))

	client, _, transport := measuredUser(t, smartcar.V3)
	connections := newPages(n, 100, `{"data":[%s],"meta":{"totalCount":10000}}`, connectionEntry)
	transport.RoundTripper = connections
	ours = testing.AllocsPerRun(1, func() {
		require.Equal(t, n, countAll(t, client.Connections(t.Context(), smartcar.ConnectionFilter{})))
	})
	requireTimes(t, "connections", 1.5, ours, testing.AllocsPerRun(1, func() {
		for number := 1; number <= n/100; number++ {
			var page struct{ Data []plainConnection }
			getPage(t, connections, fmt.Sprintf("page[number]=%d&page[size]=100", number), &page)
		}
	}))
}

// plainConnection is a connection as documented.
type plainConnection struct {
	ID         string
	Attributes struct {
		Permissions []string
		Vehicle     struct {
			Make, Model, Mode, PowertrainType string
			Year                              int
		}
		User struct{ ID, ExternalID string }
	}
	Relationships struct {
		Vehicle, User struct{ Data struct{ ID string } }
	}
	Meta struct{ CreatedAt, UpdatedAt time.Time }
}

func countAll[T any](t *testing.T, all iter.Seq2[T, error]) (n int) {
	t.Helper()
	for _, err := range all {
		require.NoError(t, err)
		n++
	}
	return n
}

// getPage reads a page with nothing but the standard library.
func getPage(t *testing.T, transport http.RoundTripper, query string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.smartcar.com/?"+query, nil)
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(resp.Body).Decode(into))
	require.NoError(t, resp.Body.Close())
}

func requireTimes(t *testing.T, what string, most, ours, bare float64) {
	t.Helper()
	t.Logf("%s: %v allocations, bare %v: %.2f x of %.1f", what, ours, bare, ours/bare, most)
	require.LessOrEqual(t, ours, most*bare, what)
}

// accessorsOfAll are the accessors of all signals.
func accessorsOfAll() []func(*smartcar.Signals) error {
	return []func(*smartcar.Signals) error{
		typed((*smartcar.Signals).ChargeAmperage),
		typed((*smartcar.Signals).ChargeAmperageMax),
		typed((*smartcar.Signals).ChargeAmperageRequested),
		typed((*smartcar.Signals).ChargeChargeLimits),
		typed((*smartcar.Signals).ChargeChargePortStatusColor),
		typed((*smartcar.Signals).ChargeChargeRate),
		typed((*smartcar.Signals).ChargeChargeRecords),
		typed((*smartcar.Signals).ChargeChargerPhases),
		typed((*smartcar.Signals).ChargeChargeTimers),
		typed((*smartcar.Signals).ChargeChargingConnectorType),
		typed((*smartcar.Signals).ChargeDetailedChargingStatus),
		typed((*smartcar.Signals).ChargeEnergyAdded),
		typed((*smartcar.Signals).ChargeFastChargerType),
		typed((*smartcar.Signals).ChargeIsCharging),
		typed((*smartcar.Signals).ChargeIsChargingCableConnected),
		typed((*smartcar.Signals).ChargeIsChargingCableLatched),
		typed((*smartcar.Signals).ChargeIsChargingPortFlapOpen),
		typed((*smartcar.Signals).ChargeIsFastChargerPresent),
		typed((*smartcar.Signals).ChargeTimeToComplete),
		typed((*smartcar.Signals).ChargeVoltage),
		typed((*smartcar.Signals).ChargeWattage),
		typed((*smartcar.Signals).ClimateExternalTemperature),
		typed((*smartcar.Signals).ClimateInternalTemperature),
		typed((*smartcar.Signals).ClosureDoors),
		typed((*smartcar.Signals).ClosureEngineCover),
		typed((*smartcar.Signals).ClosureFrontTrunk),
		typed((*smartcar.Signals).ClosureIsLocked),
		typed((*smartcar.Signals).ClosureRearTrunk),
		typed((*smartcar.Signals).ClosureSunroof),
		typed((*smartcar.Signals).ClosureTailgate),
		typed((*smartcar.Signals).ClosureWindows),
		typed((*smartcar.Signals).ConnectivitySoftwareCurrentFirmwareVersion),
		typed((*smartcar.Signals).ConnectivityStatusIsAsleep),
		typed((*smartcar.Signals).ConnectivityStatusIsDigitalKeyPaired),
		typed((*smartcar.Signals).ConnectivityStatusIsOnline),
		typed((*smartcar.Signals).DiagnosticsABS),
		typed((*smartcar.Signals).DiagnosticsActiveSafety),
		typed((*smartcar.Signals).DiagnosticsAirbag),
		typed((*smartcar.Signals).DiagnosticsBrakeFluid),
		typed((*smartcar.Signals).DiagnosticsDriverAssistance),
		typed((*smartcar.Signals).DiagnosticsDTCCount),
		typed((*smartcar.Signals).DiagnosticsDTCList),
		typed((*smartcar.Signals).DiagnosticsEmissions),
		typed((*smartcar.Signals).DiagnosticsEVBatteryConditioning),
		typed((*smartcar.Signals).DiagnosticsEVCharging),
		typed((*smartcar.Signals).DiagnosticsEVDriveUnit),
		typed((*smartcar.Signals).DiagnosticsEVHVBattery),
		typed((*smartcar.Signals).DiagnosticsLighting),
		typed((*smartcar.Signals).DiagnosticsMIL),
		typed((*smartcar.Signals).DiagnosticsOilLife),
		typed((*smartcar.Signals).DiagnosticsOilPressure),
		typed((*smartcar.Signals).DiagnosticsOilTemperature),
		typed((*smartcar.Signals).DiagnosticsTelematics),
		typed((*smartcar.Signals).DiagnosticsTirePressure),
		typed((*smartcar.Signals).DiagnosticsTirePressureMonitoring),
		typed((*smartcar.Signals).DiagnosticsTransmission),
		typed((*smartcar.Signals).DiagnosticsWasherFluid),
		typed((*smartcar.Signals).DiagnosticsWaterInFuel),
		typed((*smartcar.Signals).HVACCabinTargetTemperature),
		typed((*smartcar.Signals).HVACIsCabinHVACActive),
		typed((*smartcar.Signals).HVACIsFrontDefrosterActive),
		typed((*smartcar.Signals).HVACIsRearDefrosterActive),
		typed((*smartcar.Signals).HVACIsSteeringHeaterActive),
		typed((*smartcar.Signals).InternalCombustionEngineAmountRemaining),
		typed((*smartcar.Signals).InternalCombustionEngineFuelLevel),
		typed((*smartcar.Signals).InternalCombustionEngineOilLife),
		typed((*smartcar.Signals).InternalCombustionEngineRange),
		typed((*smartcar.Signals).LocationIsAtHome),
		typed((*smartcar.Signals).LocationPreciseLocation),
		typed((*smartcar.Signals).LowVoltageBatteryStateOfCharge),
		typed((*smartcar.Signals).LowVoltageBatteryStatus),
		typed((*smartcar.Signals).MotionCurrentSpeed),
		typed((*smartcar.Signals).OdometerTraveledDistance),
		typed((*smartcar.Signals).ServiceIsInService),
		typed((*smartcar.Signals).ServiceRecords),
		typed((*smartcar.Signals).SurveillanceBrand),
		typed((*smartcar.Signals).SurveillanceIsEnabled),
		typed((*smartcar.Signals).TractionBatteryIsHeaterActive),
		typed((*smartcar.Signals).TractionBatteryMaxRangeChargeCounter),
		typed((*smartcar.Signals).TractionBatteryNominalCapacity),
		typed((*smartcar.Signals).TractionBatteryRange),
		typed((*smartcar.Signals).TractionBatteryStateOfCharge),
		typed((*smartcar.Signals).TransmissionDriveMode),
		typed((*smartcar.Signals).TransmissionGearState),
		typed((*smartcar.Signals).VehicleIdentificationExteriorColor),
		typed((*smartcar.Signals).VehicleIdentificationNickname),
		typed((*smartcar.Signals).VehicleIdentificationPackages),
		typed((*smartcar.Signals).VehicleIdentificationTrim),
		typed((*smartcar.Signals).VehicleIdentificationVIN),
		typed((*smartcar.Signals).VehicleUserAccountPermissions),
		typed((*smartcar.Signals).VehicleUserAccountRole),
		typed((*smartcar.Signals).WheelStyle),
		typed((*smartcar.Signals).WheelTires),
	}
}

func typed[S, T any](read func(S) (*T, error)) func(S) error {
	return func(s S) error {
		_, err := read(s)
		return err
	}
}
