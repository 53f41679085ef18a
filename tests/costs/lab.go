// Package costs holds what is measured of the client beside doing without it: one list
// for the tests, which hold the allocations, and for the bench, which shows times, too.
// Its functions panic if a fixture cannot be read.
package costs

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/catalog"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// lab is where the fixtures are.
type lab struct{ testdata string }

// fixture is a file of testdata.
type fixture struct {
	Request  struct{ Path string }
	Response struct {
		Status int
		Body   json.RawMessage
	}
}

func (l lab) fixture(name string) (f fixture) {
	if err := json.Unmarshal(must(os.ReadFile(filepath.Join(l.testdata, name+".json"))), &f); err != nil {
		panic(err)
	}
	return f
}

// signals is an answer of API v3 with every documented signal, as its fixture has it.
func (l lab) signals() []byte {
	list := make([]json.RawMessage, 0, 100)
	var included json.RawMessage
	for _, row := range catalog.Signals() {
		var one struct{ Data, Included json.RawMessage }
		if err := json.Unmarshal(l.fixture("v3/signals/"+row.Code()).Response.Body, &one); err != nil {
			panic(err)
		}
		list, included = append(list, one.Data), one.Included
	}
	body := must(json.Marshal(map[string]any{"data": list, "included": included, "meta": map[string]any{"totalCount": len(list)}}))
	return ofAFord(body)
}

// ofAFord replaces the VIN of the fixtures: answers of that car would be kept between
// its refreshes, and not asked for.
func ofAFord(body []byte) []byte {
	return bytes.ReplaceAll(body, []byte("5YJSA1CN5DFP00101"), []byte("3FMTK3SU5MMA00001"))
}

// event is a webhook event with n of the signals.
func (l lab) event(n int) []byte {
	var all struct {
		Data []struct {
			Attributes map[string]any       `json:"attributes"`
			Meta       map[string]time.Time `json:"meta"`
		} `json:"data"`
	}
	if err := json.Unmarshal(l.signals(), &all); err != nil {
		panic(err)
	}
	entries := make([]map[string]any, n)
	for i := range entries {
		entries[i] = all.Data[i].Attributes
		entries[i]["meta"] = map[string]int64{
			"oemUpdatedAt": all.Data[i].Meta["oemUpdatedAt"].UnixMilli(), "retrievedAt": all.Data[i].Meta["retrievedAt"].UnixMilli(),
		}
	}
	return must(json.Marshal(map[string]any{
		"eventId": "bead8cd7-2d6b-4c1a-8b1f-0f6f9f3f5a11", "eventType": "VEHICLE_STATE",
		"data": map[string]any{
			"user":    map[string]any{"id": "e0514ef4-5226-11e8-8c13-8f6e8f02e27e"},
			"vehicle": map[string]any{"id": smartcartest.MachE, "make": "FORD", "model": "Mustang Mach-E", "year": 2022, "mode": "live"},
			"signals": entries,
		},
		"triggers": []map[string]any{{"type": "SIGNAL_UPDATED", "signal": map[string]any{"name": "Voltage", "group": "Charge"}}},
		"meta":     map[string]any{"version": "4.0", "deliveryId": "d", "webhookId": "w", "signalCount": n, "deliveredAt": 1780222662364},
	}))
}

// canned answers every request alike, as cheaply as can be.
type canned struct {
	status int
	body   []byte
	header http.Header
}

func newCanned(status int, body []byte) *canned {
	return &canned{status: status, body: body, header: http.Header{
		"Content-Type": {"application/json"}, "Sc-Request-Id": {"5dea93a1-3f79-4246-90c5-89610a20471b"},
		"Sc-Data-Age": {"2018-06-20T01:33:37.078Z"}, "Sc-Unit-System": {"metric"},
	}}
}

func (c *canned) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: c.status, Header: c.header, ContentLength: int64(len(c.body)), Body: io.NopCloser(bytes.NewReader(c.body)),
	}, nil
}

// pages answers requests for the pages of a collection: for those of vehicles by
// their offset, and for others by their number.
type pages [][]byte

const vehiclesPage = 50

// newPages makes pages of n entries, with a number in place of each %d. What stands
// around the entries has %s in place of them.
func newPages(n, size int, around, entry string) (all pages) {
	for from := 0; from < n; from += size {
		var entries []string
		for i := from; i < min(n, from+size); i++ {
			entries = append(entries, strings.ReplaceAll(entry, "%d", strconv.Itoa(100_000+i)))
		}
		all = append(all, []byte(strings.Replace(around, "%s", strings.Join(entries, ","), 1)))
	}
	return all
}

func (p pages) RoundTrip(r *http.Request) (*http.Response, error) {
	query := r.URL.Query()
	i, _ := strconv.Atoi(query.Get("page[number]"))
	if i--; i < 0 {
		offset, _ := strconv.Atoi(query.Get("offset"))
		i = offset / vehiclesPage
	}
	return newCanned(http.StatusOK, p[i]).RoundTrip(r)
}

const connectionEntry = `{"id":"553c49e4-08b0-4d28-b83c-%d","type":"connection","attributes":{"permissions":["control_charge","read_battery","read_vehicle_info"],` +
	`"vehicle":{"make":"TESLA","model":"Model S","year":2014,"mode":"live","powertrainType":"BEV"},"user":{"id":"e0514ef4-5226-11e8-8c13-%d","externalId":"acct_42"}},` +
	`"relationships":{"vehicle":{"data":{"id":"36ab27d0-fd9d-4455-823a-%d","type":"vehicle"}},"user":{"data":{"id":"e0514ef4-5226-11e8-8c13-%d","type":"user"}}},` +
	`"meta":{"createdAt":"2025-05-03T02:45:45.349Z","updatedAt":"2026-06-21T02:56:21.130Z"}}`

// switched lets a client connect to the simulator first.
type switched struct{ http.RoundTripper }

// connected is a client with a user, at the simulator until the transport is switched.
func connected(api smartcar.API, opts ...smartcar.Option) (*smartcar.Client, *smartcar.User, *switched) {
	sim := smartcartest.New()
	transport := &switched{sim.Transport()}
	client := must(smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: make([]byte, 32),
	}, append([]smartcar.Option{smartcar.WithHTTPClient(&http.Client{Transport: transport}), smartcar.WithAPI(api)}, opts...)...))
	var grant *smartcar.Grant
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := client.Connect().Start(w, r, smartcar.ConnectOptions{}); err != nil {
			panic(err)
		}
	})
	must(sim.Walk(start, client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, err error) {
		grant = must(g, err)
	})))
	return client, client.User(grant.UserID), transport
}

// answered is a car that has been read, and is then answered alike whatever is asked.
func answered(api smartcar.API, id string, status int, body []byte) *smartcar.Vehicle {
	_, user, transport := connected(api)
	v := user.Vehicle(id)
	must(v.Odometer(context.Background()))
	transport.RoundTripper = newCanned(status, body)
	return v
}
