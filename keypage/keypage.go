package keypage

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
)

// Config says what the page shows, and to whom.
type Config struct {
	// Who returns the user whose cars are shown: the one who is signed in at
	// your application. Never take it from the address of the request. An error,
	// which is logged, a nil user and one with an empty id are answered with 401.
	// Called concurrently. Required.
	Who func(*http.Request) (*smartcar.User, error)
	// Done is where the owner is sent when the keys are there: a path of your
	// site such as "/dashboard", or an https URL. Required.
	Done string
	// AllowReturn lets the query parameter "return" replace Done. It takes a
	// path of the same site only, and anything else is answered with 400.
	AllowReturn bool
	// VINInLink puts the VIN into the link, which spares an owner of several
	// cars from choosing the right one in the Tesla app. Each car then has a link and
	// a code of its own. A VIN is personal data:
	// it then stands in the page, the QR code and the history of the browser.
	// See [smartcar.VirtualKeyURL.WithVIN]. Permission read_vin.
	VINInLink bool
	// AppName is what owners know your application by. It stands at the top of the
	// page and in its words, so that they know whom they give the key to: the Tesla
	// app names Smartcar only. Empty for "this app".
	AppName string
	// Texts are the words of the page; empty ones are those of [English].
	Texts Texts
	// CSS is appended to the style sheet, mostly to set its variables.
	CSS string
	// Extra is shown below the cars as it stands, unescaped.
	Extra template.HTML
	// Logger gets what went wrong; nil for none. No id of a user, VIN or link
	// is logged.
	Logger *slog.Logger
}

// Handler serves the page at "/", and its style, script and events beside it:
// mount it below a path that ends in a slash, with [http.StripPrefix]. It is
// safe for concurrent use.
type Handler struct {
	config  Config
	page    *template.Template
	css, js []byte
	garages *lru.Cache[string, garage]
	names   *lru.Cache[string, name]
	looked  *lru.Cache[string, time.Time] // when an added key was looked at

	mu      sync.Mutex
	streams map[string]held // by user
	closing chan struct{}
	once    sync.Once
}

//go:embed page.html key.css key.js
var files embed.FS

const (
	keptUsers = 10_000
	keptCars  = 10_000
)

// New returns the handler, or an error that matches
// [smartcar.ErrInvalidArgument] and names the field that is wrong.
func New(config Config) (*Handler, error) {
	switch {
	case config.Who == nil:
		return nil, &smartcar.ArgumentError{Argument: "keypage.Config.Who", Problem: "is nil; return the user who is signed in"}
	case !validDone(config.Done):
		return nil, &smartcar.ArgumentError{Argument: "keypage.Config.Done", Problem: `must be a path of your site such as "/dashboard", or an https URL`}
	}
	config.Texts = config.Texts.orEnglish().named(config.AppName)
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	page, err := template.New("page.html").ParseFS(files, "page.html")
	if err != nil {
		return nil, err
	}
	css, err := files.ReadFile("key.css")
	if err != nil {
		return nil, err
	}
	js, err := files.ReadFile("key.js")
	if err != nil {
		return nil, err
	}
	return &Handler{
		config: config, page: page, css: append(css, config.CSS...), js: js,
		garages: lru.New[string, garage](keptUsers), names: lru.New[string, name](keptCars), looked: lru.New[string, time.Time](keptCars),
		streams: make(map[string]held), closing: make(chan struct{}),
	}, nil
}

// Close ends the event streams, which would keep [http.Server.Shutdown] from
// returning: give it to [http.Server.RegisterOnShutdown]. The page itself is
// served as before.
func (h *Handler) Close() {
	if h.page != nil {
		h.once.Do(func() { close(h.closing) })
	}
}

// ServeHTTP answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	if h.page == nil { // not from New
		http.Error(w, "the keypage.Handler must come from keypage.New", http.StatusInternalServerError)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case "":
		redirectInside(w, r)
	case "/":
		h.servePage(w, r)
	case "/key.css":
		h.serveFile(w, r, "text/css; charset=utf-8", h.css)
	case "/key.js":
		h.serveFile(w, r, "text/javascript; charset=utf-8", h.js)
	case "/events":
		h.serveEvents(w, r)
	default:
		h.problem(w, r, http.StatusNotFound)
	}
}

// protect sets the headers by which the page loads nothing from other sites, is not
// shown in a frame, and does not tell other sites its address.
func protect(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	header.Set("X-Frame-Options", "DENY")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}

func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// who is the user of a request, or nil after it has been answered.
func (h *Handler) who(w http.ResponseWriter, r *http.Request) *smartcar.User {
	user, err := h.config.Who(r)
	if err != nil || user == nil || user.ID() == "" { // client.User("") is no user
		h.log(r.Context(), "no user", err)
		h.problem(w, r, http.StatusUnauthorized)
		return nil
	}
	return user
}

func (h *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	done, ok := h.done(r)
	if !ok {
		h.problem(w, r, http.StatusBadRequest)
		return
	}
	user := h.who(w, r)
	if user == nil {
		return
	}
	cars, err := h.cars(r.Context(), user, r.URL.Query().Get("vehicle"), loads(r) == 0)
	if err != nil {
		h.problem(w, r, h.statusOf(r.Context(), err))
		return
	}
	h.render(w, r, http.StatusOK, h.view(r, done, cars))
}

// errNoCar: the car is not this user's, or there is none of that id.
var errNoCar = errors.New("keypage: no such car of this user")

func (h *Handler) statusOf(ctx context.Context, err error) int {
	switch {
	case errors.Is(err, errNoCar):
		return http.StatusNotFound
	case errors.Is(err, smartcar.ErrNotConnected), errors.Is(err, smartcar.ErrReconnectRequired), errors.Is(err, smartcar.ErrUnauthorized):
		return http.StatusConflict
	}
	h.log(ctx, "no cars", err)
	return http.StatusBadGateway
}

func (h *Handler) problem(w http.ResponseWriter, r *http.Request, status int) {
	t := h.config.Texts
	v := view{App: h.config.AppName, Texts: t, Problem: t.TryLater, Again: again(r)}
	switch status {
	case http.StatusBadRequest:
		v.Problem, v.Again, v.Done = t.BadReturn, "", h.config.Done
	case http.StatusUnauthorized:
		v.Problem, v.Done = t.SignIn, h.config.Done
	case http.StatusNotFound:
		v.Problem, v.Again, v.Done = t.NoCar, "", h.config.Done
	case http.StatusConflict:
		v.Problem, v.Done = t.Reconnect, h.config.Done
	default:
		if loads(r) > 0 { // the page reloads itself to wait for a key, without JavaScript
			v.reload(r)
		}
	}
	h.render(w, r, status, v)
}

func (h *Handler) render(w http.ResponseWriter, r *http.Request, status int, v view) {
	var b bytes.Buffer
	if err := h.page.Execute(&b, v); err != nil {
		h.log(r.Context(), "page", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "User-Agent, Sec-CH-UA-Mobile")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes()) // the browser has left
	}
}

func (h *Handler) log(ctx context.Context, what string, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	h.config.Logger.LogAttrs(ctx, slog.LevelWarn, "keypage: "+what, slog.String("error", err.Error()))
}

// onPhone is a guess that nothing depends on: both ways are on the page.
func onPhone(r *http.Request) bool {
	if hint := r.Header.Get("Sec-CH-UA-Mobile"); hint != "" {
		return hint == "?1"
	}
	agent := r.Header.Get("User-Agent")
	return strings.Contains(agent, "iPhone") || strings.Contains(agent, "Android") || strings.Contains(agent, "Mobile")
}
