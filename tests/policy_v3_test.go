package smartcar_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func failed(kind, code string) string {
	return fmt.Sprintf(`{"value":"ERROR","error":{"type":%q,"code":%q}}`, kind, code)
}

func oemTime(at time.Time) string {
	return fmt.Sprintf(`"oemUpdatedAt":%q`, at.UTC().Format(time.RFC3339))
}

func odometerEntry(at time.Time) string {
	return signalEntry(signals.OdometerTraveledDistance, success, `{"value":100,"unit":"km"}`, oemTime(at))
}

// What the key signal says after the one read that was paid for.
func TestWhatTheKeySignalMeans(t *testing.T) {
	const key = signals.ConnectivityStatusIsDigitalKeyPaired
	now := func() time.Time { return time.Now().UTC() }
	for name, tt := range map[string]struct {
		entry func() string
		open  bool
		state smartcar.KeyState
	}{
		"paired":           {func() string { return signalEntry(key, success, `{"value":true}`, oemTime(now())) }, true, smartcar.KeyInstalled},
		"paired long ago":  {func() string { return signalEntry(key, success, `{"value":true}`, oemTime(now().Add(-1000*time.Hour))) }, true, smartcar.KeyInstalled},
		"paired, undated":  {func() string { return signalEntry(key, success, `{"value":true}`, ``) }, true, smartcar.KeyInstalled},
		"paired as a text": {func() string { return signalEntry(key, success, `{"value":"true"}`, ``) }, true, smartcar.KeyInstalled},
		"missing":          {func() string { return signalEntry(key, success, `{"value":false}`, oemTime(now())) }, false, smartcar.KeyMissing},
		"missing, undated": {func() string { return signalEntry(key, success, `{"value":false}`, ``) }, false, smartcar.KeyMissing},
		"null":             {func() string { return signalEntry(key, success, `{"value":null}`, oemTime(now())) }, false, smartcar.KeyUnknown},
		"no body":          {func() string { return signalEntry(key, success, ``, oemTime(now())) }, false, smartcar.KeyUnknown},
		"failed, stale true": {func() string {
			return signalEntry(key, failed("UPSTREAM", "NO_RESPONSE"), `{"value":true}`, oemTime(now()))
		}, false, smartcar.KeyUnknown},
		"unavailable": {func() string { return signalEntry(key, `{"value":"UNAVAILABLE"}`, ``, ``) }, false, smartcar.KeyUnknown},
		"not capable": {func() string { return signalEntry(key, failed("COMPATIBILITY", "VEHICLE_NOT_CAPABLE"), ``, ``) }, true, smartcar.KeyUnknown},
		"not capable, stale": {func() string {
			return signalEntry(key, failed("COMPATIBILITY", "PLATFORM_NOT_CAPABLE"), `{"value":false}`, oemTime(now()))
		}, true, smartcar.KeyUnknown},
		"not permitted":       {func() string { return signalEntry(key, failed("PERMISSION", ""), ``, ``) }, true, smartcar.KeyUnknown},
		"not in the list":     {func() string { return signalEntry(signals.WheelStyle, success, `{"value":"x"}`, ``) }, true, smartcar.KeyUnknown},
		"as it was before v3": {func() string { return `{"code":"connectivitystatus-isdigitalkeypaired","body":{"value":true}}` }, true, smartcar.KeyInstalled},
		"in upper case":       {func() string { return signalEntry(key, `{"value":"success"}`, `{"value":true}`, ``) }, true, smartcar.KeyInstalled},
		"required by a signal": {func() string {
			return signalEntry(signals.WheelStyle, failed("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED"), `{"value":"x"}`, ``)
		}, false, smartcar.KeyMissing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMadeUp(t, aModelY)
				m.signals = []string{odometerEntry(now()), tt.entry()}
				_, err := m.Odometer(t.Context())
				require.NoError(t, err)
				require.Len(t, m.tap.to("/v3/"), 2, "make and model, and the signals")
				access, err := m.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.state, access.Key.State)
				require.Equal(t, tt.open, access.NextRead.IsZero())
				_, err = m.Odometer(t.Context())
				if tt.open {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, smartcar.ErrRateLimited)
				}
				require.Len(t, m.tap.to("/v3/vehicles/v/signals"), 1+btoi(tt.open))
			})
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// What opens on "cannot be had" is closed by the server's own word.
func TestOpenUntilTheServerSaysOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMadeUp(t, aModelY)
		incapable := signalEntry(signals.ConnectivityStatusIsDigitalKeyPaired, failed("COMPATIBILITY", "VEHICLE_NOT_CAPABLE"), ``, ``)
		m.signals = []string{odometerEntry(time.Now()), incapable}
		for range 5 {
			_, err := m.Odometer(t.Context())
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		access, err := m.Access(t.Context())
		require.NoError(t, err)
		require.False(t, access.NeedsKey, "nobody is nagged for what cannot be known")
		require.True(t, access.VirtualKeyURL.IsZero(), "nor shown a link")
		m.command = respond(400, `{"errors":[{"status":"400","type":"CONNECTED_SERVICES_ACCOUNT","code":"VIRTUAL_KEY_REQUIRED","resolution":{"type":"ACTION_REQUIRED","url":"https://www.tesla.com/_ak/smartcar.com"}}]}`)
		_, err = m.Lock(t.Context())
		require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
		m.requireKey(t, smartcar.KeyMissing, smartcar.KeyFromError)
		m.read(t) // which still cannot say it
		m.requireKey(t, smartcar.KeyMissing, smartcar.KeyFromError)
		_, err = m.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		access, err = m.Access(t.Context())
		require.NoError(t, err)
		require.True(t, access.NeedsKey)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", access.VirtualKeyURL.String())
		_, err = m.Lock(t.Context())
		require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
		require.Len(t, m.tap.to("/commands"), 1)
		time.Sleep(14 * time.Minute)
		_, err = m.Lock(t.Context())
		require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
		require.Len(t, m.tap.to("/commands"), 1)
		time.Sleep(2 * time.Minute)
		_, err = m.Lock(t.Context())
		require.NoError(t, err, "the evidence is old: the server decides")
		m.requireKey(t, smartcar.KeyInstalled, smartcar.KeyFromCommand)
		_, err = m.Odometer(t.Context())
		require.NoError(t, err)
	})
}

// Before anybody has said so, nobody is asked for the key, and who wants to offer
// the link has it.
func TestLinkBeforeTheKeyIsKnownOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMadeUp(t, aModelY)
		access, err := m.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyUnknown, access.Key.State)
		require.False(t, access.NeedsKey)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", access.VirtualKeyURL.String())
	})
}

// Evidence goes by when it was so, not by when it arrived.
func TestOlderEvidenceDoesNotWin(t *testing.T) {
	paired := func(value bool, meta string) string {
		return signalEntry(signals.ConnectivityStatusIsDigitalKeyPaired, success, fmt.Sprintf(`{"value":%v}`, value), meta)
	}
	synctest.Test(t, func(t *testing.T) {
		m := newMadeUp(t, aModelY)
		began := time.Now().UTC()
		show := func(value bool, meta string) {
			m.signals = []string{odometerEntry(time.Now()), paired(value, meta)}
			m.read(t)
		}
		show(false, oemTime(began.Add(-time.Hour)))
		m.requireKey(t, smartcar.KeyMissing, smartcar.KeyFromSignal)
		time.Sleep(16 * time.Minute)
		_, err := m.Lock(t.Context())
		require.NoError(t, err)
		m.requireKey(t, smartcar.KeyInstalled, smartcar.KeyFromCommand)
		time.Sleep(time.Minute)
		show(false, oemTime(began.Add(time.Minute)))
		m.requireKey(t, smartcar.KeyInstalled, smartcar.KeyFromCommand)
		show(false, oemTime(time.Now()))
		m.requireKey(t, smartcar.KeyMissing, smartcar.KeyFromSignal)
		show(true, oemTime(began))
		m.requireKey(t, smartcar.KeyMissing, smartcar.KeyFromSignal)
		time.Sleep(time.Minute)

		// Without the car's own time, Smartcar's counts.
		show(true, fmt.Sprintf(`"retrievedAt":%d,"ingestedAt":0`, began.UnixMilli()))
		m.requireKey(t, smartcar.KeyMissing, smartcar.KeyFromSignal)
		show(true, fmt.Sprintf(`"ingestedAt":%q`, time.Now().UTC().Format(time.RFC3339)))
		m.requireKey(t, smartcar.KeyInstalled, smartcar.KeyFromSignal)
		time.Sleep(time.Minute)

		// A clock that is ahead does not outlive what comes next.
		show(false, oemTime(began.Add(1000*time.Hour)))
		m.requireKey(t, smartcar.KeyMissing, smartcar.KeyFromSignal)
		time.Sleep(16 * time.Minute)
		_, err = m.Lock(t.Context())
		require.NoError(t, err)
		m.requireKey(t, smartcar.KeyInstalled, smartcar.KeyFromCommand)
		require.NoError(t, m.SetKeyState(t.Context(), smartcar.KeyMissing))
		m.requireKey(t, smartcar.KeyMissing, smartcar.KeyFromApplication)
	})
}

// The option for the day on which the signal turns out to mean another key.
func TestWithoutKeySignal(t *testing.T) {
	for name, read := range map[string][]string{
		"false":  {signalEntry(signals.ConnectivityStatusIsDigitalKeyPaired, success, `{"value":false}`, ``)},
		"true":   {signalEntry(signals.ConnectivityStatusIsDigitalKeyPaired, success, `{"value":true}`, ``)},
		"failed": {signalEntry(signals.ConnectivityStatusIsDigitalKeyPaired, failed("UPSTREAM", "NO_RESPONSE"), ``, ``)},
		"absent": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMadeUp(t, aModelY, smartcar.WithoutKeySignal())
				m.signals = append(read, odometerEntry(time.Now()))
				for range 3 {
					_, err := m.Odometer(t.Context())
					require.NoError(t, err)
				}
				access, err := m.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyUnknown, access.Key.State)
				require.False(t, access.NeedsKey)
				require.NoError(t, m.SetKeyState(t.Context(), smartcar.KeyMissing))
				_, err = m.Odometer(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
			})
		})
	}
}

// A car that proves to be a streaming one by what its signals say.
func TestAKeyRequiredInsideSignalsIsEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMadeUp(t, aFord)
		m.signals = []string{signalEntry(signals.OdometerTraveledDistance, failed("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED"), `{"value":1}`, oemTime(time.Now()))}
		read, err := m.Signals(t.Context())
		require.NoError(t, err)
		_, err = read.OdometerTraveledDistance()
		require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
		m.requireKey(t, smartcar.KeyMissing, smartcar.KeyFromError)
		_, err = m.Signals(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
	})
}

// The signals of one car are not of one age: neither proves that it streams,
// nor that it sleeps.
func TestALegacyCarWithSignalsOfManyAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMadeUp(t, aModelS2018)
		began := time.Now()
		m.signals = []string{
			odometerEntry(began.Add(-3 * time.Minute)),
			signalEntry(signals.TractionBatteryStateOfCharge, success, `{"value":50}`, oemTime(began)),
			signalEntry(signals.WheelTires, success, `{"values":[]}`, oemTime(began.Add(-9*time.Hour))),
		}
		_, err := m.TirePressure(t.Context())
		require.NoError(t, err)
		access, err := m.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.Awake, access.Wake)
		_, err = m.Odometer(t.Context())
		require.NoError(t, err)
		_, err = m.Battery(t.Context())
		require.NoError(t, err)
		access, err = m.Access(t.Context())
		require.NoError(t, err)
		require.NotContains(t, access.Why, "streams")
		battery, err := m.Battery(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, battery.Source)

		asleep := signalEntry(signals.ConnectivityStatusIsAsleep, success, `{"value":true}`, oemTime(time.Now()))
		m.signals = append(m.signals, asleep)
		m.read(t)
		access, err = m.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.Asleep, access.Wake, "as the car itself says")
	})
}

// The list of signals is a store: an error in it that is older than the word
// that the key is paired is no news.
func TestOldKeyErrorBesideANewerPairing(t *testing.T) {
	for name, tt := range map[string]struct {
		failed, paired string
		want           smartcar.KeyState
	}{
		"the error is older":       {`"ingestedAt":"2026-11-24T06:00:00Z"`, `"oemUpdatedAt":"2026-11-24T07:00:00Z"`, smartcar.KeyInstalled},
		"the error is newer":       {`"ingestedAt":"2026-11-24T07:00:00Z"`, `"oemUpdatedAt":"2026-11-24T06:00:00Z"`, smartcar.KeyMissing},
		"at the same time":         {`"ingestedAt":"2026-11-24T07:00:00Z"`, `"oemUpdatedAt":"2026-11-24T07:00:00Z"`, smartcar.KeyMissing},
		"the error is not dated":   {``, `"oemUpdatedAt":"2026-11-24T06:00:00Z"`, smartcar.KeyMissing},
		"the pairing is not dated": {`"ingestedAt":"2026-11-24T07:00:00Z"`, ``, smartcar.KeyMissing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)))
				sim := smartcartest.New()
				client, tap := tapped(t, sim)
				car := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
				tap.instead = onlyTo("/signals", func(sentRequest) *http.Response {
					return respond(200, `{"data":[
						{"attributes":{"code":"closure-islocked","status":{"value":"ERROR","error":{"type":"CONNECTED_SERVICES_ACCOUNT","code":"VIRTUAL_KEY_REQUIRED"}}},"meta":{`+tt.failed+`}},
						{"attributes":{"code":"connectivitystatus-isdigitalkeypaired","status":{"value":"SUCCESS"},"body":{"value":true}},"meta":{`+tt.paired+`}},
						{"attributes":{"code":"odometer-traveleddistance","status":{"value":"SUCCESS"},"body":{"value":5,"unit":"km"}},"meta":{}}]}`)
				})
				_, err := car.Odometer(t.Context())
				require.NoError(t, err)
				access, err := car.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.want, access.Key.State)
				if tt.want != smartcar.KeyInstalled {
					return
				}
				_, err = car.LockStatus(t.Context())
				require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired, "this is what is stored of the locks")
				access, err = car.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.want, access.Key.State)
				// Where the signal does not count, the error does.
				client, err = smartcar.New(smartcar.Config{
					ApplicationID: sim.ClientID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
				}, smartcar.WithHTTPClient(&http.Client{Transport: tap}), smartcar.WithAPI(smartcar.V3), smartcar.WithoutKeySignal())
				require.NoError(t, err)
				car = client.User("u1").Vehicle(smartcartest.ModelY)
				_, err = car.Odometer(t.Context())
				require.NoError(t, err)
				access, err = car.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyMissing, access.Key.State)
			})
		})
	}
}
