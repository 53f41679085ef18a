// Package smartcartest is a simulated Smartcar that lives in a test process:
// Connect, the token endpoints, the vehicle API v2.0 with its management API,
// and the beginnings of API v3, with cars that behave. It imports the standard
// library only and speaks plain HTTP, so that it serves any client.
//
// # Three ways to use it
//
// As an in-memory transport, without sockets and goroutines, also inside a
// testing/synctest bubble, for all of the vendor's hosts at once:
//
//	sim := smartcartest.New()
//	client := &http.Client{Transport: sim.Transport()}
//
// As a server on loopback, for programs that take origins:
//
//	origin, stop, err := sim.Start()
//	defer stop()
//
// As an http.Handler, below whatever you like; the vendor's hosts share no
// path, so one origin serves them all:
//
//	http.ListenAndServe("127.0.0.1:8787", sim)
//
// And as a program: go run ./smartcartest/simulator prints its environment and
// serves until it is interrupted.
//
// # Connect
//
// GET of /oauth/authorize is a plain form. A script posts to the same URL with
// decision=grant or decision=deny and follows the 302; Grant and Deny do that.
// The form field user names the owner's account, error ends the flow with one
// of the documented errors. See AnswerConnect. In a browser, the query
// parameter simulated_user names the account.
//
// What follows in the Tesla app is a page at /_ak/smartcar.com, the path of the
// real link: it adds the key of a car, removes it, or says what the app says to
// those who cannot. With ?vin= it shows that car alone.
//
// # Cars
//
// DefaultGarage has one car of each kind; WithCars replaces it. A paired
// streaming Tesla records every minute while awake and is not limited. Without
// the key it answers one data request in 8 hours, does not wake for it, and
// takes no command; what the second request gets is chosen by
// WithKeylessAnswer. A legacy Tesla records every 5 minutes while it is awake,
// beginning when it wakes, and shows a value 5 seconds after it was recorded;
// asleep it answers with its last values. Any other car is asked each time.
// Values drift with time, and are always those of the recorded time.
//
// A command is carried out at once. It shows in the data from the next time
// that the car records; a streaming car and one that had been asleep record
// right then.
//
// # Ledger
//
// Every request that reaches the vehicle API is written to the car's Ledger.
// BrokenWindows lists the data requests that a keyless car should never have
// got, so that a test can assert that there were none.
//
// # Faults
//
// Inject delays, fails, drops or garbles requests, before or after they were
// processed. Advance steps the clock.
//
// # Tokens
//
// An authorization code works once, for 10 minutes. An access token lives 2
// hours, a refresh token 60 days. Every refresh rotates: the used refresh token
// is honored for a grace time after its first use and then gives another new
// pair, while every refresh token issued after it dies ("newest token only").
// Access tokens live on until they expire. A new Connect does not touch the
// tokens of earlier ones.
//
// # Where the vendor's documentation is silent
//
// Requests are checked in this order: path, token, the application's rate
// limit, vehicle (401 when the token does not cover it), permission (403),
// capability (501), query or body (400), and then the car itself: ASLEEP (409),
// key and window. Limits outside their documented range are VALIDATION errors
// rather than clamped. An empty batch is a VALIDATION error. A batch turned
// away by the rate limit fails as a whole; VIRTUAL_KEY_REQUIRED and ASLEEP
// stand in its items. Commands to a car that already is in the wanted state
// succeed.
//
// # Safety
//
// The credentials are fixed and public, and the control API below /_sim/
// (WithControl) has no authentication at all: keep it on loopback.
package smartcartest
