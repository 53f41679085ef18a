package smartcartest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// A whole life with plain net/http: Connect, the token, and two requests to a
// car without the virtual key, of which the second is one too many.
func Example() {
	sim := smartcartest.New()
	client := &http.Client{Transport: sim.Transport()}

	back, err := sim.Grant("https://connect.smartcar.com/oauth/authorize?response_type=code&client_id=" + sim.ClientID())
	if err != nil {
		log.Fatal(err)
	}
	callback, err := url.Parse(back)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("key:", callback.Query().Get("virtual_key_url"))

	form := url.Values{"grant_type": {"authorization_code"}, "code": {callback.Query().Get("code")}}
	req, err := http.NewRequest(http.MethodPost, "https://auth.smartcar.com/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		log.Fatal(err)
	}
	req.SetBasicAuth(sim.ClientID(), sim.ClientSecret())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := client.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil {
		log.Fatal(err)
	}
	_ = res.Body.Close()

	for range 2 {
		req, err := http.NewRequest(http.MethodGet, "https://api.smartcar.com/v2.0/vehicles/"+smartcartest.ModelY+"/battery", nil)
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token.Access)
		res, err := client.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		_ = res.Body.Close()
		fmt.Printf("%d, retry after %q\n", res.StatusCode, res.Header.Get("Retry-After"))
	}
	fmt.Println("broken windows:", len(sim.BrokenWindows(smartcartest.ModelY)))
	// Output:
	// key: https://www.tesla.com/_ak/smartcar.com
	// 200, retry after ""
	// 429, retry after "28800"
	// broken windows: 1
}

// A webhook of a car that gets its key, received in memory.
func ExampleServer_AddWebhook() {
	ctx := context.Background()
	sim := smartcartest.New()
	if _, err := sim.Grant("https://connect.smartcar.com/oauth/authorize?response_type=code&client_id=" + sim.ClientID()); err != nil {
		log.Fatal(err)
	}
	receiver := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct {
			EventType string
			Data      struct {
				Challenge string
				Errors    []struct{ Code, State string }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			log.Fatal(err)
		}
		if event.EventType == "VERIFY" {
			mac := hmac.New(sha256.New, []byte(sim.ManagementToken()))
			mac.Write([]byte(event.Data.Challenge))
			fmt.Fprintf(w, `{"challenge":"%x"}`, mac.Sum(nil))
		}
		fmt.Println(event.EventType, event.Data.Errors)
	})
	id, err := sim.AddWebhook(ctx, smartcartest.Webhook{CallbackURL: "https://example.com/hook", Handler: receiver})
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(sim.Subscribe(id, smartcartest.ModelY), sim.Pair(smartcartest.ModelY)); err != nil {
		log.Fatal(err)
	}
	if _, err := sim.Deliver(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// VERIFY []
	// VEHICLE_ERROR [{VIRTUAL_KEY_REQUIRED ERROR}]
	// VEHICLE_ERROR [{VIRTUAL_KEY_REQUIRED RESOLVED}]
	// VEHICLE_STATE []
}

// The server form, for programs that take origins from the environment.
func ExampleServer_Start() {
	sim := smartcartest.New()
	origin, stop, err := sim.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	res, err := http.Get(origin + "/v2.0/user")
	if err != nil {
		log.Fatal(err)
	}
	_ = res.Body.Close()
	fmt.Println(res.Status)
	for _, line := range sim.Environment(origin)[:1] {
		fmt.Println(line)
	}
	// Output:
	// 401 Unauthorized
	// SMARTCAR_CLIENT_ID=8229df9f-91a0-4ff0-a1ae-a1f38ee24d07
}
