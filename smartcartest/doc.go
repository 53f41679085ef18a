// Package smartcartest is a simulated Smartcar that lives in a test process:
// Connect, the token endpoints, the vehicle API v2.0 and v3 with the management
// API of each, and webhooks, with cars that behave. It imports the standard
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
// parameter simulated_user names the account. With response_type=none and no
// redirect_uri the flow ends on a page of the simulator, which AnswerConnect
// reports as ErrHosted although the owner has consented. A re-authentication
// ends so with response_type=none, too; RequireReauthentication makes one
// necessary, and a webhook or the next read tells that it has happened.
//
// After Connect, an owner adds the virtual key in the Tesla app. Here a page at
// /_ak/smartcar.com, the path of the real link, stands for the app: it adds or
// removes the key of a car, and says what the app says when an owner cannot.
// With ?vin= it shows that car alone.
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
// A command is carried out at once. Its effect shows in the data when the car
// records next; a streaming car, and a car that was asleep, record at once.
//
// # Ledger
//
// Every request that reaches the vehicle API is written to the car's Ledger.
// BrokenWindows lists the data requests that a keyless car should never have
// got, so that a test can assert that there were none.
//
// # API v3
//
// All of the vehicle and the management API but applications and the look-up of
// executions, whose paths and bodies are not documented. The list of signals
// has all 93 codes for every car. A signal that the car cannot answer has an
// error inside; a rate, while the car does not charge, has an error beside its
// old value. A car reads the same through both versions and has one ledger; a
// request for signals is one data request. Car.SlowCommands and Fault.Accepted
// answer 202 and stream the result. Of a car with Car.NeverSubscribed, nothing
// is stored. WithVariants sends the spellings and shapes that older examples
// have. The compatible vehicles are there as well, and need no token: the garage
// stands for the world. WithConnectionLag and WithSubscriptionLag delay what a request has
// changed.
//
// # Webhooks
//
// AddWebhook creates one and challenges its receiver; Subscribe or the API
// subscribe cars to it. A change of a car puts an event into a queue. Deliver
// sends what is due once, RunWebhooks again and again; the simulator sends
// nothing by itself. A receiver can be an http.Handler in the same process:
// then neither sockets nor goroutines are needed. A streaming car without the
// key sends one VEHICLE_ERROR:VIRTUAL_KEY_REQUIRED and nothing else. When the
// key is added, it sends the same error as RESOLVED, and then a first delivery.
// Webhooks never read a car and take no turn.
//
//	id, err := sim.AddWebhook(ctx, smartcartest.Webhook{CallbackURL: "https://example.com/hook", Handler: h})
//	err = sim.Subscribe(id, smartcartest.ModelY)
//	err = sim.Pair(smartcartest.ModelY)
//	sent, err := sim.Deliver(ctx) // the missing key, the key, the first state
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
// limit, vehicle (400 when the id is none, 401 when the token does not cover
// it), permission (403), capability (501), query or body (400), and then the
// car itself: the account (400), ASLEEP (409), key and window. Limits outside
// their documented range are VALIDATION errors rather than clamped. Version 1.0
// is 404; any other well-formed one is answered as 2.0. Compatibility refuses
// permissions that do not exist. An empty batch is a VALIDATION error. A batch
// turned away by the rate limit fails as a whole; VIRTUAL_KEY_REQUIRED, ASLEEP
// and the account's errors stand in its items. Commands to a car that already
// is in the wanted state succeed.
//
// A connection that can grant nothing of what was asked is made without
// permissions: required ones keep no car out. An account that the vendor cannot
// log in to fails a v3 request as a whole.
//
// In v3, the token is checked before the path. Without its permission, a single
// signal is 403, and a signal in the list has an error inside. The codes of
// other things that are not found are formed like VEHICLE_NOT_FOUND, such as
// CONNECTION_NOT_FOUND; a subscription that exists is
// CONFLICT:SUBSCRIPTION_EXISTS. A request for signals of a car of which nothing
// is stored takes no turn. Weekly schedules name days in upper or lower case;
// start or stop of a schedule may be missing, not both. When a slow car refuses
// a command, the error is streamed; an error in the request itself is answered
// at once.
//
// # Safety
//
// The credentials are fixed and public, and the control API below /_sim/
// (WithControl) has no authentication at all: keep it on loopback. Whoever
// reaches it can make the simulator send requests to any URL, as a webhook.
package smartcartest
