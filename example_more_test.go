package smartcar_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
)

// An application that keeps the state of Connect in its own sessions, in place of
// the cookie that Start sets.
func ExampleConnect_AuthorizeURL() {
	ctx := context.Background()
	sim, client := exampleClient()
	session := map[string]string{"state": "once, and not to be guessed", "owner": "owner-42"}

	link, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{ExternalID: session["owner"]}, session["state"])
	if err != nil {
		log.Fatal(err)
	}
	returned, err := sim.Grant(link) // the owner's browser goes there and comes back
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, returned, nil)

	callback, err := smartcar.ParseCallback(r.URL.Query())
	if err != nil {
		log.Fatal(err)
	}
	grant, err := client.Connect().Exchange(ctx, callback, smartcar.Expected{State: session["state"], ExternalID: session["owner"]})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(grant.UserID, "is", grant.ExternalID)
	// Output: e0514ef4-5226-41e8-8c13-8f6e8f02e27e is owner-42
}

// The owner has changed the password of the car's account: every read fails until
// they have logged in there again.
func ExampleConnect_StartReauth() {
	ctx := context.Background()
	sim, client := exampleClient()
	v := client.User(exampleConnect(client, sim)).Vehicle(smartcartest.MachE)
	_ = sim.RequireReauthentication(v.ID())

	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := v.Battery(r.Context())
		if errors.Is(err, smartcar.ErrReauthenticate) {
			err = client.Connect().StartReauth(w, r, v, smartcar.ReauthOptions{})
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, err error) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("renewed:", g.VehicleID == v.ID())
	})
	if _, err := sim.Walk(page, callback); err != nil { // the owner's browser
		log.Fatal(err)
	}
	_, err := v.Battery(ctx)
	fmt.Println(err)
	// Output:
	// renewed: true
	// <nil>
}

// Show the owner the link, and wait. A webhook tells when the key is there.
func ExampleVehicle_WaitForKey() {
	ctx := context.Background()
	sim, client := exampleClient()
	v := client.User(exampleConnect(client, sim)).Vehicle(smartcartest.ModelY)
	receiver, err := client.WebhookReceiver(smartcar.WebhookOptions{}, nil) // nil: the policy learns, and nobody else
	if err != nil {
		log.Fatal(err)
	}
	id, err := sim.AddWebhook(ctx, smartcartest.Webhook{CallbackURL: "https://example.com/webhooks/smartcar", Handler: receiver})
	if err != nil {
		log.Fatal(err)
	}
	if err := v.Subscribe(ctx, id); err != nil {
		log.Fatal(err)
	}
	access, err := v.Access(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("on the phone with the Tesla app, open", access.VirtualKeyURL)

	_ = sim.Pair(v.ID()) // the owner does
	if _, err := sim.Deliver(ctx); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // nothing else bounds the time
	defer cancel()
	status, err := v.WaitForKey(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.State, "from a", status.Source)
	// Output:
	// on the phone with the Tesla app, open https://www.tesla.com/_ak/smartcar.com
	// installed from a webhook event
}

// Wait returns when a read is allowed and brings something new. The clock of the
// simulator makes the eight hours pass at once.
func ExampleVehicle_Wait() {
	ctx := context.Background()
	sim, user := exampleOwner()
	v := user.Vehicle(smartcartest.Cybertruck)
	for range 2 {
		if err := v.Wait(ctx); err != nil {
			log.Fatal(err)
		}
		battery, err := v.Battery(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %.0f %%\n", sim.Now().UTC().Format(time.Kitchen), *battery.Percent)
	}
	// Output:
	// 9:00AM: 80 %
	// 5:00PM: 72 %
}

// Every sets the pace of Watch for cars that have none of their own.
func ExampleEvery() {
	ctx := context.Background()
	sim, user := exampleOwner()
	hourly := user.Vehicle(smartcartest.MachE).With(smartcar.Every(time.Hour))
	seen := 0
	for snapshot, err := range hourly.Watch(ctx, smartcar.Battery) {
		if err != nil {
			log.Fatal(err)
		}
		battery, err := snapshot.Battery()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d o'clock: %.0f %%\n", sim.Now().UTC().Hour(), *battery.Percent) // and some minutes, so that cars spread
		if seen++; seen == 3 {
			break
		}
	}
	// Output:
	// 9 o'clock: 80 %
	// 10 o'clock: 79 %
	// 11 o'clock: 78 %
}

// For a page it is enough that the answer is young: nobody is asked then, whatever
// car it is.
func ExampleMaxAge() {
	ctx := context.Background()
	sim, user := exampleOwner()
	v := user.Vehicle(smartcartest.Model3)
	for range 3 {
		battery, err := v.With(smartcar.MaxAge(10 * time.Minute)).Battery(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(sim.Now().UTC().Format(time.Kitchen), battery.Source)
		sim.Advance(6 * time.Minute)
	}
	// Output:
	// 9:00AM live
	// 9:06AM cache
	// 9:12AM live
}

// A car is subscribed to a webhook, which was made in Smartcar's dashboard. On API
// v3 Smartcar keeps the car's data from then on.
func ExampleVehicle_Subscribe() {
	ctx := context.Background()
	sim, client := exampleClient()
	v := client.User(exampleConnect(client, sim)).Vehicle(smartcartest.MachE)
	receiver, err := client.WebhookReceiver(smartcar.WebhookOptions{}, func(_ context.Context, e *smartcar.WebhookEvent) error {
		fmt.Println(e.Type, "of", e.Model)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := sim.AddWebhook(ctx, smartcartest.Webhook{Name: "Fleet", CallbackURL: "https://example.com/hook", Handler: receiver}); err != nil { // the dashboard
		log.Fatal(err)
	}
	for webhook, err := range client.Webhooks(ctx, smartcar.WebhookFilter{}) {
		if err != nil {
			log.Fatal(err)
		}
		if err := v.Subscribe(ctx, webhook.ID); err != nil {
			log.Fatal(err)
		}
		fmt.Println("subscribed to", webhook.Name)
	}
	if _, err := sim.Deliver(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// subscribed to Fleet
	// VEHICLE_STATE of Mustang Mach-E
}

// All cars of the application, whoever owns them.
func ExampleClient_Connections() {
	ctx := context.Background()
	sim, client := exampleClient()
	exampleConnect(client, sim)
	for c, err := range client.Connections(ctx, smartcar.ConnectionFilter{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(c.Make, c.Model, c.Year, c.ExternalID)
	}
	// Output:
	// FORD Mustang Mach-E 2022 owner-42
	// TESLA Model S 2021 owner-42
	// TESLA Model X 2020 owner-42
	// TESLA Model S 2018 owner-42
	// TESLA Cybertruck 2024 owner-42
	// TESLA Model Y 2023 owner-42
	// TESLA Model 3 2022 owner-42
}

// An observer sees each request and each refusal, and a diagnosis says why a car is silent.
func ExampleWithObserver() {
	ctx := context.Background()
	observer := smartcar.Observer{Event: func(_ context.Context, e smartcar.Event) {
		switch e := e.(type) {
		case smartcar.AttemptEnded:
			fmt.Println(e.Operation, "was answered with", e.StatusCode)
		case smartcar.Refused:
			fmt.Println(e.Operation, "was refused by", e.Rule)
		case smartcar.KeyChanged:
			fmt.Println("the key is", e.To)
		}
	}}
	sim, client := exampleClient(smartcar.WithObserver(observer))
	v := client.User(exampleConnect(client, sim)).Vehicle(smartcartest.ModelY)
	for range 2 {
		_, _ = v.Battery(ctx)
	}

	d, err := v.Diagnosis(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(d)
	// Output:
	// connections was answered with 200
	// attributes was answered with 200
	// battery was answered with 200
	// the key is missing
	// battery was refused by one data request per window while the virtual key is missing
	// vehicle       00000002-2023-4000-8000-000000000002
	// user          e0514ef4-5226-41e8-8c13-8f6e8f02e27e
	// why           a streaming-capable Tesla without the virtual key: one data request per window, which does not wake it; commands need the key
	// class         streaming Tesla, vin
	// key           missing, key signal, 2026-11-23T09:00:00Z
	// next read     2026-11-23T17:00:00Z, keyless-window
	// last turn     2026-11-23T09:00:00Z, data
	// last answer   2026-11-23T09:00:00Z, recorded 2026-11-23T09:00:00Z
}

// A server ends in this order: it takes no more requests, then the reads whose
// callers have left come back, so that no turn of a car is lost.
func ExampleClient_Drain() {
	_, client := exampleClient()
	server := &http.Server{Addr: "localhost:8080"}

	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	fmt.Println(errors.Join(server.Shutdown(ctx), client.Drain(ctx)))
	// Output: <nil>
}

// Tokens that another library has obtained on API v2.0. From now on they belong to
// this client, which renews them.
func ExampleClient_ImportTokens() {
	ctx := context.Background()
	sim := smartcartest.New()
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	if err != nil {
		log.Fatal(err)
	}
	access, refresh := exampleOldTokens(sim)

	grant, err := client.ImportTokens(ctx, smartcar.Tokens{AccessToken: access, RefreshToken: refresh})
	if err != nil {
		log.Fatal(err)
	}
	battery, err := client.User(grant.UserID).Vehicle(smartcartest.Model3).Battery(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(grant.UserID, *battery.Percent, "%")
	// Output: e0514ef4-5226-41e8-8c13-8f6e8f02e27e 80 %
}

// Owners who have connected on API v2.0 are found again on v3: nobody has to
// connect again.
func ExampleClient_MoveToV3() {
	ctx := context.Background()
	sim := smartcartest.New()
	shared := store.NewMemory() // the database of the program
	over := smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()})
	config := smartcar.Config{
		ApplicationID: sim.ApplicationID(), RedirectURL: sim.RedirectURL(),
		ClientSecret: sim.ClientSecret(),
		APIClientID:  sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
	}
	old, err := smartcar.New(config, smartcar.WithAPI(smartcar.V2), smartcar.WithStore(shared), over)
	if err != nil {
		log.Fatal(err)
	}
	userID := exampleConnect(old, sim) // months ago
	for _, err := range old.User(userID).Vehicles(ctx) {
		if err != nil {
			log.Fatal(err)
		}
	}

	client, err := smartcar.New(config, smartcar.WithAPI(smartcar.V3), smartcar.WithStore(shared), over)
	if err != nil {
		log.Fatal(err)
	}
	report, err := client.MoveToV3(ctx, smartcar.MoveOptions{}) // look first: nothing is written
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Connections, "connections,", report.Matched, "known, missing users:", len(report.MissingUsers))
	if _, err := client.MoveToV3(ctx, smartcar.MoveOptions{Apply: true}); err != nil {
		log.Fatal(err)
	}
	_, err = client.User(userID).Vehicle(smartcartest.Model3).Battery(ctx)
	fmt.Println(err)
	// Output:
	// 7 connections, 7 known, missing users: 0
	// <nil>
}

// exampleClient is an application with webhooks, at nine o'clock.
func exampleClient(opts ...smartcar.Option) (*smartcartest.Server, *smartcar.Client) {
	sim := smartcartest.New(smartcartest.WithClock(exampleMorning))
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("32 random bytes or more, kept secret"),
		ManagementToken: sim.ManagementToken(),
	}, append(opts, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithClock(sim.Clock()))...)
	if err != nil {
		log.Fatal(err)
	}
	return sim, client
}

// exampleOldTokens are those that another library keeps.
func exampleOldTokens(sim *smartcartest.Server) (access, refresh string) {
	back, err := sim.Grant("https://connect.smartcar.com/oauth/authorize?response_type=code&client_id=" + sim.ClientID())
	if err != nil {
		log.Fatal(err)
	}
	code := httptest.NewRequest(http.MethodGet, back, nil).URL.Query().Get("code")
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {sim.RedirectURL()}}
	r := httptest.NewRequest(http.MethodPost, "https://auth.smartcar.com/oauth/token", strings.NewReader(form.Encode()))
	r.SetBasicAuth(sim.ClientID(), sim.ClientSecret())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	sim.ServeHTTP(w, r)
	var pair struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.NewDecoder(w.Body).Decode(&pair); err != nil {
		log.Fatal(err)
	}
	return pair.Access, pair.Refresh
}

// A program that moves from API v2.0 to v3: one option is the difference, and the
// credentials of both may stand beside each other.
func ExampleWithAPI() {
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: "8229df9f-91a0-4ff0-a1ae-a1f38ee24d07", RedirectURL: "https://example.com/callback",
		ClientSecret: "secret of v2.0",                                // Legacy credentials
		APIClientID:  "client_01ABC", APIClientSecret: "secret of v3", // API credentials
	}, smartcar.WithAPI(smartcar.V3)) // needed because the credentials of both are there
	if err != nil {
		log.Fatal(err)
	}
	link, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{ExternalID: "acct_42"}, "state-of-this-session")
	fmt.Println(link, err)
	// Output: https://connect.smartcar.com/oauth/authorize?application_id=8229df9f-91a0-4ff0-a1ae-a1f38ee24d07&external_id=acct_42&redirect_uri=https%3A%2F%2Fexample.com%2Fcallback&response_type=none&state=state-of-this-session <nil>
}

// Everything API v3 has stored of a car, in one request: typed accessors, and
// the last known value only where it is asked for.
func ExampleVehicle_Signals() {
	_, user := exampleOwner()
	read, err := user.Vehicle(smartcartest.Model3).Signals(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	charge, err := read.TractionBatteryStateOfCharge()
	fmt.Println(*charge.Value, charge.Unit, err)
	_, err = read.ChargeChargeRate()
	fmt.Println(errors.Is(err, smartcar.ErrVehicleState))
	rate, err := read.LastKnown().ChargeChargeRate()
	fmt.Println(*rate.Value, rate.Unit, rate.Stale, err)
	// Output:
	// 80 percent <nil>
	// true
	// 30 km/h true <nil>
}

// A receiver of webhooks: the policy learns from each event, and the
// application gets it typed.
func ExampleClient_WebhookReceiver() {
	ctx, mux := context.Background(), http.NewServeMux()
	sim := smartcartest.New(smartcartest.WithClock(exampleMorning))
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), ManagementToken: sim.ManagementToken(), // the secret of the webhooks
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithClock(sim.Clock()))
	if err != nil {
		log.Fatal(err)
	}
	car := client.User(exampleConnect(client, sim)).Vehicle(smartcartest.ModelY)

	receiver, err := client.WebhookReceiver(smartcar.WebhookOptions{}, func(_ context.Context, e *smartcar.WebhookEvent) error {
		switch e.Type {
		case smartcar.EventVehicleState:
			if charge, err := e.Signals.TractionBatteryStateOfCharge(); err == nil && charge.Value != nil {
				fmt.Println("battery:", *charge.Value, "%")
			}
		case smartcar.EventVehicleError:
			for _, problem := range e.Errors {
				fmt.Println(problem.Err.Code, "resolved:", problem.Resolved())
			}
		}
		return nil // an error makes Smartcar send the event again
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("POST /webhooks/smartcar", receiver)

	// In Smartcar's dashboard, and in its own time:
	id, err := sim.AddWebhook(ctx, smartcartest.Webhook{CallbackURL: "https://example.com/webhooks/smartcar", Handler: mux})
	if err != nil {
		log.Fatal(err)
	}
	if err := car.Subscribe(ctx, id); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		if _, err := sim.Deliver(ctx); err != nil {
			log.Fatal(err)
		}
		_ = sim.Pair(car.ID()) // the owner adds the key
	}
	access, err := car.Access(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("key:", access.Key.State, "from a", access.Key.Source)
	// Output:
	// VIRTUAL_KEY_REQUIRED resolved: false
	// VIRTUAL_KEY_REQUIRED resolved: true
	// battery: 80 %
	// key: installed from a webhook event
}
