package smartcar_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// The whole way: a client, the owner's cars, a read that knows when not to ask.
func Example() {
	ctx := context.Background()
	sim := smartcartest.New(smartcartest.WithClock(exampleMorning)) // a Smartcar for tests
	client, err := smartcar.New(smartcar.Config{
		ApplicationID:   sim.ApplicationID(),
		APIClientID:     sim.APIClientID(),
		APIClientSecret: sim.APIClientSecret(),
		RedirectURL:     sim.RedirectURL(),
		StateKey:        []byte("32 random bytes or more, kept secret"),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithClock(sim.Clock()))
	if err != nil {
		log.Fatal(err)
	}
	userID := exampleConnect(client, sim) // see the example of Connect

	for v, err := range client.User(userID).Vehicles(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		car, err := v.Attributes(ctx)
		if err != nil {
			log.Fatal(err)
		}
		battery, err := v.Battery(ctx)
		if err != nil {
			log.Fatal(err)
		}
		access, err := v.Access(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s: %.0f %%, needs the key: %t\n", car.Year, car.Model, *battery.Percent, access.NeedsKey)
	}
	// Output:
	// 2022 Mustang Mach-E: 80 %, needs the key: false
	// 2021 Model S: 80 %, needs the key: false
	// 2020 Model X: 80 %, needs the key: false
	// 2018 Model S: 80 %, needs the key: false
	// 2024 Cybertruck: 80 %, needs the key: true
	// 2023 Model Y: 80 %, needs the key: true
	// 2022 Model 3: 80 %, needs the key: false
}

// An application needs two pages: one that leads to Connect, and the redirect
// URL that Connect comes back to.
func ExampleConnect() {
	sim := smartcartest.New()
	mux := http.NewServeMux()
	app := httptest.NewServer(mux)
	defer app.Close()
	client, err := smartcar.New(smartcar.Config{
		ApplicationID:   sim.ApplicationID(),
		APIClientID:     sim.APIClientID(),
		APIClientSecret: sim.APIClientSecret(),
		RedirectURL:     app.URL + "/callback",
		StateKey:        []byte("32 random bytes or more, kept secret"),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	if err != nil {
		log.Fatal(err)
	}

	mux.HandleFunc("/connect", func(w http.ResponseWriter, r *http.Request) {
		err := client.Connect().Start(w, r, smartcar.ConnectOptions{
			Scope:      []string{smartcar.Required("read_battery"), "read_vehicle_info", "control_security"},
			ExternalID: "owner-42",
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		grant, err := client.Connect().HandleCallback(w, r)
		switch {
		case errors.Is(err, smartcar.ErrAccessDenied), errors.Is(err, smartcar.ErrUserCancelled):
			_, _ = fmt.Fprintln(w, "Nothing was connected. Try again?")
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		default:
			_, _ = fmt.Fprintf(w, "user %s is %s\n", grant.UserID, grant.ExternalID)
			if !grant.VirtualKeyURL.IsZero() {
				_, _ = fmt.Fprintf(w, "add the key on your phone: %s\n", grant.VirtualKeyURL)
			}
		}
	})

	fmt.Print(exampleBrowser(app.URL+"/connect", sim)) // what the owner's browser shows in the end
	// Output:
	// user e0514ef4-5226-41e8-8c13-8f6e8f02e27e is owner-42
	// add the key on your phone: https://www.tesla.com/_ak/smartcar.com
}

// The class of a Model S of 2021 shows with its first data.
func ExampleUser_Vehicles() {
	ctx := context.Background()
	_, user := exampleOwner()
	for v, err := range user.Vehicles(ctx) {
		if err != nil {
			log.Fatal(err) // after an error the loop ends
		}
		access, err := v.Access(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(v.ID()[:8], access.Class)
	}
	// Output:
	// 00000007 other make
	// 00000006 unknown
	// 00000005 legacy Tesla
	// 00000004 legacy Tesla
	// 00000003 streaming Tesla
	// 00000002 streaming Tesla
	// 00000001 streaming Tesla
}

// A Model Y without the virtual key answers one data request in 8 hours. The
// second one is refused here, before it costs anything.
func ExampleVehicle_Battery() {
	ctx := context.Background()
	sim, user := exampleOwner()
	v := user.Vehicle(smartcartest.ModelY)
	for range 2 {
		battery, err := v.Battery(ctx)
		var limited *smartcar.RateLimitError
		switch {
		case errors.As(err, &limited):
			fmt.Println("not before", limited.NextAllowed.UTC().Format(time.Kitchen), "because of", limited.Rule)
		case err != nil:
			log.Fatal(err)
		case battery.Percent == nil:
			fmt.Println("the car did not say") // which is not 0 %
		default:
			fmt.Printf("%.0f %%, recorded %s\n", *battery.Percent, battery.RecordedAt.UTC().Format(time.Kitchen))
		}
	}
	fmt.Println("wasted requests:", len(sim.BrokenWindows(smartcartest.ModelY)))
	// Output:
	// 80 %, recorded 9:00AM
	// not before 5:00PM because of one data request per window while the virtual key is missing
	// wasted requests: 0
}

// A command that needs the key returns the link that adds it.
func ExampleVehicle_Lock() {
	ctx := context.Background()
	sim, user := exampleOwner()
	v := user.Vehicle(smartcartest.ModelY)

	_, err := v.Lock(ctx)
	var missing *smartcar.VirtualKeyRequiredError
	if errors.As(err, &missing) {
		fmt.Println("on the phone with the Tesla app, open", missing.URL)
	}

	_ = sim.Pair(smartcartest.ModelY) // the owner does; a webhook would tell at once
	sim.Advance(20 * time.Minute)     // without one, what is known counts for 15 minutes
	result, err := v.Lock(ctx)
	if err != nil {
		log.Fatal(err, smartcar.MayHaveSucceeded(err)) // never send a command again if it may have
	}
	fmt.Println(result.Status)
	// Output:
	// on the phone with the Tesla app, open https://www.tesla.com/_ak/smartcar.com
	// SUCCESS
}

// Many reads are one request and one turn. Each has a result or an error of its own.
func ExampleVehicle_Snapshot() {
	ctx := context.Background()
	_, user := exampleOwner()
	snapshot, err := user.Vehicle(smartcartest.ModelY).Snapshot(ctx, smartcar.Battery, smartcar.Odometer, smartcar.Fuel)
	if err != nil {
		log.Fatal(err) // the request as a whole
	}
	if battery, err := snapshot.Battery(); err == nil {
		fmt.Printf("battery %.0f %%\n", *battery.Percent)
	}
	if odometer, err := snapshot.Odometer(); err == nil {
		fmt.Printf("odometer %.1f km\n", *odometer.Distance)
	}
	if _, err := snapshot.Fuel(); errors.Is(err, smartcar.ErrNotSupported) {
		fmt.Println("no fuel: the car is electric")
	}
	// Output:
	// battery 80 %
	// odometer 12001.7 km
	// no fuel: the car is electric
}

// What has no method of its own goes through the same policy and errors: here an
// endpoint for one make, which API v2.0 has.
func ExampleVehicle_Request() {
	ctx := context.Background()
	_, user := exampleOwnerOnV2()
	v := user.Vehicle(smartcartest.Model3)

	// A POST counts as a command, a GET as a read of the car.
	_, err := v.Request(ctx, smartcar.Request{
		Method: http.MethodPost, Path: "tesla/security/trunk", Body: map[string]any{"action": "OPEN"},
	})
	if err != nil {
		log.Fatal(err)
	}
	response, err := v.Request(ctx, smartcar.Request{Path: "tesla/thermometer/exterior"})
	if err != nil {
		log.Fatal(err)
	}
	var outside struct{ Temperature *float64 }
	if err := response.Decode(&outside); err != nil {
		log.Fatal(err)
	}
	fmt.Println(*outside.Temperature, "degrees Celsius")
	// Output: 12.5 degrees Celsius
}

// The link arrives in the owner's browser, where anybody can change it. A
// genuine link of Tesla's for somebody else's key is refused, too.
func ExampleParseVirtualKeyURL() {
	for _, link := range []string{
		"https://www.tesla.com/_ak/smartcar.com",
		"https://www.tesla.com/_ak/fleet.app.car",
		"https://www.tesla.com/_ak/example.com",
		"https://tesla.com.example.com/_ak/smartcar.com",
	} {
		parsed, err := smartcar.ParseVirtualKeyURL(link)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(parsed.Domain())
	}
	// Output:
	// smartcar.com
	// fleet.app.car
	// smartcar: virtual key URL refused: the key belongs to a domain that is not allowed
	// smartcar: virtual key URL refused: the host is not Tesla's
}

// Whether a car needs the key can often be told before it is connected.
func ExampleVehicleIdentity_KeyRequirement() {
	for _, car := range []smartcar.VehicleIdentity{
		{Make: "TESLA", Model: "Model Y", Year: 2023},
		{Make: "TESLA", Model: "Model S", Year: 2018},
		{Make: "TESLA", Model: "Model S", Year: 2021},
		{VIN: "5YJSA1E23MF000006"},
		{Make: "FORD", Model: "Mustang Mach-E", Year: 2022},
	} {
		fmt.Println(car.KeyRequirement().Need)
	}
	// Output:
	// required
	// not needed
	// unknown
	// not needed
	// not needed
}

// Where a read would be refused, the last answer may do. It says how old it is.
func ExampleVehicle_With() {
	ctx := context.Background()
	sim, user := exampleOwner()
	v := user.Vehicle(smartcartest.ModelY)
	if _, err := v.Battery(ctx); err != nil {
		log.Fatal(err)
	}
	sim.Advance(3 * time.Hour)

	battery, err := v.With(smartcar.AllowStale()).Battery(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.0f %%, stale: %t, from the %s, recorded %v ago\n",
		*battery.Percent, battery.Stale, battery.Source, sim.Now().Sub(battery.RecordedAt))
	// Output: 80 %, stale: true, from the cache, recorded 3h0m0s ago
}

// Watch yields when there is something new, at the car's own pace: here that of
// a 2018 Model S, which is refreshed every 5 minutes.
func ExampleVehicle_Watch() {
	ctx := context.Background()
	_, user := exampleOwner()
	seen := 0
	for snapshot, err := range user.Vehicle(smartcartest.ModelS2018).Watch(ctx, smartcar.Battery) {
		if err != nil {
			log.Fatal(err) // most programs would log it: after one that may pass, the loop goes on
		}
		battery, err := snapshot.Battery()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("recorded", battery.RecordedAt.UTC().Format(time.TimeOnly))
		if seen++; seen == 3 {
			break
		}
	}
	// Output:
	// recorded 08:55:00
	// recorded 09:00:00
	// recorded 09:05:00
}

// Access explains the policy without asking the car. On API v3 the first read of a
// Tesla is what shows whether the key is there: until then NeedsKey is false, and the
// link is there for a page that wants to offer it.
func ExampleVehicle_Access() {
	ctx := context.Background()
	_, user := exampleOwner()
	v := user.Vehicle(smartcartest.Cybertruck)
	for range 2 {
		access, err := v.Access(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(access.Class, access.Key.State, access.NeedsKey, access.VirtualKeyURL)
		if !access.NextRead.IsZero() {
			fmt.Println("next read", access.NextRead.UTC().Format(time.Kitchen)+":", access.Rule)
			continue
		}
		if _, err := v.Battery(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// streaming Tesla unknown false https://www.tesla.com/_ak/smartcar.com
	// streaming Tesla missing true https://www.tesla.com/_ak/smartcar.com
	// next read 5:00PM: one data request per window while the virtual key is missing
}

// Errors are told apart by type or by sentinel, never by their text.
func Example_errors() {
	advice := func(err error) string {
		var key *smartcar.VirtualKeyRequiredError
		switch {
		case errors.As(err, &key):
			return "show the owner this link: " + key.URL.String()
		case errors.Is(err, smartcar.ErrReconnectRequired), errors.Is(err, smartcar.ErrNotConnected):
			return "send the owner through Connect again"
		case errors.Is(err, smartcar.ErrReauthenticate):
			return "the owner must log in to the car's account again: Connect.StartReauth"
		case smartcar.MayHaveSucceeded(err):
			return "look at the car before you send the command again"
		}
		if at, ok := smartcar.NextAllowed(err); ok {
			return "come back at " + at.UTC().Format(time.Kitchen)
		}
		return fmt.Sprintf("retry later: %t", smartcar.Retryable(err))
	}

	ctx := context.Background()
	sim, user := exampleOwner()
	tesla, ford := user.Vehicle(smartcartest.ModelY), user.Vehicle(smartcartest.MachE)

	_, err := tesla.Lock(ctx)
	fmt.Println(advice(err))
	_, _ = tesla.Battery(ctx)
	_, err = tesla.Odometer(ctx)
	fmt.Println(advice(err))
	sim.Inject(smartcartest.Fault{Path: "/commands/security/lock", DropAfter: true})
	_, err = ford.Lock(ctx)
	fmt.Println(advice(err))
	sim.Inject(smartcartest.Fault{Path: "/signals", ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "AUTHENTICATION_FAILED"})
	_, err = ford.Location(ctx)
	fmt.Println(advice(err))
	sim.Inject(smartcartest.Fault{Path: "/signals", Times: 3, ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE"})
	_, err = ford.Location(ctx) // tried three times
	fmt.Println(advice(err))
	// Output:
	// show the owner this link: https://www.tesla.com/_ak/smartcar.com
	// come back at 5:00PM
	// look at the car before you send the command again
	// the owner must log in to the car's account again: Connect.StartReauth
	// retry later: true
}

// Tests of your own need neither an account nor a car.
func Example_simulator() {
	ctx := context.Background()
	sim := smartcartest.New()
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("at least 32 bytes, random outside of a test"),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithClock(sim.Clock()))
	if err != nil {
		log.Fatal(err)
	}
	var grant *smartcar.Grant // walk the owner through Connect, from your start handler to your callback
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, _ error) { grant = g })
	if _, err := sim.Walk(start, callback); err != nil {
		log.Fatal(err)
	}
	modelY := client.User(grant.UserID).Vehicle(smartcartest.ModelY)
	_, first := modelY.Battery(ctx)
	_, second := modelY.Battery(ctx)
	sim.Advance(9 * time.Hour)
	_, third := modelY.Battery(ctx)
	fmt.Println(first, errors.Is(second, smartcar.ErrRateLimited), third, sim.BrokenWindows(smartcartest.ModelY))
	// Output: <nil> true <nil> []
}

// exampleOwner is an owner who has connected a car of each kind, at nine o'clock.
func exampleOwner() (*smartcartest.Server, *smartcar.User) {
	sim := smartcartest.New(smartcartest.WithClock(exampleMorning))
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithClock(sim.Clock()))
	if err != nil {
		log.Fatal(err)
	}
	return sim, client.User(exampleConnect(client, sim))
}

// exampleOwnerOnV2 is such an owner on API v2.0.
func exampleOwnerOnV2() (*smartcartest.Server, *smartcar.User) {
	sim := smartcartest.New(smartcartest.WithClock(exampleMorning))
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithClock(sim.Clock()))
	if err != nil {
		log.Fatal(err)
	}
	return sim, client.User(exampleConnect(client, sim))
}

func exampleMorning() time.Time { return time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC) }

// exampleConnect walks Connect without a browser and without cookies.
func exampleConnect(client *smartcar.Client, sim *smartcartest.Server) (userID string) {
	const state = "once, and not to be guessed"
	authorizeURL, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{ExternalID: "owner-42"}, state)
	if err != nil {
		log.Fatal(err)
	}
	callbackURL, err := sim.Grant(authorizeURL)
	if err != nil {
		log.Fatal(err)
	}
	callback, err := smartcar.ParseCallback(httptest.NewRequest(http.MethodGet, callbackURL, nil).URL.Query())
	if err != nil {
		log.Fatal(err)
	}
	grant, err := client.Connect().Exchange(context.Background(), callback, smartcar.Expected{State: state, ExternalID: "owner-42"})
	if err != nil {
		log.Fatal(err)
	}
	return grant.UserID
}

// exampleBrowser is a browser with cookies, and an owner who agrees to everything.
func exampleBrowser(start string, sim *smartcartest.Server) (page string) {
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	toConnect, err := browser.Get(start)
	if err != nil {
		log.Fatal(err)
	}
	_ = toConnect.Body.Close()
	callbackURL, err := sim.Grant(toConnect.Header.Get("Location"))
	if err != nil {
		log.Fatal(err)
	}
	back, err := browser.Get(callbackURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = back.Body.Close() }()
	var text [1024]byte
	n, _ := back.Body.Read(text[:])
	return string(text[:n])
}
