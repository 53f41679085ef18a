package keypage_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/keypage"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func ExampleNew() {
	client, userOf := application()
	mux := http.NewServeMux()

	page, err := keypage.New(keypage.Config{
		Who:  func(r *http.Request) (*smartcar.User, error) { return client.User(userOf(r)), nil }, // who is signed in
		Done: "/dashboard", AppName: "Carport",
	})
	if err != nil {
		panic(err)
	}
	mux.Handle("/key/", http.StripPrefix("/key", page))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/key/?vehicle="+smartcartest.ModelY, nil))
	fmt.Println(w.Code, strings.Contains(w.Body.String(), `href="https://www.tesla.com/_ak/smartcar.com"`))
	// Output: 200 true
}

// application is an application with one owner, who has connected.
func application() (client *smartcar.Client, userOf func(*http.Request) string) {
	sim := smartcartest.New()
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("at least 32 bytes, random outside of a test"),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	if err != nil {
		panic(err)
	}
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	var owner string
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, err error) {
		if err != nil {
			panic(err)
		}
		owner = g.UserID
	})
	if _, err := sim.Walk(start, callback); err != nil {
		panic(err)
	}
	return client, func(*http.Request) string { return owner }
}
