package costs

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// A Row is one thing that programs do often.
type Row struct {
	Name string
	Do   func(context.Context) error
	// Bare is the same with nothing but the standard library, or the least that comes
	// near it: see BareIs. Nil where there is none.
	Bare   func(context.Context) error
	BareIs string

	MostAllocs float64 // allocations, if above zero
	MostOfBare float64 // allocations, in those of Bare, if above zero
	MostTime   float64 // time, in that of Bare; it is shown, and not judged
	Large      bool    // one Do takes long: it is measured a few times
}

const forever = 200_000 * time.Hour // the age of any answer

// Rows are all that is measured. Testdata is the folder of the fixtures.
func Rows(testdata string) []Row {
	l := lab{testdata}
	list := l.signals()
	distance, battery := []byte(`{"distance":104.32}`), []byte(`{"percentRemaining":0.3,"range":40.5}`)
	aged := smartcar.MaxAge(forever)
	return []Row{
		{Name: "v2 odometer", Do: odometer(v2Car(distance)), Bare: bare(distance, 0), BareIs: "net/http + encoding/json", MostAllocs: 22, MostTime: 1.5},
		{Name: "v2 odometer", Do: odometer(v2Car(distance)), Bare: bare(distance, time.Minute), BareIs: "the same with Client.Timeout", MostAllocs: 22},
		{Name: "v2 odometer", Do: odometer(v2Car(distance)), Bare: byHand(distance), BareIs: "the same result by hand", MostAllocs: 22, MostTime: 1.3},
		{Name: "v2 battery", Do: batteryOf(v2Car(battery)), Bare: bare(battery, 0), BareIs: "net/http + encoding/json", MostAllocs: 22, MostTime: 1.5},
		{Name: "404", Do: l.refused("resource-not-found.path"), Bare: l.bareRefused("resource-not-found.path"), BareIs: "net/http + encoding/json", MostAllocs: 40},
		{Name: "429", Do: l.refused("rate-limit.vehicle"), Bare: l.bareRefused("rate-limit.vehicle"), BareIs: "net/http + encoding/json", MostAllocs: 45},
		{Name: "v3 odometer, list of 93 signals", Do: odometer(v3Car(list)), Bare: decodeSignals(list), BareIs: "struct decode", MostAllocs: 600, MostTime: 1.3},
		{Name: "v3 signals, all typed", Do: typedSignals(v3Car(list)), Bare: decodeSignals(list), BareIs: "struct decode", MostAllocs: 650, MostTime: 1.5},
		connectionsRow(),
		vehiclesRow(),
		{Name: "v2 snapshot of 10, read back", Do: l.snapshot(), MostAllocs: 450},
		{Name: "kept answer handed out, v2", Do: batteryOf(v2Car(battery).With(aged)), MostAllocs: 2},
		{Name: "kept answer handed out, v3", Do: odometer(v3Car(list).With(aged)), MostAllocs: 2},
		{Name: "refusal known here", Do: refusedHere(), MostAllocs: 2},
		l.webhook(),
	}
}

func v2Car(body []byte) *smartcar.Vehicle {
	return answered(smartcar.V2, smartcartest.MachE, http.StatusOK, body)
}
func v3Car(body []byte) *smartcar.Vehicle {
	return answered(smartcar.V3, smartcartest.MachE, http.StatusOK, body)
}

func odometer(v *smartcar.Vehicle) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := v.Odometer(ctx)
		return err
	}
}

func batteryOf(v *smartcar.Vehicle) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := v.Battery(ctx)
		return err
	}
}

// get makes a request as a program would that has a token and knows the path.
func get(ctx context.Context, client *http.Client) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.smartcar.com/v2.0/vehicles/"+smartcartest.MachE+"/odometer", http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer cf7ba7e9-8c5d-417d-a99f-c386cfc235cc")
	req.Header.Set("Sc-Unit-System", "metric")
	return client.Do(req)
}

func bare(body []byte, timeout time.Duration) func(context.Context) error {
	client := &http.Client{Transport: newCanned(http.StatusOK, body), Timeout: timeout}
	return func(ctx context.Context) error {
		resp, err := get(ctx, client)
		if err != nil {
			return err
		}
		var read struct{ Distance, PercentRemaining, Range float64 }
		return errors.Join(json.NewDecoder(resp.Body).Decode(&read), resp.Body.Close())
	}
}

// byHand also knows null, the request's id, the times and the units, and limits the body.
func byHand(body []byte) func(context.Context) error {
	client := &http.Client{Transport: newCanned(http.StatusOK, body)}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		resp, err := get(ctx, client)
		if err != nil {
			return err
		}
		read, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		var reading struct {
			Distance               *float64
			RequestID, Units       string
			RecordedAt, ReceivedAt time.Time
		}
		reading.RequestID, reading.Units = resp.Header.Get("Sc-Request-Id"), resp.Header.Get("Sc-Unit-System")
		reading.ReceivedAt = time.Now()
		if reading.RecordedAt, err = time.Parse(time.RFC3339Nano, resp.Header.Get("Sc-Data-Age")); err != nil {
			return err
		}
		return json.Unmarshal(read, &reading)
	}
}

var errNoError = errors.New("no error")

// refused is answered with an error each time, also where the policy would not ask again.
func (l lab) refused(name string) func(context.Context) error {
	f := l.fixture("v2/errors/" + name).Response
	v := answered(smartcar.V2, smartcartest.MachE, f.Status, f.Body).With(smartcar.IgnorePolicy())
	return func(ctx context.Context) error {
		if _, err := v.Odometer(ctx); err == nil {
			return errNoError
		}
		return nil
	}
}

func (l lab) bareRefused(name string) func(context.Context) error {
	f := l.fixture("v2/errors/" + name).Response
	client := &http.Client{Transport: newCanned(f.Status, f.Body)}
	return func(ctx context.Context) error {
		resp, err := get(ctx, client)
		if err != nil {
			return err
		}
		var read struct{ Type, Code, Description, DocURL, RequestID string }
		return errors.Join(json.NewDecoder(resp.Body).Decode(&read), resp.Body.Close())
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

func decodeSignals(list []byte) func(context.Context) error {
	return func(context.Context) error {
		var read struct{ Data []plainSignal }
		return json.Unmarshal(list, &read)
	}
}

func typedSignals(v *smartcar.Vehicle) func(context.Context) error {
	accessors := accessorsOfAll()
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

const entries = 10_000 // of a list

var errCount = errors.New("the list is not whole")

func countAll[T any](all iter.Seq2[T, error]) error {
	n := 0
	for _, err := range all {
		if err != nil {
			return err
		}
		n++
	}
	if n != entries {
		return errCount
	}
	return nil
}

func vehiclesRow() Row {
	_, user, transport := connected(smartcar.V2)
	all := newPages(entries, vehiclesPage, `{"vehicles":[%s],"paging":{"count":10000}}`, `"36ab27d0-fd9d-4455-823a-%d"`)
	transport.RoundTripper = all
	return Row{
		Name: "v2 list of 10,000 vehicles", Large: true, MostOfBare: 2, BareIs: "struct decode of the pages",
		Do: func(ctx context.Context) error { return countAll(user.Vehicles(ctx)) },
		Bare: func(ctx context.Context) error {
			return eachPage(ctx, all, "offset=%d", 0, vehiclesPage, func(d *json.Decoder) error {
				var page struct{ Vehicles []string }
				return d.Decode(&page)
			})
		},
	}
}

func connectionsRow() Row {
	client, _, transport := connected(smartcar.V3)
	all := newPages(entries, 100, `{"data":[%s],"meta":{"totalCount":10000}}`, connectionEntry)
	transport.RoundTripper = all
	return Row{
		Name: "v3 list of 10,000 connections", Large: true, MostOfBare: 1.5, BareIs: "struct decode of the pages",
		Do: func(ctx context.Context) error { return countAll(client.Connections(ctx, smartcar.ConnectionFilter{})) },
		Bare: func(ctx context.Context) error {
			return eachPage(ctx, all, "page[number]=%d", 1, 1, func(d *json.Decoder) error {
				var page struct{ Data []plainConnection }
				return d.Decode(&page)
			})
		},
	}
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

// eachPage gets pages with nothing but the standard library.
func eachPage(ctx context.Context, all pages, query string, first, step int, decode func(*json.Decoder) error) error {
	client := &http.Client{Transport: all}
	for i := range all {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.smartcar.com/?"+fmt.Sprintf(query, first+i*step), http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		if err := errors.Join(decode(json.NewDecoder(resp.Body)), resp.Body.Close()); err != nil {
			return err
		}
	}
	return nil
}

// snapshot reads ten operations in one request, and takes each result.
func (l lab) snapshot() func(context.Context) error {
	var items []string
	for _, name := range []string{
		"vin", "odometer", "location", "fuel", "battery", "charge", "charge-limit", "tire-pressure", "engine-oil", "lock-status",
	} {
		f := l.fixture("v2/reads/" + name)
		_, path, _ := strings.Cut(f.Request.Path, "{id}")
		items = append(items, fmt.Sprintf(`{"path":%q,"code":200,"headers":{"sc-data-age":"2026-09-22T12:34:51.000Z","sc-unit-system":"metric"},"body":%s}`, path, f.Response.Body))
	}
	v := v2Car(ofAFord([]byte(`{"responses":[` + strings.Join(items, ",") + `]}`)))
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

// refusedHere asks a car without its key, whose turn is used.
func refusedHere() func(context.Context) error {
	v := answered(smartcar.V2, smartcartest.Cybertruck, http.StatusOK, nil)
	return func(ctx context.Context) error {
		if _, err := v.Odometer(ctx); !errors.Is(err, smartcar.ErrRateLimited) {
			return fmt.Errorf("not refused: %w", err)
		}
		return nil
	}
}

// webhook verifies and parses an event with 50 signals.
func (l lab) webhook() Row {
	const secret, n = "amt", 50
	event := l.event(n)
	verifier := must(smartcar.NewWebhookVerifier(secret))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(event)
	signature := hex.EncodeToString(mac.Sum(nil))
	return Row{
		Name: "webhook of 50 signals, verify and parse", MostAllocs: 450, MostTime: 1.5, BareIs: "HMAC + struct decode",
		Do: func(context.Context) error {
			if err := verifier.Verify(event, signature); err != nil {
				return err
			}
			_, err := smartcar.ParseWebhookEvent(event, time.Unix(1780222662, 0))
			return err
		},
		Bare: func(context.Context) error {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write(event)
			if given, err := hex.DecodeString(signature); err != nil || !hmac.Equal(given, mac.Sum(nil)) {
				return errors.Join(errNoError, err)
			}
			var read struct {
				Data struct{ Signals []plainEventSignal }
			}
			return json.Unmarshal(event, &read)
		},
	}
}

// plainEventSignal is a signal of an event as documented.
type plainEventSignal struct {
	Code, Name, Group string
	Status            struct{ Value string }
	Body              json.RawMessage
	Meta              struct{ OEMUpdatedAt, RetrievedAt int64 }
}

func typed[S, T any](read func(S) (*T, error)) func(S) error {
	return func(s S) error {
		_, err := read(s)
		return err
	}
}
