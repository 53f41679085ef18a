package smartcar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/stretchr/testify/require"
)

// metaOf is what a client must make of the headers of a fixture.
func metaOf(f fixture) smartcar.Meta {
	at := func(name string) time.Time {
		t, err := time.Parse(time.RFC3339Nano, f.Response.Headers[name])
		if err != nil {
			return time.Time{}
		}
		return t
	}
	units := smartcar.UnitSystem(f.Response.Headers["SC-Unit-System"])
	if units == "" {
		units = smartcar.Metric // what was asked for
	}
	return smartcar.Meta{
		RequestID: f.Response.Headers["SC-Request-Id"], RecordedAt: at("SC-Data-Age"), FetchedAt: at("SC-Fetched-At"),
		ReceivedAt: fixtureTime, UnitSystem: units, Source: smartcar.SourceLive,
	}
}

// TestReadFixtures serves every fixture of a typed read, odd variants too, and
// compares the whole result.
func TestReadFixtures(t *testing.T) {
	wants := wantReads()
	for _, op := range typedReads() {
		wants[string(op)] = nil // its fixture says it
	}
	for name, want := range wants {
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, "v2/reads/"+name)
			transport := newCanned(t)
			v := cannedVehicle(t, transport)
			key := f.Request.Method + " " + f.Request.Path
			transport.on(key, f.reply())
			if units := f.Request.Headers["SC-Unit-System"]; units != "" {
				v = v.With(smartcar.InUnits(smartcar.UnitSystem(units)))
			}

			operation, _, _ := strings.Cut(name, ".")
			got, err := typedRead(t.Context(), v, smartcar.Operation(operation))
			require.NoError(t, err)
			if want == nil {
				want = f.reading(t, got)
			}
			reflect.ValueOf(want).Elem().FieldByName("Meta").Set(reflect.ValueOf(metaOf(f)))
			require.Equal(t, want, got)

			sent := transport.requests(key)
			require.Len(t, sent, 1)
			require.Empty(t, sent[0].body)
			require.Equal(t, "Bearer access-token", sent[0].header.Get("Authorization"))
			require.Equal(t, string(metaOf(f).UnitSystem), sent[0].header.Get("SC-Unit-System"))
			query := url.Values{}
			for k, v := range f.Request.Query {
				query.Set(k, v)
			}
			require.Equal(t, query, sent[0].query)
		})
	}
}

// reading is what the fixture says that it is decoded to, in the type of like.
func (f fixture) reading(t *testing.T, like any) any {
	t.Helper()
	require.NotNil(t, f.Reading)
	decoder := json.NewDecoder(bytes.NewReader(f.Reading))
	decoder.DisallowUnknownFields()
	want := reflect.New(reflect.TypeOf(like).Elem()).Interface()
	require.NoError(t, decoder.Decode(want))
	return want
}

// TestReadsWithoutTheirOwnResult covers what is not handed out as it came:
// lists that are put together from pages, and the user.
func TestReadsWithoutTheirOwnResult(t *testing.T) {
	for name, tt := range wantLists() {
		t.Run(name, func(t *testing.T) {
			transport := newCanned(t)
			var replies []reply
			var counts []int
			for _, page := range tt.pages {
				f := readFixture(t, "v2/reads/"+page)
				replies = append(replies, f.reply())
				var body struct{ Vehicles, Permissions []string }
				require.NoError(t, json.Unmarshal(f.Response.Body, &body))
				counts = append(counts, len(body.Vehicles)+len(body.Permissions))
			}
			user := cannedUser(t, transport)
			transport.on(tt.path, replies...)
			got, err := tt.read(t.Context(), user)
			require.NoError(t, err)
			require.Len(t, got, tt.count)
			for _, want := range tt.contains {
				require.Contains(t, got, want)
			}

			sent := transport.requests(tt.path)
			require.Len(t, sent, len(tt.pages), "a page was asked for twice, or not at all")
			offset := 0
			for i, s := range sent {
				require.Equal(t, strconv.Itoa(offset), s.query.Get("offset"), "page %d", i)
				offset += counts[i]
			}
		})
	}
}

// Every fixture of a read is decoded by one of the tests above.
func TestNoReadFixtureIsForgotten(t *testing.T) {
	used := map[string]bool{"user": true, "key-status": true, "key-status.not-paired": true, "key-status.null": true}
	for name := range wantReads() {
		used[name] = true
	}
	for _, op := range typedReads() {
		used[string(op)] = true
	}
	for _, l := range wantLists() {
		for _, page := range l.pages {
			used[page] = true
		}
	}
	for _, name := range fixtureNames(t, "v2/reads") {
		require.True(t, used[name], name)
		delete(used, name)
	}
	require.Empty(t, used, "no such fixture")
}

// ServiceHistory takes a period on both, which v3 does not know.
func TestServiceHistoryIsCutOutOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMadeUp(t, aFord)
		m.signals = []string{signalEntry(signals.ServiceRecords, success,
			`{"values":[{"id":"1","time":"2026-01-01T10:00:00Z"},{"id":"2","time":"2026-02-01T00:00:00Z"},{"id":"3","time":"2026-03-01T23:59:59Z"}]}`, ``)}
		day := func(month time.Month) time.Time { return time.Date(2026, month, 1, 12, 0, 0, 0, time.UTC) }
		east := time.Date(2026, 1, 2, 0, 0, 0, 0, time.FixedZone("east", 9*60*60))
		for name, tt := range map[string]struct {
			from, to time.Time
			count    int
		}{
			"all": {time.Time{}, time.Time{}, 3}, "from": {day(2), time.Time{}, 2}, "to": {time.Time{}, day(2), 2},
			"both": {day(3), day(3), 1}, "the same day": {day(3), day(3).Add(-time.Hour), 1}, "none": {day(4), day(5), 0},
			"midnight in the east": {east, time.Time{}, 2}, // in UTC the day before, but v2.0 is sent this date, too
		} {
			history, err := m.ServiceHistory(t.Context(), tt.from, tt.to)
			require.NoError(t, err)
			require.Len(t, history.Records, tt.count, name)
		}
		for _, r := range m.tap.to("/signals") {
			require.Empty(t, r.query)
		}
	})
}

// wantReads is what the odd fixtures of typed reads say, without Meta. The plain
// ones say it themselves.
func wantReads() map[string]any {
	return map[string]any{
		"attributes.null-fields":    &smartcar.AttributesReading{ID: fixtureVehicle, Make: "TESLA"},
		"attributes.opaque-id":      &smartcar.AttributesReading{ID: "sc4a1b01e5-0497-417c-a30e-6df6ba33ba46", Make: "TESLA", Model: "Model S", Year: 2014},
		"attributes.unknown-fields": &smartcar.AttributesReading{ID: fixtureVehicle, Make: "TESLA", Model: "Model S", Year: 2014},
		"attributes.year-string":    &smartcar.AttributesReading{ID: fixtureVehicle, Make: "TESLA", Model: "Model S", Year: 2014},

		"odometer.imperial":         &smartcar.OdometerReading{Distance: new(64.82)},
		"odometer.no-data-age":      &smartcar.OdometerReading{Distance: new(104.32)},
		"odometer.no-headers":       &smartcar.OdometerReading{Distance: new(104.32)},
		"odometer.null-distance":    &smartcar.OdometerReading{},
		"odometer.unreadable-times": &smartcar.OdometerReading{Distance: new(104.32)},
		"odometer.whole-number":     &smartcar.OdometerReading{Distance: new(21919.0)},

		"location.null-fields": &smartcar.LocationReading{},
		"location.zero":        &smartcar.LocationReading{Latitude: new(0.0), Longitude: new(0.0)},

		"fuel.all-null":      &smartcar.FuelReading{},
		"fuel.imperial":      &smartcar.FuelReading{Amount: new(14.05), Percent: new(30.0), Range: new(25.17)},
		"fuel.missing-field": &smartcar.FuelReading{Percent: new(30.0)},
		"fuel.two-of-three":  &smartcar.FuelReading{Percent: new(30.0), Range: new(40.5)},

		"battery.imperial":       &smartcar.BatteryReading{Percent: new(30.0), Range: new(25.17)},
		"battery.null-range":     &smartcar.BatteryReading{Percent: new(30.0)},
		"battery.string-numbers": &smartcar.BatteryReading{Percent: new(30.0), Range: new(40.5)},
		"battery.whole-numbers":  &smartcar.BatteryReading{Percent: new(100.0), Range: new(275.0)},
		"battery.zero":           &smartcar.BatteryReading{Percent: new(0.0), Range: new(0.0)},

		"battery-capacity.null": &smartcar.BatteryCapacityReading{},

		"nominal-capacity.bare-number": &smartcar.NominalCapacityReading{
			Nominal: new(80.9), Available: []smartcar.CapacityOption{{Capacity: new(80.9)}},
		},
		"nominal-capacity.certain": &smartcar.NominalCapacityReading{
			Nominal: new(82.0), Source: "SMARTCAR", Available: []smartcar.CapacityOption{{Capacity: new(82.0)}},
		},
		"nominal-capacity.null-capacity":  &smartcar.NominalCapacityReading{Available: twoCapacities(), SelectURL: new(selectCapacity)},
		"nominal-capacity.unknown-source": &smartcar.NominalCapacityReading{Nominal: new(80.9), Source: "OEM"},

		"charge.charging":         &smartcar.ChargeReading{PluggedIn: new(true), State: smartcar.ChargeStateCharging},
		"charge.lower-case-state": &smartcar.ChargeReading{PluggedIn: new(true), State: smartcar.ChargeStateCharging},
		"charge.not-charging":     &smartcar.ChargeReading{PluggedIn: new(false), State: smartcar.ChargeStateNotCharging},
		"charge.nulls":            &smartcar.ChargeReading{},
		"charge.unknown-state":    &smartcar.ChargeReading{PluggedIn: new(true), State: "DISCHARGING"},

		"charge-limit.string-number": &smartcar.ChargeLimitReading{Percent: new(70.0)},
		"charge-limit.whole-number":  &smartcar.ChargeLimitReading{Percent: new(100.0)},

		"tire-pressure.imperial": &smartcar.TirePressureReading{FrontLeft: new(31.78), FrontRight: new(31.76), BackLeft: new(31.81), BackRight: new(31.79)},
		"tire-pressure.one-null": &smartcar.TirePressureReading{FrontLeft: new(219.1), FrontRight: new(219.0), BackRight: new(219.2)},

		"engine-oil.null": &smartcar.EngineOilReading{},

		"lock-status.unknown-enum": lockStatus(false,
			smartcar.Opening{Type: "frontLeft", Status: "AJAR"}, smartcar.Opening{Type: "sliding", Status: smartcar.OpeningLocked}),
		"lock-status.empty-arrays":   onlyLocked(),
		"lock-status.missing-arrays": onlyLocked(),
		"lock-status.null-arrays":    onlyLocked(),

		"service-history.single-object":  serviceHistory(func(*smartcar.ServiceRecord) {}),
		"service-history.details-object": serviceHistory(func(*smartcar.ServiceRecord) {}),
		"service-history.numeric-ids":    serviceHistory(func(r *smartcar.ServiceRecord) { r.ID = "12345" }),
		"service-history.string-ids":     serviceHistory(func(r *smartcar.ServiceRecord) { r.ID = "12345" }),
		"service-history.with-cost": serviceHistory(func(r *smartcar.ServiceRecord) {
			r.Cost, r.Currency, r.Details[0].Value = new(199.95), "USD", "Oil change"
		}),
		"service-history.nulls": serviceHistory(func(r *smartcar.ServiceRecord) { *r = smartcar.ServiceRecord{} }),
		"service-history.empty": &smartcar.ServiceHistoryReading{Records: []smartcar.ServiceRecord{}},

		"system-status.empty":          &smartcar.SystemStatusReading{Systems: []smartcar.SystemState{}},
		"system-status.unknown-status": &smartcar.SystemStatusReading{Systems: []smartcar.SystemState{{SystemID: "SYSTEM_FLUX_CAPACITOR", Status: "WARNING"}}},

		"dtcs.empty":             &smartcar.TroubleCodesReading{Active: []smartcar.TroubleCode{}},
		"dtcs.missing-timestamp": &smartcar.TroubleCodesReading{Active: []smartcar.TroubleCode{{Code: "P303D"}}},
		"dtcs.null-timestamp":    &smartcar.TroubleCodesReading{Active: []smartcar.TroubleCode{{Code: "P303D"}}},

		"tesla-status.nulls":          &smartcar.TeslaStatusReading{},
		"tesla-status.online":         &smartcar.TeslaStatusReading{Status: "ONLINE", InService: new(false), Gear: "PARK"},
		"tesla-status.unknown-status": &smartcar.TeslaStatusReading{Status: "DREAMING", InService: new(false)},

		"tesla-attributes.at-home-null": teslaAttributes(func(*smartcar.TeslaAttributesReading) {}),
		"tesla-attributes.nulls": teslaAttributes(func(r *smartcar.TeslaAttributesReading) {
			*r = smartcar.TeslaAttributesReading{ID: r.ID, Make: r.Make, Model: r.Model, Year: r.Year}
		}),

		"tesla-charge.charging": &smartcar.TeslaChargeReading{
			PluggedIn: new(true), State: smartcar.ChargeStateCharging, LimitPercent: new(80.0), Amperes: new(16.0), AmperesRequested: new(48.0),
			AmperesMax: new(48.0), Volts: new(231.0), Kilowatts: new(3.7), EnergyAdded: new(11.52), RangeAdded: new(12.5), ChargeRate: new(18.0),
			CompleteAt: time.Date(2026, 11, 23, 11, 45, 0, 0, time.UTC), Phases: new(3.0), Connector: "IEC", FastCharger: new(true),
			FastChargerType: "CCS", PortOpen: new(true), PortLatched: new(false), PortColor: "GREEN",
		},
		"tesla-charge.nulls":           &smartcar.TeslaChargeReading{},
		"tesla-charge.latch-blocking":  &smartcar.TeslaChargeReading{Amperes: new(1.0)},
		"tesla-climate.imperial":       &smartcar.TeslaClimateReading{On: new(false), Temperature: new(68.0)},
		"tesla-climate.unknown-status": &smartcar.TeslaClimateReading{},

		"tesla-user-access.driver":     &smartcar.TeslaUserAccessReading{AccessType: "DRIVER", Permissions: []string{"vehicle_device_data"}},
		"tesla-user-access.mixed-case": &smartcar.TeslaUserAccessReading{AccessType: "DRIVER", Permissions: []string{"vehicle_cmds"}},
		"tesla-user-access.nulls":      &smartcar.TeslaUserAccessReading{},
	}
}

const selectCapacity = "https://connect.smartcar.com/battery-capacity?vehicle_id=" + fixtureVehicle +
	"&client_id=8229df9f-91a0-4ff0-a1ae-a1f38ee24d07&token=90abecb6-e7ab-4b85-864a-e1c8bf67f2ad&response_type=vehicle_id&redirect_uri="

func twoCapacities() []smartcar.CapacityOption {
	return []smartcar.CapacityOption{{Capacity: new(70.9)}, {Capacity: new(90.9), Description: "BEV:Extended Range"}}
}

func lockStatus(locked bool, doors ...smartcar.Opening) *smartcar.LockStatusReading {
	return &smartcar.LockStatusReading{
		Locked: &locked, Doors: doors,
		Windows:      []smartcar.Opening{{Type: "frontLeft", Status: smartcar.OpeningClosed}, {Type: "backRight", Status: smartcar.OpeningUnknown}},
		Sunroof:      []smartcar.Opening{{Type: "sunroof", Status: smartcar.OpeningClosed}},
		Storage:      []smartcar.Opening{{Type: "rear", Status: smartcar.OpeningUnknown}, {Type: "front", Status: smartcar.OpeningClosed}},
		ChargingPort: []smartcar.Opening{{Type: "chargingPort", Status: smartcar.OpeningClosed}},
	}
}

func onlyLocked() *smartcar.LockStatusReading {
	none := []smartcar.Opening{}
	return &smartcar.LockStatusReading{Locked: new(true), Doors: none, Windows: none, Sunroof: none, Storage: none, ChargingPort: none}
}

func serviceHistory(change func(*smartcar.ServiceRecord)) *smartcar.ServiceHistoryReading {
	record := smartcar.ServiceRecord{
		Odometer: new(46047.22), Date: time.Date(2023, 6, 28, 22, 21, 41, 583e6, time.UTC),
		Tasks:   []smartcar.ServiceTask{{ID: "3262", Description: "Service Task 0"}},
		Details: []smartcar.ServiceDetail{{Type: "Service Details Type 0"}},
	}
	change(&record)
	return &smartcar.ServiceHistoryReading{Records: []smartcar.ServiceRecord{record}}
}

func teslaAttributes(change func(*smartcar.TeslaAttributesReading)) *smartcar.TeslaAttributesReading {
	r := &smartcar.TeslaAttributesReading{
		ID: fixtureVehicle, Make: "TESLA", Model: "Model S", Year: 2014,
		Nickname: "Tommy", FirmwareVersion: "2022.8.10.12 0ce482dac45d", TrimBadging: "74d", EfficiencyPackage: "MY2021",
		PerformancePackage: "Base", DriverAssistVersion: "TeslaAP3", SentryAvailable: new(false), SentryEnabled: new(true),
		ExteriorColor: "SolidBlack", ExteriorTrim: "Black", InteriorTrim: "Black2", WheelStyle: "Apollo", WheelDiameter: new(482.6),
		DriveUnitFront: "PM216MOSFET", DriveUnitRear: "NoneOrSmall",
	}
	change(r)
	return r
}

// wantList is a list that is read page by page.
type wantList struct {
	path     string
	pages    []string // the fixtures that answer, in order
	read     func(context.Context, *smartcar.User) ([]string, error)
	count    int
	contains []string
}

func wantLists() map[string]wantList {
	vehicles := func(count int, pages ...string) wantList {
		return wantList{path: vehiclesPath, pages: pages, count: count, read: listedVehicles}
	}
	permissions := func(count int, contains string, pages ...string) wantList {
		return wantList{
			path: permissionsPath, pages: pages, count: count, contains: []string{contains},
			read: func(ctx context.Context, u *smartcar.User) ([]string, error) {
				return u.Vehicle(fixtureVehicle).Permissions(ctx)
			},
		}
	}
	return map[string]wantList{
		"three pages":                 vehicles(25, "vehicles", "vehicles.page-2", "vehicles.last-page"),
		"a single page":               vehicles(1, "vehicles.single"),
		"no vehicle":                  vehicles(0, "vehicles.empty"),
		"ids that are no UUIDs":       vehicles(3, "vehicles.opaque-ids"),
		"a total that is never met":   vehicles(1, "vehicles.offset-differs", "vehicles.empty-page"),
		"permissions on one page":     permissions(6, "control_charge", "permissions"),
		"permissions past page one":   permissions(28, "control_trunk", "permissions.page-1", "permissions.last-page"),
		"a permission never heard of": permissions(2, "read_moon_phase", "permissions.unknown-permission"),
		"a page shorter than asked":   permissions(2, "read_moon_phase", "permissions.offset-differs", "permissions.unknown-permission"),
	}
}
