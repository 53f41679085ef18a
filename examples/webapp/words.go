package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-498a1bc4/smartcar"
)

func chargingText(state string, plugged *bool) string {
	text := strings.ToLower(strings.ReplaceAll(state, "_", " "))
	switch {
	case plugged == nil || !*plugged:
		return text
	case text == "":
		return "plugged in"
	}
	return text + ", plugged in"
}

// sentence begins with a capital letter, which a name need not.
func sentence(name, rest string) string {
	first, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(first)) + name[size:] + rest
}

// explain says to the owner what the program knows about a failure. It never
// shows them the error itself, which is written for developers.
func explain(name, id string, err error) notice {
	var key *smartcar.VirtualKeyRequiredError
	switch at, known := smartcar.NextAllowed(err); {
	case errors.As(err, &key):
		return notice{Text: "Not sent: commands to " + name + " need the virtual key.", KeyLink: "/key/?" + url.Values{"vehicle": {id}}.Encode()}
	case errors.Is(err, smartcar.ErrReauthenticate):
		return notice{Text: "Log in to the account of " + name + " again: connect it once more.", Bad: true}
	case errors.Is(err, smartcar.ErrReconnectRequired), errors.Is(err, smartcar.ErrNotConnected):
		return notice{Text: "The connection has ended: connect your cars again.", Bad: true}
	case errors.Is(err, smartcar.ErrPermission):
		return notice{Text: "You have not allowed this for " + name + ". Connect it again and allow it.", Bad: true}
	case errors.Is(err, smartcar.ErrNotSupported):
		return notice{Text: "That cannot be done with " + name + ".", Bad: true}
	case errors.Is(err, smartcar.ErrAsleep):
		return notice{Text: sentence(name, " is asleep. Try again later.")}
	case known:
		return notice{Text: fmt.Sprintf("Nothing new from %s for %s.", name, roughly(time.Until(at)))}
	case smartcar.MayHaveSucceeded(err):
		return notice{Text: "It is not certain whether " + name + " has got the command: look before you send it again.", Bad: true}
	}
	return notice{Text: "That did not work with " + name + ". Try again in a minute.", Bad: true}
}

// describeLocation says where the car was, with a link to a map. The location goes to
// the map when the owner follows the link, and not before.
func describeLocation(name string, where *smartcar.LocationReading) notice {
	if where.Latitude == nil || where.Longitude == nil {
		return notice{Text: sentence(name, " did not say where it is.")}
	}
	latitude, longitude := fmt.Sprintf("%.5f", *where.Latitude), fmt.Sprintf("%.5f", *where.Longitude)
	there := url.URL{
		Scheme: "https", Host: "www.openstreetmap.org", Path: "/", Fragment: "map=17/" + latitude + "/" + longitude,
		RawQuery: url.Values{"mlat": {latitude}, "mlon": {longitude}}.Encode(),
	}
	text := fmt.Sprintf(" was at %s, %s %s.", latitude, longitude, age(where.RecordedAt))
	return notice{Text: sentence(name, text), MapLink: there.String()}
}

func age(recorded time.Time) string {
	if recorded.IsZero() {
		return "at a time that is not known"
	}
	if d := time.Since(recorded); d >= time.Minute {
		return roughly(d) + " ago"
	}
	return "less than a minute ago"
}

func roughly(d time.Duration) string {
	d = d.Round(time.Minute)
	switch hours, minutes := int(d.Hours()), int(d.Minutes())%60; {
	case hours >= 48:
		return fmt.Sprintf("%d days", hours/24)
	case hours > 0 && minutes == 0:
		return fmt.Sprintf("%d h", hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes <= 1:
		return "a minute"
	default:
		return fmt.Sprintf("%d minutes", minutes)
	}
}
