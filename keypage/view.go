package keypage

import (
	"html/template"
	"net/http"
	"strconv"
	"time"
)

// view is what the template shows.
type view struct {
	Texts   Texts
	Problem string // instead of cars
	Again   string // this page
	Cars    []carView
	Domain  string // whose key it is
	Waiting int    // cars that still need the key
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

type carView struct {
	car
	ID    string // of the section, for screen readers
	Badge string
	Phone bool
	QR    template.HTMLAttr
	Width int
}

// A page without JavaScript loads itself again after 5 seconds, 10, 20 and so
// on up to 5 minutes, and no more than 30 times: what [smartcar.Vehicle.WaitForKey]
// does in one call.
const (
	firstLoad = 5 * time.Second
	lastLoad  = 5 * time.Minute
	mostLoads = 30
)

func (h *Handler) view(r *http.Request, done string, cars []car) view {
	v := view{Texts: h.config.Texts, Again: again(r), Done: done, Extra: h.config.Extra}
	if len(cars) == 0 {
		v.Problem = v.Texts.NoCars
	}
	phone := onPhone(r)
	for i, c := range cars {
		shown := carView{car: c, ID: "car-" + strconv.Itoa(i+1), Badge: v.Texts.badge(c.State), Phone: phone}
		if c.waiting {
			v.Waiting++
			v.Domain = c.Link.Domain()
			shown.QR, shown.Width = drawQR(c.Link.String())
		}
		switch c.State {
		case added:
			v.Added++
		case notKnown:
			v.Unknown++
			v.Failed = v.Failed || c.failed
		}
		v.Cars = append(v.Cars, shown)
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

// pair is what the parts of the template need.
func pair(c carView, t Texts) struct {
	Car   carView
	Texts Texts
} {
	return struct {
		Car   carView
		Texts Texts
	}{c, t}
}
