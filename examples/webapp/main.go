// Command webapp is a small but complete web application: sign in, connect a
// car, add the virtual key, see the cars and lock them.
//
//	go run ./examples/webapp
//
// prints the address to open. Without credentials a simulated Smartcar runs
// beside it, with pages to click through Connect and the Tesla app; nothing
// leaves the computer. With SMARTCAR_APPLICATION_ID, SMARTCAR_API_CLIENT_ID,
// SMARTCAR_API_CLIENT_SECRET and SMARTCAR_REDIRECT_URI in the environment it is
// real: register http://localhost:8080/callback in Smartcar's dashboard and use that.
// The key is known from the car's data and from webhooks: with
// SMARTCAR_MANAGEMENT_TOKEN it receives them at /webhooks/smartcar.
//
// With SMARTCAR_CLIENT_ID and SMARTCAR_CLIENT_SECRET, or with -api v2.0, it speaks
// the API that Smartcar ends.
//
// It is meant to be copied from. What an application of yours has to replace is
// in session.go: who is signed in, and where that is kept. Sessions, users and
// tokens are in memory here and end with the process; see [smartcar.WithStore].
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "webapp:", err)
		os.Exit(1)
	}
}

const (
	// answerTime bounds a request to Smartcar, pageTime a page of ours: a page
	// may need several. Smartcar itself allows a car 300 seconds; an owner in
	// front of a browser does not.
	answerTime = 30 * time.Second
	pageTime   = 2 * time.Minute
	// drainTime is what pages under way get when the program ends.
	drainTime = 15 * time.Second
)

// run serves until ctx ends.
func run(ctx context.Context, args []string, out, logs io.Writer) error {
	flags := flag.NewFlagSet("webapp", flag.ContinueOnError)
	flags.SetOutput(logs)
	listen := flags.String("listen", "localhost:8080", "with the simulator: `address` to serve; port 0 picks a free one")
	version := flags.String("api", "", "the `version` of Smartcar's API: v3 or v2.0; default v3, unless the credentials are of v2.0 alone")
	verbose := flags.Bool("v", false, "log every request to Smartcar, too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: level}))

	api := chooseAPI(*version)
	setup, err := configure(*listen, api)
	if err != nil {
		return err
	}
	defer setup.stop()
	client, err := smartcar.New(setup.config, smartcar.WithAPI(api),
		setup.origins, smartcar.WithLogger(logger), smartcar.WithTimeout(answerTime))
	if err != nil {
		return err
	}
	a, err := newApp(client, logger, setup)
	if err != nil {
		return err
	}
	if setup.webhooks != nil {
		go setup.webhooks(ctx, a.webhooks) // until ctx ends
	}
	_, _ = fmt.Fprintf(out, "Open this address in your browser: %s\n", setup.home)
	return serve(ctx, setup.listener, a, logger)
}

// serve ends gracefully: what is under way gets a moment.
func serve(ctx context.Context, l net.Listener, a *app, logger *slog.Logger) error {
	server := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      pageTime + 5*time.Second, // the key page lifts it for its events
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(a.key.Close) // its events would go on for an hour
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}

// chooseAPI is v3, unless the environment has credentials of v2.0 alone.
func chooseAPI(asked string) smartcar.API {
	if asked == "" && os.Getenv("SMARTCAR_CLIENT_SECRET") != "" && os.Getenv("SMARTCAR_API_CLIENT_SECRET") == "" {
		return smartcar.V2
	}
	return smartcar.API(cmp.Or(asked, string(smartcar.V3)))
}

// setup is what differs between the simulator and the real Smartcar.
type setup struct {
	config   smartcar.Config
	origins  smartcar.Option
	listener net.Listener
	home     string
	stop     func()
	// webhooks has the simulator send events to the receiver; nil where it does not.
	webhooks func(ctx context.Context, receiver http.Handler)
}

func configure(listen string, api smartcar.API) (setup, error) {
	config := smartcar.Config{
		ApplicationID: os.Getenv("SMARTCAR_APPLICATION_ID"), // v3
		APIClientID:   os.Getenv("SMARTCAR_API_CLIENT_ID"), APIClientSecret: os.Getenv("SMARTCAR_API_CLIENT_SECRET"),
		ClientID: os.Getenv("SMARTCAR_CLIENT_ID"), ClientSecret: os.Getenv("SMARTCAR_CLIENT_SECRET"), // v2.0
		ManagementToken: os.Getenv("SMARTCAR_MANAGEMENT_TOKEN"), StateKey: newStateKey(),
	}
	redirect := os.Getenv("SMARTCAR_REDIRECT_URI")
	if cmp.Or(config.ClientID, config.ApplicationID, config.APIClientID, redirect) == "" {
		return simulated(listen, api)
	}
	u, err := loopbackURL(redirect)
	if err != nil {
		return setup{}, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")))
	if err != nil {
		return setup{}, err
	}
	config.RedirectURL = u.String()
	return setup{
		config: config, origins: smartcar.WithEnvironment(), listener: l, home: u.ResolveReference(&url.URL{Path: "/"}).String(),
		stop: func() {},
	}, nil
}

// simulated runs a Smartcar of our own beside the application.
func simulated(listen string, api smartcar.API) (setup, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return setup{}, err
	}
	sim := smartcartest.New()
	origin, stop, err := sim.Start()
	if err != nil {
		return setup{}, errors.Join(err, l.Close())
	}
	u, err := url.Parse(origin)
	if err != nil {
		stop()
		return setup{}, errors.Join(err, l.Close())
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	home := "http://" + net.JoinHostPort("localhost", port) + "/"
	made := setup{
		config: smartcar.Config{
			ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(),
			APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
			RedirectURL: home + "callback", StateKey: newStateKey(),
		},
		origins: smartcar.WithOrigins(smartcar.Origins{
			Connect: u, Auth: u, API: u, Management: u, IAM: u, APIv3: u, ManagementV3: u, Compatibility: u,
		}),
		listener: l, home: home, stop: stop,
	}
	if api == smartcar.V3 {
		made.config.ManagementToken = sim.ManagementToken()
		made.webhooks = func(ctx context.Context, receiver http.Handler) {
			_, _ = sim.AddWebhook(ctx, smartcartest.Webhook{Handler: receiver, AutoSubscribe: true})
			_ = sim.RunWebhooks(ctx, time.Second)
		}
	}
	return made, nil
}

// teslaAppOf is where the key can be added in a simulation, which the real link
// to tesla.com cannot reach. It is empty where Smartcar is real.
func teslaAppOf(connect *url.URL) template.HTML {
	if !isLoopback(connect.Hostname()) {
		return ""
	}
	link := connect.JoinPath("_ak", "smartcar.com").String()
	return `<h2>This is a simulation</h2><p>The link above leads to Tesla, which knows nothing of simulated cars. Instead, <a href="` +
		template.HTML(template.HTMLEscapeString(link)) + `" target="_blank" rel="noopener noreferrer">open the simulated Tesla app</a>, add a key there, and see this page change.</p>`
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// loopbackURL refuses a redirect URL that this program cannot serve by itself.
func loopbackURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) || u.Path != "/callback" {
		return nil, errors.New("SMARTCAR_REDIRECT_URI must be like http://localhost:8080/callback, and be registered in Smartcar's dashboard")
	}
	return u, nil
}

// newStateKey is good for one process. Replicas share one from a secret store.
func newStateKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails; see crypto/rand
	return key
}
