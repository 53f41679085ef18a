package otelsmartcar_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/otelsmartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func Example() {
	ctx := context.Background()
	reader := metric.NewManualReader() // in a program: go.opentelemetry.io/otel/exporters/prometheus
	meters := metric.NewMeterProvider(metric.WithReader(reader))
	observer, err := otelsmartcar.New(otelsmartcar.WithMeterProvider(meters)) // or none, and otel.SetMeterProvider
	if err != nil {
		fmt.Println(err)
		return
	}
	sim := smartcartest.New()
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(), StateKey: make([]byte, 32),
	}, smartcar.WithObserver(observer), smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	if err != nil {
		fmt.Println(err)
		return
	}
	car := connected(sim, client).Vehicle(smartcartest.ModelY) // without its key: one read in 8 hours
	_, _ = car.Battery(ctx)
	_, _ = car.Odometer(ctx)
	_, _ = car.Odometer(ctx)

	var data metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &data); err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		if m.Name != "smartcar.client.refusals" {
			continue
		}
		for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
			rule, _ := p.Attributes.Value("smartcar.rule")
			fmt.Println(m.Name, rule.AsString(), p.Value)
		}
	}
	// Output: smartcar.client.refusals keyless-window 2
}

// connected is an owner who has gone through Connect.
func connected(sim *smartcartest.Server, client *smartcar.Client) (user *smartcar.User) {
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	_, _ = sim.Walk(start, client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, grant *smartcar.Grant, _ error) {
		user = client.User(grant.UserID)
	}))
	return user
}
