package keypage

import (
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar"
)

// view is what the template shows.
type view struct {
	Texts   Texts
	App     string
	Problem string    // instead of cars
	Again   string    // this page
	Asks    []ask     // what the owner can do something about
	Cars    []carView // below that, for all to see
	Rest    []carView // folded into one line
	Legacy  bool      // there is a car that LegacyHint is for, among those of Rest or of Cars
	Domain  string    // whose key it is
	Waiting int       // cars that still need the key
	Added   int
	Unknown int
	Failed  bool // a car of which nothing could be read
	Done    string
	Forward bool   // the last key has just come: go on without being asked
	Events  string // where the script listens; empty if there is nothing to wait for
	Seconds int    // until the page loads itself again, without JavaScript
	Next    string // what it loads then
	Extra   template.HTML
}

// An ask is one link, and the cars that it adds the key to: all of them, unless the VIN
// stands in it.
type ask struct {
	Texts  Texts
	Cars   []carView
	Reason string // which all of the cars have; theirs are empty then
	Link   smartcar.VirtualKeyURL
	QR     template.HTMLAttr
	Width  int
	Phone  bool
}

// IDs are those of the headings, for screen readers.
func (a ask) IDs() string {
	ids := make([]string, len(a.Cars))
	for i, c := range a.Cars {
		ids[i] = c.ID
	}
	return strings.Join(ids, " ")
}

// Many reports whether the link is for several cars.
func (a ask) Many() bool { return len(a.Cars) > 1 }

// carView is a car with its words. The date of Gone, where there is one, stands between
// Reason and After.
type carView struct {
	car
	ID    string // of the heading
	Badge string
	After string
	Date  string
}

// Machine is when the key was first seen gone, for the script.
func (c carView) Machine() string { return c.Gone.UTC().Format(time.RFC3339) }

// A page without JavaScript loads itself again after 5 seconds, 10, 20 and so
// on up to 5 minutes, and no more than 30 times: what [smartcar.Vehicle.WaitForKey]
// does in one call.
const (
	firstLoad = 5 * time.Second
	lastLoad  = 5 * time.Minute
	mostLoads = 30
)

func (h *Handler) view(r *http.Request, done string, cars []car) view {
	v := view{App: h.config.AppName, Texts: h.config.Texts, Again: again(r), Done: done, Extra: h.config.Extra}
	if len(cars) == 0 {
		v.Problem = v.Texts.NoCars
	}
	for i, c := range cars {
		v.add(v.words(i, c), onPhone(r))
	}
	for i := range v.Asks {
		v.Asks[i].shareReason()
	}
	if len(v.Asks)+len(v.Cars) == 0 { // nothing to fold it away for
		v.Cars, v.Rest = v.Rest, nil
	}
	by := loads(r)
	switch {
	case v.Waiting > 0:
		v.Events = eventsAddress(r)
		v.reload(r)
	case v.Failed && by > 0: // it has waited, and goes on
		v.reload(r)
	default:
		v.Forward = by > 0 && v.Added > 0
	}
	return v
}

// words are those of one car.
func (v *view) words(i int, c car) carView {
	shown := carView{car: c, ID: "car-" + strconv.Itoa(i+1), Badge: v.Texts.badge(c.State)}
	if c.Gone.IsZero() {
		return shown
	}
	var dated bool
	if shown.Reason, shown.After, dated = strings.Cut(c.Reason, "{date}"); dated {
		shown.Date = c.Gone.Local().Format(v.Texts.DateLayout)
	}
	return shown
}

// add puts a car where it is shown.
func (v *view) add(c carView, phone bool) {
	switch c.State {
	case added:
		v.Added++
	case notKnown:
		v.Unknown++
		v.Failed = v.Failed || c.failed
	}
	switch {
	case c.waiting:
		v.Waiting++
		v.Domain = c.Link.Domain()
		v.ask(c, phone)
	case c.State == notKnown:
		v.Cars = append(v.Cars, c)
	default:
		v.Rest = append(v.Rest, c)
		v.Legacy = v.Legacy || c.Legacy
	}
}

// ask puts a car beside those with the same link.
func (v *view) ask(c carView, phone bool) {
	i := slices.IndexFunc(v.Asks, func(a ask) bool { return a.Link == c.Link })
	if i < 0 {
		i = len(v.Asks)
		made := ask{Texts: v.Texts, Link: c.Link, Phone: phone}
		made.QR, made.Width = drawQR(c.Link.String())
		v.Asks = append(v.Asks, made)
	}
	v.Asks[i].Cars = append(v.Asks[i].Cars, c)
}

// shareReason says once what would be said of each car.
func (a *ask) shareReason() {
	same := a.Cars[0].Reason
	if !a.Many() || slices.ContainsFunc(a.Cars, func(c carView) bool { return c.Reason != same || c.Date != "" }) {
		return
	}
	a.Reason = same
	for i := range a.Cars {
		a.Cars[i].Reason = ""
	}
}

// reload makes the page load itself again, unless it has done so long enough.
func (v *view) reload(r *http.Request) {
	if n := loads(r); n < mostLoads {
		v.Seconds = int(min(firstLoad<<min(n, 6), lastLoad) / time.Second)
		v.Next = pageAddress(r, n+1)
	}
}

// loads is how often the page has loaded itself; zero when an owner opened it.
func loads(r *http.Request) int {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	return max(n, 0)
}

// Title is the heading and what a screen reader hears first.
func (v view) Title() string {
	switch {
	case v.Problem != "":
		return v.Texts.Title
	case v.Waiting > 0:
		return v.Texts.TitleNeeded
	case v.Unknown > 0:
		return v.Texts.Title
	case v.Added > 0:
		return v.Texts.TitleAdded
	}
	return v.Texts.TitleNone
}

// RestTitle is the line that Rest is folded into.
func (v view) RestTitle() string { return v.Texts.rest(len(v.Rest)) }

// Intro is the sentence below it.
func (v view) Intro() string {
	switch {
	case v.Waiting > 0:
		return v.Texts.IntroNeeded
	case v.Unknown > 0:
		return v.Texts.IntroUnknown
	case v.Added > 0:
		return v.Texts.IntroAdded
	}
	return v.Texts.IntroNone
}
