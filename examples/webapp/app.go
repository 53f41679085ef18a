package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/keypage"
)

//go:embed pages.html app.css app.js
var files embed.FS

// appName is what owners know the application by.
const appName = "Carport"

type app struct {
	client   *smartcar.Client
	log      *slog.Logger
	pages    *template.Template
	sessions *sessions
	key      *keypage.Handler
	webhooks http.Handler // nil without a secret to check them by
	connect  string       // the origin of Connect, which a form of ours leads to
	host     string       // the only one we are known by
	secure   bool         // served over https
	names    sync.Map
}

func newApp(client *smartcar.Client, logger *slog.Logger, s setup) (*app, error) {
	pages, err := template.New("pages.html").Funcs(template.FuncMap{"title": titled}).ParseFS(files, "pages.html")
	if err != nil {
		return nil, err
	}
	home, err := url.Parse(s.home)
	if err != nil {
		return nil, err
	}
	link, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{}, "not used")
	if err != nil {
		return nil, err
	}
	connect, err := url.Parse(link)
	if err != nil {
		return nil, err
	}
	origin := url.URL{Scheme: connect.Scheme, Host: connect.Host}
	a := &app{
		client: client, log: logger, pages: pages, sessions: newSessions(),
		connect: origin.String(), secure: home.Scheme == "https", host: strings.TrimSuffix(home.Host, ":80"),
	}
	if s.config.ManagementToken != "" {
		// The policy learns from each event; the application has nothing to add.
		if a.webhooks, err = client.WebhookReceiver(smartcar.WebhookOptions{}, nil); err != nil {
			return nil, err
		}
	}
	a.key, err = keypage.New(keypage.Config{
		Who:  func(r *http.Request) (*smartcar.User, error) { return a.user(r), nil },
		Done: "/", AllowReturn: true, Extra: teslaAppOf(connect.ResolveReference(&url.URL{Path: "../"})), Logger: logger,
		AppName: appName,
		CSS:     ":root { --key-accent: #0f766e } @media (prefers-color-scheme: dark) { :root { --key-accent: #5eead4 } }",
	})
	return a, err
}

// user is the Smartcar user of who is signed in, or nil.
func (a *app) user(r *http.Request) *smartcar.User {
	if id := a.sessions.owner(r); id != "" {
		return a.client.User(id)
	}
	return nil
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /app.css", file("app.css"))
	mux.HandleFunc("GET /app.js", file("app.js"))
	mux.HandleFunc("POST /signin", a.signIn)
	mux.HandleFunc("POST /signout", a.signOut)
	mux.HandleFunc("POST /connect", a.startConnect)
	mux.HandleFunc("GET /callback", a.callback)
	mux.HandleFunc("GET /cars/{id}/{action}", a.confirm)
	mux.HandleFunc("POST /cars/{id}/{action}", a.act)
	mux.Handle("/key/", http.StripPrefix("/key", a.key))
	if a.webhooks != nil {
		mux.Handle("POST /webhooks/smartcar", a.webhooks)
	}

	// A form that another site sends to us is refused; ours have no token to check.
	protected := http.NewCrossOriginProtection().Handler(mux)
	return http.MaxBytesHandler(a.logged(a.headers(a.known(protected))), 64<<10)
}

// known refuses requests under another name. Whoever makes a name of theirs lead
// to this address has a page of the same origin, which no check of origins stops.
func (a *app) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Host, a.host) {
			http.Error(w, "open http://"+a.host+"/ instead", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *app) headers(next http.Handler) http.Handler {
	// Browsers hold a form to this even where it is redirected to.
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' " + a.connect
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Frame-Options", "DENY")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		// Not "no-referrer": with it a browser sends our own forms with "Origin: null",
		// by which one without Sec-Fetch-Site is taken for another site.
		w.Header().Set("Referrer-Policy", "same-origin")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// logged writes one line for each request, without its query: the callback's
// has a code in it. The pattern tells pages apart, and names no car.
func (a *app) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		noted := &status{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(noted, r)
		a.log.LogAttrs(r.Context(), slog.LevelInfo, "request", slog.String("method", r.Method),
			slog.String("pattern", r.Pattern), slog.Int("status", noted.code), slog.Duration("took", time.Since(began)))
	})
}

// status remembers the status of an answer. Unwrap keeps flushing possible.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func file(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, name) }
}

func (a *app) render(w http.ResponseWriter, r *http.Request, code int, name string, data any) {
	var b bytes.Buffer
	if err := a.pages.ExecuteTemplate(&b, name, data); err != nil {
		a.log.LogAttrs(r.Context(), slog.LevelError, "page", slog.String("error", err.Error()))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // the browser has left
}

// titled gives the head of a page what it shows.
func titled(data map[string]any, title string) map[string]any {
	return map[string]any{"Title": title, "App": appName, "Account": data["Account"]}
}

func (a *app) signIn(w http.ResponseWriter, r *http.Request) {
	const longest = 60
	name := strings.TrimSpace(r.PostFormValue("name"))
	if name == "" || len(name) > longest {
		http.Error(w, "a name has 1 to 60 bytes", http.StatusBadRequest)
		return
	}
	a.sessions.signIn(w, r, name, a.secure)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) signOut(w http.ResponseWriter, r *http.Request) {
	a.sessions.signOut(w, r, a.secure)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// startConnect sends the owner to Connect. Ask for what is used, and no more;
// "required" keeps the owner from unticking what this program cannot do without.
func (a *app) startConnect(w http.ResponseWriter, r *http.Request) {
	account := a.sessions.account(r)
	if account == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	err := a.client.Connect().Start(w, r, smartcar.ConnectOptions{
		ExternalID: account,
		Scope: []string{
			smartcar.Required("read_vehicle_info"), "read_vin", "read_battery", "read_charge",
			"read_security", "read_location", "control_security",
		},
	})
	if err != nil {
		a.fail(w, r, "Connect could not be started.", err)
	}
}

func (a *app) callback(w http.ResponseWriter, r *http.Request) {
	grant, err := a.client.Connect().HandleCallback(w, r)
	account := a.sessions.account(r)
	switch {
	case errors.Is(err, smartcar.ErrStateReplayed): // the page was loaded again
	case errors.Is(err, smartcar.ErrAccessDenied), errors.Is(err, smartcar.ErrUserCancelled):
		a.sessions.tell(r, notice{Text: "You did not allow access, so no car was connected."})
	case err != nil:
		a.log.LogAttrs(r.Context(), slog.LevelWarn, "callback", slog.String("error", err.Error()))
		a.sessions.tell(r, notice{Text: "Your cars could not be connected. Please try again.", Bad: true})
	case account == "" || grant.ExternalID != account: // signed in as somebody else meanwhile
		a.sessions.tell(r, notice{Text: "That was begun under another account. Please connect again.", Bad: true})
	default:
		a.sessions.setOwner(account, grant.UserID)
		a.sessions.tell(r, notice{Text: "Your cars are connected."})
		if !grant.VirtualKeyURL.IsZero() {
			http.Redirect(w, r, "/key/", http.StatusSeeOther)
			return
		}
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// carOf is the car of the address, if it belongs to who is signed in.
func (a *app) carOf(ctx context.Context, r *http.Request) (*smartcar.Vehicle, error) {
	user := a.user(r)
	if user == nil {
		return nil, nil
	}
	for v, err := range user.Vehicles(ctx) {
		if err != nil {
			return nil, err
		}
		if v.ID() == r.PathValue("id") {
			return v, nil
		}
	}
	return nil, nil
}

// An action of a car is confirmed on a page of its own, which works everywhere.
type action struct {
	Name, Ask, Do string
	Danger        bool
}

func actionOf(r *http.Request) (action, bool) {
	actions := []action{
		{Name: "lock", Ask: "Lock the doors?", Do: "Lock"},
		{Name: "unlock", Ask: "Unlock the doors? Anybody could get in.", Do: "Unlock", Danger: true},
		{Name: "location", Ask: "Look up where the car is?", Do: "Show the location"},
	}
	i := slices.IndexFunc(actions, func(a action) bool { return a.Name == r.PathValue("action") })
	if i < 0 {
		return action{}, false
	}
	return actions[i], true
}

func (a *app) confirm(w http.ResponseWriter, r *http.Request) {
	v, asked := a.actionOn(w, r)
	if v == nil {
		return
	}
	a.render(w, r, http.StatusOK, "confirm", map[string]any{
		"Account": a.sessions.account(r), "Car": a.nameOf(r.Context(), v), "ID": v.ID(), "Action": asked,
	})
}

// actionOn finds the car and what is to be done, or answers 404.
func (a *app) actionOn(w http.ResponseWriter, r *http.Request) (*smartcar.Vehicle, action) {
	asked, ok := actionOf(r)
	v, err := a.carOf(r.Context(), r)
	switch {
	case err != nil:
		a.fail(w, r, "Your cars could not be looked up.", err)
		return nil, asked
	case !ok || v == nil:
		a.render(w, r, http.StatusNotFound, "problem", map[string]any{"Account": a.sessions.account(r), "Text": "There is no such car in your account."})
		return nil, asked
	}
	return v, asked
}

func (a *app) act(w http.ResponseWriter, r *http.Request) {
	v, asked := a.actionOn(w, r)
	if v == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	name := a.nameOf(ctx, v)
	var err error
	said := notice{}
	switch asked.Name {
	case "lock":
		_, err = v.Lock(ctx)
		said.Text = "The command to lock was sent to " + name + "."
	case "unlock":
		_, err = v.Unlock(ctx)
		said.Text = "The command to unlock was sent to " + name + "."
	case "location":
		var where *smartcar.LocationReading
		if where, err = v.With(smartcar.AllowStale()).Location(ctx); err == nil {
			said = describeLocation(name, where)
		}
	}
	if err != nil {
		said = explain(name, v.ID(), err)
		a.log.LogAttrs(ctx, slog.LevelInfo, "action", slog.String("action", asked.Name), slog.String("error", err.Error()))
	}
	a.sessions.tell(r, said)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) fail(w http.ResponseWriter, r *http.Request, text string, err error) {
	a.log.LogAttrs(r.Context(), slog.LevelWarn, "failed", slog.String("error", err.Error()))
	a.render(w, r, http.StatusBadGateway, "problem", map[string]any{"Account": a.sessions.account(r), "Text": text + " Please try again in a minute."})
}
