package keypage

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Texts are all the words of the page, as plain text. An empty field is that of
// [English]. In any of them, {app} stands for [Config].AppName.
type Texts struct {
	Lang string // the language, as in HTML: "en", "de-CH"
	Dir  string // "ltr" or "rtl"

	// App stands for {app} where [Config].AppName is empty: "this app".
	App string
	// DateLayout is how a date is written where the browser does not, without
	// JavaScript: a layout of package time.
	DateLayout string

	// The heading, which is the page's title too, and the sentence below it.
	Title                              string // with a problem instead of cars, or where not all is known
	TitleNeeded, TitleAdded, TitleNone string
	IntroNeeded, IntroAdded, IntroNone string
	IntroUnknown                       string // nothing to add, and not all is known

	// What is said of a car.
	Car                                    string // instead of a name that is not known
	BadgeNeeded, BadgeAdded, BadgeRemoved  string
	BadgeNone, BadgeUnknown                string
	ReasonAdded, ReasonLegacy, ReasonOther string
	ReasonRemoved                          string // {date} is when the key was first seen gone
	ReasonUnknownCar                       string // it cannot be told whether the car needs a key
	ReasonNeverKnown                       string // a driver's account, or a permission is missing
	ReasonNotYet                           string // it comes with the car's data, which API v3 waits for
	ReasonFailed                           string // not for the moment
	RestOne, RestMany                      string // what needs nothing is folded behind; {n} is how many
	LegacyHint                             string // below old cars, once

	// The two ways to the Tesla app. A hint is for one car, or for several.
	Open, OpenHint, OpenHintMany string // the button on the phone
	Scan, ScanHint, ScanHintMany string // beside the QR code
	OtherPhone, OtherHere        string // what the other way is folded behind
	QRLabel                      string // for screen readers
	KeyOf                        string // before the domain of the key

	Waiting, WaitingReload           string // with JavaScript and without
	CheckAgain                       string
	Changed, Forwarding              string // what is announced
	Continue, Later                  string // when all keys are there, and before
	SignIn, Reconnect, NoCar, NoCars string
	TryLater, BadReturn              string

	Help                                 string // leads to what follows
	HelpTitle                            string
	Steps                                []string // in this order
	PopupsTitle                          string
	Popups                               []Popup
	WhereTitle, Where, GuestMode         string
	OwnersTitle, OwnersText, DriversText string
}

// A Popup is what the Tesla app says, and what it means.
type Popup struct{ Says, Means string }

// English returns the words of the page as they are without any of your own.
// Change what you like and give it to [Config].
func English() Texts {
	return Texts{
		Lang: "en", Dir: "ltr", App: "this app", DateLayout: "January 2, 2006",
		Title:        "Virtual key",
		TitleNeeded:  "Add the virtual key",
		TitleAdded:   "The virtual key is added",
		TitleNone:    "No virtual key is needed",
		IntroNeeded:  "Tesla lets {app} send commands and read fresh data only with a virtual key. You add it in the Tesla app, once for each car.",
		IntroAdded:   "There is nothing left to do.",
		IntroNone:    "None of these cars has a key to add.",
		IntroUnknown: "It cannot be told of every car whether it has the key it needs.",
		Car:          "Your car",
		BadgeNeeded:  "Key needed",
		BadgeAdded:   "Key added",
		BadgeRemoved: "Key removed",
		BadgeNone:    "Not needed",
		BadgeUnknown: "Not known",

		ReasonAdded:      "The key is on this car.",
		ReasonRemoved:    "Key removed on {date}, or shortly before.",
		ReasonLegacy:     "A Model S or Model X from before the 2021 refresh takes no virtual key.",
		ReasonOther:      "Only a Tesla can need the virtual key.",
		ReasonUnknownCar: "It cannot be told whether this car needs the key. If the Tesla app offers it, add it.",
		ReasonNeverKnown: "Whether the key is on this car cannot be read. You may have connected a driver's account instead of the owner's.",
		ReasonNotYet:     "Whether the key is there becomes known with the car's next data. If you have not added it yet, add it now.",
		ReasonFailed:     "This could not be read just now.",
		RestOne:          "1 car needs nothing",
		RestMany:         "{n} cars need nothing",
		LegacyHint:       "An old Model S or Model X may send its data more often: switch on “Allow Third-Party App Data Streaming” on its screen, under Controls, then Safety, if it is there.",

		Open:         "Open the Tesla app",
		OpenHint:     "If you have several cars, choose this one in the Tesla app first. Then confirm there.",
		OpenHintMany: "For each car: choose it in the Tesla app, come back, press the button, and confirm there.",
		Scan:         "Scan this code with the phone that has the Tesla app",
		ScanHint:     "Use the phone's camera. If you have several cars, choose this one in the Tesla app first. Then confirm there.",
		ScanHintMany: "Use the phone's camera. For each car: choose it in the Tesla app, scan the code, and confirm there.",
		OtherPhone:   "The Tesla app is on another phone",
		OtherHere:    "You are reading this on the phone",
		QRLabel:      "QR code of the link that opens the Tesla app",
		KeyOf:        "The Tesla app names the key after",

		Waiting:       "This page changes by itself when the key is there, which can take a minute or more. You need not wait for it.",
		WaitingReload: "This page loads itself again to see whether the key is there.",
		CheckAgain:    "Check again",
		Changed:       "A key has been added.",
		Forwarding:    "The key is added. You will be taken on in a moment.",
		Continue:      "Continue",
		Later:         "Not now",

		SignIn:    "Please sign in first, then open this page again.",
		Reconnect: "The connection to your cars has ended. Please connect them again.",
		NoCar:     "There is no such car in your account.",
		NoCars:    "There is no car in your account.",
		TryLater:  "Your cars could not be looked up just now. Please try again in a minute.",
		BadReturn: "This link leads somewhere else and was refused.",

		Help:      "Help",
		HelpTitle: "If it does not work",
		Steps: []string{
			"Set up your phone as a key of the car first: in the Tesla app, open the car and choose “Set Up Phone Key”. Without it the Tesla app cannot add another key.",
			"In the Tesla app, log in to the same Tesla account that you have just connected here.",
			"If the browser stays on a page of tesla.com, tap “Open” in the banner at its top rather than the button on the page.",
			"The car must be online. If it sleeps, wake it by opening it in the Tesla app.",
		},
		PopupsTitle: "What the Tesla app may say",
		Popups: []Popup{
			{"“You don't need to set up a virtual key for this vehicle”", "The car is a Model S or Model X from before the refresh. Nothing is missing."},
			{"“You are not authorized to share this vehicle. Contact the owner”", "The account in the Tesla app is a driver's, or the car is leased. Ask the owner to open the link."},
			{"“Unable to share vehicle … not granted access”", "The Tesla app is logged in to another account than the one you connected, or the connection has been revoked."},
			{"“… has not registered with Tesla”", "The app is not set up for your region. Please tell its support; you cannot change it."},
			{"“Unpair your phone key and pair it again”", "The phone's own key has to be renewed: remove it on the car's screen, set it up again, then open the link once more."},
		},
		WhereTitle:  "Where to see it in the car",
		Where:       "On the car's screen under Controls (or Settings), then Locks: the key stands in the list of keys, and can be removed there.",
		GuestMode:   "If the keys cannot be changed there, Guest Mode is on: switch it off first.",
		OwnersTitle: "Owner or driver?",
		OwnersText:  "The owner can add the key from anywhere, with a phone that is a key of the car.",
		DriversText: "As a driver, sit in the car with a key card and confirm there, or ask the owner to open the link.",
	}
}

// orEnglish fills in what is empty.
func (t Texts) orEnglish() Texts {
	own, english := reflect.ValueOf(&t).Elem(), reflect.ValueOf(English())
	for i := range own.NumField() {
		if own.Field(i).Len() == 0 {
			own.Field(i).Set(english.Field(i))
		}
	}
	return t
}

// named puts the name of the application into every text.
func (t Texts) named(app string) Texts {
	put := strings.NewReplacer("{app}", cmp.Or(app, t.App)).Replace
	texts := reflect.ValueOf(&t).Elem()
	for i := range texts.NumField() {
		if field := texts.Field(i); field.Kind() == reflect.String {
			field.SetString(put(field.String()))
		}
	}
	t.Steps, t.Popups = slices.Clone(t.Steps), slices.Clone(t.Popups)
	for i, step := range t.Steps {
		t.Steps[i] = put(step)
	}
	for i, popup := range t.Popups {
		t.Popups[i] = Popup{put(popup.Says), put(popup.Means)}
	}
	return t
}

// rest is what the cars that need nothing are folded behind.
func (t Texts) rest(cars int) string {
	if cars == 1 {
		return t.RestOne
	}
	return strings.ReplaceAll(t.RestMany, "{n}", strconv.Itoa(cars))
}

func (t Texts) badge(s carState) string {
	switch s {
	case needed:
		return t.BadgeNeeded
	case removed:
		return t.BadgeRemoved
	case added:
		return t.BadgeAdded
	case notNeeded:
		return t.BadgeNone
	}
	return t.BadgeUnknown
}
