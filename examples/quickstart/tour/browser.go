package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/seed-498a1bc4/smartcar"
)

func hasCredentials() bool {
	return cmp.Or(os.Getenv("SMARTCAR_CLIENT_ID"), os.Getenv("SMARTCAR_APPLICATION_ID"), os.Getenv("SMARTCAR_REDIRECT_URI")) != ""
}

// chooseAPI is v3, unless the environment has credentials of v2.0 alone.
func chooseAPI(asked string) smartcar.API {
	if asked == "" && os.Getenv("SMARTCAR_CLIENT_SECRET") != "" && os.Getenv("SMARTCAR_API_CLIENT_SECRET") == "" {
		return smartcar.V2
	}
	return smartcar.API(cmp.Or(asked, string(smartcar.V3)))
}

// inBrowser runs Connect with a real browser and prints the table for the cars
// that were connected.
func inBrowser(ctx context.Context, out io.Writer, api smartcar.API, mode smartcar.ConnectMode, lock bool) error {
	redirect, err := loopbackURL(os.Getenv("SMARTCAR_REDIRECT_URI"))
	if err != nil {
		return err
	}
	client, err := smartcar.New(smartcar.Config{
		ApplicationID:   os.Getenv("SMARTCAR_APPLICATION_ID"), // v3
		APIClientID:     os.Getenv("SMARTCAR_API_CLIENT_ID"),
		APIClientSecret: os.Getenv("SMARTCAR_API_CLIENT_SECRET"),
		ClientID:        os.Getenv("SMARTCAR_CLIENT_ID"), // v2.0
		ClientSecret:    os.Getenv("SMARTCAR_CLIENT_SECRET"),
		RedirectURL:     redirect.String(),
		StateKey:        newStateKey(),
	}, smartcar.WithAPI(api), smartcar.WithEnvironment(), smartcar.WithMode(mode))
	if err != nil {
		return err
	}

	grant, err := serveConnect(ctx, out, client, redirect, lock)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Connected. The user is %s.\n", grant.UserID)
	if !grant.VirtualKeyURL.IsZero() {
		fmt.Fprintf(out, "A car needs the virtual key: on the phone with the Tesla app, open %s\n", grant.VirtualKeyURL)
	}
	fmt.Fprintln(out)
	return table{out, time.Now, lock}.print(ctx, client.User(grant.UserID))
}

// serveConnect serves the redirect URL, and a page that leads to Connect, until
// an owner has come back with a grant.
func serveConnect(ctx context.Context, out io.Writer, client *smartcar.Client, redirect *url.URL, lock bool) (*smartcar.Grant, error) {
	// Ask for what is used, and no more. "required:" keeps the
	// owner from unticking what this program cannot do without.
	scope := []string{smartcar.Required("read_vehicle_info"), "read_vin", "read_battery"}
	if lock {
		scope = append(scope, "control_security")
	}
	start := "/"
	if redirect.Path == start {
		start = "/connect"
	}
	granted := make(chan *smartcar.Grant, 1)
	callback := client.Connect().CallbackHandler(
		func(w http.ResponseWriter, _ *http.Request, grant *smartcar.Grant, err error) {
			if err != nil {
				fmt.Fprintf(out, "Connect did not succeed: %v. Open the address again to retry.\n", err)
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			_ = connectedPage.Execute(w, grant.VirtualKeyURL.String())
			select {
			case granted <- grant:
			default: // a second tab
			}
		})
	start, end := "/", cmp.Or(redirect.Path, "/")
	if end == start {
		start = "/connect"
	}
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case start:
			if err := client.Connect().Start(w, r, smartcar.ConnectOptions{Scope: scope}); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		case end:
			callback.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})

	listener, err := net.Listen("tcp", net.JoinHostPort(redirect.Hostname(), cmp.Or(redirect.Port(), "80")))
	if err != nil {
		return nil, fmt.Errorf("cannot serve %s: %w", redirect, err)
	}
	server := &http.Server{Handler: pages, ReadTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	defer func() { // lets the last page arrive, and waits for no second tab
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = errors.Join(server.Shutdown(drain), server.Close())
	}()

	fmt.Fprintf(out, "Open this address in your browser: %s\n", redirect.ResolveReference(&url.URL{Path: start}))
	select {
	case grant := <-granted:
		return grant, nil
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// connectedPage shows the key link, which was checked by package smartcar.
var connectedPage = template.Must(template.New("connected").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Connected</title>
<p>Connected. The table is in your terminal.
{{with .}}<p>One of your cars needs the virtual key. On the phone with the Tesla app, open <a href="{{.}}">{{.}}</a>.{{end}}
`))

// loopbackURL refuses a redirect URL that this program cannot serve by itself.
func loopbackURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("SMARTCAR_REDIRECT_URI is not set; set it beside the credentials, or set none of them to use the simulator")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("SMARTCAR_REDIRECT_URI is not a URL")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "http" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("SMARTCAR_REDIRECT_URI is %s, which this example cannot serve: "+
			"register http://localhost:8080/callback in the Smartcar dashboard and use that", u.Redacted())
	}
	return u, nil
}
