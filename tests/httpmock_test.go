package smartcar_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/seed-498a1bc4/smartcar"
)

// The README's way to test a program with httpmock, word for word.
func TestBatteryIsLow(t *testing.T) {
	const api = "https://api.smartcar.com/v2.0"
	mock := httpmock.NewMockTransport()
	mock.RegisterResponder("GET", api+"/user", httpmock.NewStringResponder(200, `{"id":"user-1"}`))
	mock.RegisterResponder("GET", api+"/vehicles/car-1", httpmock.NewStringResponder(200, `{"id":"car-1","make":"FORD"}`))
	mock.RegisterResponder("GET", api+"/vehicles/car-1/battery", httpmock.NewStringResponder(200, `{"percentRemaining":0.12}`))

	client, err := smartcar.New(smartcar.Config{
		ClientID: "id", ClientSecret: "secret", RedirectURL: "https://example.com/callback",
	}, smartcar.WithHTTPClient(&http.Client{Transport: mock}))
	if err != nil {
		t.Fatal(err)
	}
	grant, err := client.ImportTokens(t.Context(), smartcar.Tokens{
		AccessToken: "access", RefreshToken: "refresh", Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	battery, err := client.User(grant.UserID).Vehicle("car-1").Battery(t.Context())
	if err != nil || *battery.Percent != 12 {
		t.Fatal(battery, err)
	}
}
