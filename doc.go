// Package smartcar is a client for Smartcar's vehicle API that knows Tesla's
// virtual key.
//
// Whether a Tesla may be asked for data, and whether it would say anything new,
// depends on the car and on whether its owner has added a virtual key. Every
// request to a vehicle goes through one policy that knows both, so that a
// program wastes no call, never nags an owner whose car needs no key, and
// always learns when to come back and why.
//
// # Quick start
//
// Make one [Client] and keep it. Send the owner to Connect, handle the
// callback, keep the user's id:
//
//	client, err := smartcar.New(smartcar.Config{
//		ApplicationID: application, APIClientID: id, APIClientSecret: secret, RedirectURL: url, StateKey: key,
//	})
//	err = client.Connect().Start(w, r, smartcar.ConnectOptions{}) // in the handler of a page of yours
//	grant, err := client.Connect().HandleCallback(w, r)           // in the handler of the redirect URL
//
// Then, at any time, read and command the cars:
//
//	for v, err := range client.User(grant.UserID).Vehicles(ctx) {
//		battery, err := v.Battery(ctx) // or a *RateLimitError with NextAllowed
//		_, err = v.Lock(ctx)           // or a *VirtualKeyRequiredError with the link to show
//	}
//
// The examples of this page run against package smartcartest, a Smartcar that
// lives in your test, and so does "go run ./examples/quickstart". The README leads to
// pages in docs/ about stores, webhooks, testing and going live.
//
// # Rules
//
// The policy holds the rules of Smartcar's page on [Tesla's virtual key]:
//
//	vehicle                                  key               reads of data           commands
//	Tesla Model 3, Y, Cybertruck;            installed         sent                    sent
//	most Model S and X of 2021 and later     missing           one per 8 hours         refused, with the link
//	                                         not known now     as if missing           sent
//	                                         never to be known sent, until Smartcar    sent
//	                                                           says otherwise
//	Tesla Model S and X of 2020 and          needs none        when there can be       sent
//	earlier, some of 2021                                      something new
//	not known yet                            -                 as if missing           sent
//	other makes, and what cannot be told     -                 sent                    sent
//
// A refused read is a [*RateLimitError]; a refused command is a
// [*VirtualKeyRequiredError]. Where its field Local is true, it was decided here
// and cost nothing. No call waits for a window, except [Vehicle.Wait] and
// [Vehicle.Watch].
//
// Which class a car belongs to is read from its make, model and year, and from
// its VIN where those leave it open: a Model S or X of 2021 can be old or new
// hardware. [VehicleIdentity.KeyRequirement] tells it without asking anybody.
// While make and model cannot be read for the moment, its data is treated as
// that of a car without its key, and they are tried again after 5 minutes; when
// that has lasted for a day, the class cannot be told. On API v3 the first data,
// which has the VIN, may tell what make and model leave open: until then the car
// counts as one without its key.
//
// A make that says nothing, such as "UNKNOWN", is not another make. On API v2.0
// the VIN is read, too, where the attributes are not granted: it takes no turn.
//
// Whether the key is on the car is asked of Smartcar, which takes no turn of the
// car. A key that is missing is looked for before the first read and after 5, 15
// and 60 minutes, 4 hours and a day, then every 5 days, so that the first month of a
// keyless car costs 11 looks. An owner can remove a key in the car, and nobody says
// so: one that is there is looked at once a day while the car is used, and after its
// data has stood still for 1, 4 and 12 hours. It can never be known when the
// connected account is only a driver's, when the permission read_vehicle_info is
// missing, or over Tesla's retired integration; then what Smartcar answers decides,
// and the status is tried again once a day and after the owner has connected again.
//
// Evidence that the key is there opens the gate at once: a status read by
// [Vehicle.KeyStatus], a command that worked and needs the key, a webhook, or the
// application's own word, [Vehicle.SetKeyState]. [Vehicle.WaitForKey] waits for
// whichever comes first. Evidence that it is missing closes it; a status does not
// count against a command of the last day. A command is refused only on evidence of
// the last minute, and older evidence is looked up again first; on API v3, where
// only data tells, on evidence of the last 15 minutes. What Smartcar answers
// outweighs what was inferred.
//
// Where the status can never be read, limits of Smartcar's show the rule of keyless
// cars: one of 2 hours or more, two without a time that are more than 15 minutes and
// less than 8 hours apart, or VIRTUAL_KEY_REQUIRED. From then on the car is asked
// once per window, until a command or a webhook shows the key, the owner connects
// again, or a read inside a window, once a week, brings newer data. While Smartcar
// repeats data that it fetched more than 15 minutes ago, such a car is asked once an
// hour.
//
// The data of a Model S or X of 2020 and earlier is refreshed every 5 minutes
// while the car is awake. Until it can be newer, a read returns the last answer
// without a request, marked [SourceCache] but not Stale: Smartcar would say the
// same. While it sleeps it is asked after 5, 15 and 60 minutes, and so is a car
// without its key that answers ASLEEP, or of which nothing is stored ([RuleAsleep],
// [RuleNothingStored]): neither takes its turn. Two recordings that are not a number
// of refreshes apart prove that the car streams, and lift this: once a day it is
// asked early to see whether it does, weekly after three times without a sign. It no
// longer does after three answers in a row that are refreshes apart, or after a week
// without proof.
//
// A limit that Smartcar itself sets is kept in the same way: until it ends,
// reads of a limited vehicle, and every call of a limited application, are
// refused locally.
//
// [Vehicle.Access] explains all of this for one car, and [Vehicle.With] takes
// the options that change it: [AllowStale], [MaxAge], [WithoutTurn],
// [IgnorePolicy].
//
// # Turns
//
// The one read in 8 hours of a car without its key is precious. All that its
// answer brought is kept, on API v3 the whole list of signals, whatever was asked
// for. What a webhook of format 4.0 has pushed since is an answer, too: a read that
// would be refused returns it, marked [SourceWebhook] and not Stale.
// [AllowStale] takes what is older than that, and [MaxAge] takes what is young
// enough before it asks, for any car.
//
// Callers who want what one request under way will bring share it: reads of one
// process, of the same user and car, on API v2.0 of the same things in the same
// units. None shares what was asked for before a command was sent to the car, and
// [IgnorePolicy] shares nothing. The others get the answer marked [SourceCache].
//
// When a caller leaves, because its context ends, it returns at once. A read that
// has taken a car's turn and was sent goes on without it, within the time of
// [WithTimeout] and without a repetition, and its answer is kept: so a turn is
// not lost. At most 1,000 go on like this; beyond that a caller waits for its
// answer. One that was not sent yet is taken back, with its turn. Call
// [Client.Drain] before a program ends, and at the end of tests;
// [WithoutDetachedReads] turns it off. A panic of the transport is logged with
// its stack and raised again in the caller; when the caller has left, the process
// goes on. The turn counts as used then.
//
// What is kept belongs to the owner, whichever grant brought it: it outlives
// another run of Connect, as far as the newest grant has the permission for it.
//
// # Permissions
//
// Ask for read_vehicle_info in [ConnectOptions], or in the dashboard, whatever else
// the program reads. It is what make, model, year and the status of the virtual key
// are read with. Without it the class of a car follows from its VIN at best, which
// needs read_vin, and whether the key is there cannot be asked: a car is limited
// only after Smartcar has refused it, its owner is not told in time that the key is
// missing, and [Vehicle.WaitForKey] waits for a webhook or a command that works.
//
// [Required] keeps the owner from unticking a permission, and since 2026-06-16
// nothing else: it keeps no car out. So a car may be connected without a permission
// that was asked for. Look at [Vehicle.Permissions] after each run of Connect; an
// operation that was not granted fails with [ErrPermission].
//
// Which permission a signal of API v3 needs, [signals.Code.Permission] says by the
// documentation, and [Client.CompatibleModels] by Smartcar's own catalog, model by
// model.
//
// # Kinds of requests
//
// Metadata is answered by Smartcar itself and not limited by the rules above:
// attributes, VIN, permissions, the status of the key, disconnecting, the users
// and their vehicles, connections, subscriptions, compatibility. Data reads the vehicle and
// takes its turn, where turns are limited. A command changes it.
//
// A [Vehicle.Snapshot] is one request and one turn for many reads, though each
// of them counts against the plan's monthly allowance. A keyless car has three
// turns a day: ask for everything at once.
//
// [Vehicle.Request] takes a GET for data and anything else for a command,
// unless [Request.Kind] says otherwise.
//
// A turn is reserved in the store before the request is sent, and settled by
// what came back. It is used up by an answer with data, by an error that may
// have come from the car, and by silence after the request was sent; it is
// given back when the request was certainly not sent, or when Smartcar refused it
// before the car (400 other than the car account's, 401, 403, 404, 430, 501, ASLEEP).
// If the process dies, the turn is held for as long as a request may take, see
// [WithTimeout], and the window after that. Requests that take a turn are never
// sent twice by net/http.
//
// # Tokens and grants
//
// Each run of Connect is a grant with tokens of its own; a [User] may have
// several, and a [Vehicle] knows the one that reaches it. The user's id is what
// Smartcar's API says with the fresh token, not what came through the browser.
//
// An access token lives 2 hours and is refreshed by itself, by one caller for
// all, in this process and across replicas that share a store. The new pair is
// stored before it is used. A used refresh token is honored for a minute, see
// [WithRefreshGrace], so that a login survives when an answer is lost or a
// process is killed: whoever asks next for anything of that user tries the same
// refresh token again. One loss cannot be survived: the answer to a refresh is
// lost, or dies with its process, and the minute is over before anybody could
// try again. So let a process that was killed restart within it, and begin with
// [User.Renew] for its users: a refused read of a keyless car tries no token.
//
// A refresh token lives 60 days: call [User.Renew] daily for users who may be
// idle for longer. When a grant has ended, errors match [ErrReconnectRequired],
// and only Connect helps. [Client.ImportTokens] takes over a pair that another
// library obtained, and [User.Forget] removes everything kept about a user.
//
// The link to add the key comes with the callback: [Grant.VirtualKeyURL]. It is
// accepted only if it leads to Tesla and to a key of Smartcar's or of the
// application, see [WithVirtualKeyDomain]. A link that is not costs nothing but
// itself: [Grant.VirtualKeyErr]. Package keypage is a page that shows it, with a
// QR code, and waits until the key is there.
//
// # Errors
//
// Every failed request is an [*Error], in whichever shape Smartcar answered, or
// one of these types, which may wrap one:
//
//	*RateLimitError           not now: NextAllowed says when, Rule says why
//	*VirtualKeyRequiredError  the owner has to add the key: show URL
//	*NotSupportedError        this API version cannot do it; nothing was sent
//	*ArgumentError            refused before anything was sent
//	*ConnectError             Connect reports why no car was connected
//	*CallbackError            the callback cannot be used
//	*KeyNotNeededError        there is no key to wait for
//	*PendingGrantError        connected and stored, but whose it is is not known yet: Connect.Resume
//	*VirtualKeyURLError       the link to add the key cannot be trusted
//	*WebhookError             a delivery was refused: Reason says which check failed
//
// Match them with [errors.As], and sentinels with [errors.Is]. Texts may
// change; types, codes and sentinels do not. [NextAllowed] finds the time in
// any error, [Retryable] says whether the same request may be sent again at
// once, and [MayHaveSucceeded] whether a command that failed may have been
// carried out.
//
// What the API answers, as [Error.Type] and [Error.Code], which are open:
//
//	AUTHENTICATION                          ErrUnauthorized
//	                                        The token was refused, though it is fresh: it does not cover this car. For a
//	                                        car on v2.0 that is ErrVehicleGone, too.
//	  UNAUTHORIZED, ACCESS_DENIED           The same on v3: the credentials do not allow it; see the dashboard.
//	BILLING                                 ErrBilling
//	  INVALID_PLAN, VEHICLE_LIMIT,          The plan does not allow it; see the dashboard.
//	  ACCOUNT_SUSPENDED
//	  VEHICLE_REQUEST_LIMIT                 RuleBudget: reads of the car are refused locally until NextAllowed.
//	COMPATIBILITY                           ErrNotSupported
//	  MAKE_NOT_COMPATIBLE,                  Never for this car. Do not ask again.
//	  SMARTCAR_NOT_CAPABLE,
//	  VEHICLE_NOT_CAPABLE
//	  PLATFORM_NOT_CAPABLE                  ErrReauthenticate, too: it works once the owner has re-authenticated.
//	CONNECTED_SERVICES_ACCOUNT
//	  VIRTUAL_KEY_REQUIRED                  ErrVirtualKeyRequired, *VirtualKeyRequiredError
//	                                        Show the owner its URL.
//	  AUTHENTICATION_FAILED, PERMISSION     ErrReauthenticate
//	                                        The owner has to log in to the car's account again: Connect.StartReauth.
//	  ACCOUNT_ISSUE, NO_VEHICLES,           ErrAccount: the owner has to put the account in order.
//	  SUBSCRIPTION, VEHICLE_MISSING         VEHICLE_MISSING of the key's status: the account is not the owner's.
//	PERMISSION                              ErrPermission
//	                                        Not granted: send the owner through Connect with that scope.
//	RATE_LIMIT                              ErrRateLimited, *RateLimitError
//	  VEHICLE                               RuleServer: not before NextAllowed.
//	  SMARTCAR_API                          RuleApplication: all calls are refused locally until NextAllowed.
//	RESOURCE_NOT_FOUND                      ErrNotFound
//	  PATH, VERSION, INVALID_PATH           A wrong Request.Path, or an API version that was switched off.
//	  VEHICLE_NOT_FOUND                     ErrVehicleGone, too, on v3: the car is not there, or not connected by this user.
//	  SIGNAL_NOT_FOUND                      ErrNothingStored, too, on v3: it is not stored of the car yet, or there is no such
//	                                        signal.
//	SERVER
//	  INTERNAL                              ErrUnavailable. Reads have been retried.
//	  RECORD_NOT_FOUND,                     No sentinel: ask Smartcar's support, with Error.RequestID.
//	  MULTIPLE_RECORDS_FOUND
//	UPSTREAM                                ErrUnavailable
//	  INVALID_DATA, KNOWN_ISSUE,            The maker's cloud failed. Reads have been retried; try again in some minutes.
//	  NO_RESPONSE, UNKNOWN_ISSUE
//	  RATE_LIMIT                            ErrRateLimited, too: the maker's limit. Wait for long.
//	VALIDATION                              ErrValidation
//	  PARAMETER, INVALID_INPUT_FORMAT,      Error.Detail names the fields; on v3, Error.Description does.
//	  MISSING_PARAMETER, or no code
//	VEHICLE_STATE                           ErrVehicleState
//	  ASLEEP                                ErrAsleep, too: the car was not asked. Try again later.
//	  CHARGING_IN_PROGRESS, CHARGE_FAULT, CHARGING_PLUG_CONNECTED, CHARGING_PLUG_NOT_CONNECTED, DOOR_OPEN,
//	  FULLY_CHARGED, HOOD_OPEN, IGNITION_ON, IN_MOTION, LOW_BATTERY, NOT_CHARGING, REMOTE_ACCESS_DISABLED,
//	  TRUNK_OPEN, VEHICLE_OFFLINE_FOR_SERVICE
//	                                        The owner can change it; tell them.
//	  UNKNOWN, UNREACHABLE                  Try again later. A command may have been carried out: MayHaveSucceeded.
//
// The token endpoint answers without a type:
//
//	invalid_grant                           ErrReconnectRequired: the grant has ended, or the code was used or too old.
//	invalid_client                          ErrUnauthorized: look at Config.ClientID and ClientSecret.
//	unauthorized_client                     ErrUnauthorized: the application is not enabled for the make of the car, which the
//	                                        description names. See the dashboard; connecting again does not help.
//	invalid_request                         No sentinel: compare the code. ErrReconnectRequired if it says of a refresh that
//	                                        the refresh token is invalid.
//	server_error                            ErrUnavailable
//
// And when there is neither type nor code:
//
//	any status                              ErrUnexpectedAnswer: a proxy's page, a redirect, a body that is too large or not the
//	                                        documented JSON.
//	401, 404, 429, 430, 500 and above       ErrUnauthorized, ErrNotFound, ErrRateLimited, ErrBilling, ErrUnavailable, too.
//	no answer                               ErrUnavailable, with StatusCode 0; but if the caller's context has ended, its error.
//	an answer that broke off                ErrUnavailable, too.
//
// What Connect reports, as [ConnectError.Code]:
//
//	access_denied                           ErrAccessDenied
//	user_manually_returned_to_application,  ErrUserCancelled
//	user_cancelled
//	vehicle_incompatible                    ErrVehicleIncompatible: the error may name the car. A permission marked by
//	                                        Required no longer causes it.
//	invalid_subscription                    ErrInvalidSubscription: the owner's connected services are not active.
//	no_vehicles                             ErrNoVehicles
//	configuration_error                     ErrConnectConfiguration: see Message and the dashboard.
//	server_error                            ErrConnectServer: try again.
//
// What this package decides by itself:
//
//	ErrInvalidArgument                      A mistake in the program.
//	ErrNotConnected                         Nothing is stored about the user: send them through Connect.
//	ErrNotMoved                             API v3: the user is known from v2.0 only. Run Client.MoveToV3.
//	ErrStateMismatch, ErrStateExpired,      The callback is not that of a flow which this browser began within the hour.
//	ErrStateReplayed                        Offer to start again; do not complete anything.
//	ErrMalformedCallback                    The same.
//	ErrUntrustedVirtualKeyURL               Somebody may have tampered with the link. Do not show it.
//	ErrStore                                The store failed; see below.
//	store.ErrCannotList                     Client.Vehicles: the store cannot say what it holds.
//	store.ErrSealed                         Inside an ErrStore: the keys given to store.NewSealed do not open a record.
//	ErrNotRequested                         The snapshot was not asked for this.
//	ErrHandlerPanicked                      Visit: the handler panicked; it is called again after a pause.
//	ErrTakesTurn                            WithoutTurn: the car would be asked, and nothing is kept.
//	ErrKeyNotNeeded                         WaitForKey: the car takes no key.
//	ErrWebhookRefused                       A delivery was not taken: its signature, its form, your handler or the store.
//
// # Webhooks
//
// [Client.WebhookReceiver] is the [http.Handler] of a webhook's callback URL, for
// payloads of version 4.0 and 2.0; [WebhookReceiver.Receive] is the same for
// other frameworks. The secret is the application management token,
// [Config.ManagementToken]; while it is changed, [WebhookOptions.Secrets] takes
// both. What it refuses is a [*WebhookError], whose Reason says which check
// failed and which is logged; the answer has the fitting status.
//
// What an event shows is evidence like any other. VIRTUAL_KEY_REQUIRED that
// begins or ends, and the signal connectivitystatus-isdigitalkeypaired, change
// the status of the key, with the source [KeyFromWebhook]; ASLEEP, the signal
// connectivitystatus-isasleep and how old the data is tell whether the car
// sleeps. Nothing of it goes back in time, in whatever order events arrive. The
// signals of an event are kept as the answers to the reads whose signals it has
// all of, on API v3 and for the user it names. Events of the dashboard's test
// button teach nothing.
//
// An event is handed over at least once, and marked as handled, in the store,
// when the handler has returned nil; while a handler has it, others wait. Its
// context ends after 12 seconds, since Smartcar waits for 15. A handler that
// fails gets the event again after 25, 50 and 100 seconds; then it is lost.
//
// [Vehicle.Subscribe] has a webhook tell of a car. Webhooks themselves are made
// in Smartcar's dashboard; [Client.Webhooks] lists them on API v3.
//
// # Retries
//
// Reads that met a SERVER or UPSTREAM error or a broken connection are sent
// again, up to three times in all, and so is everything that was certainly not
// sent, and what the application-wide limit refused if that ends soon. A read
// that got no answer in time is not, see [WithTimeout]. A command that may have
// been carried out is never repeated, nor is a request that a vehicle's limit
// refused. On a car whose turn it was, a repetition that the policy refuses
// returns the first error, with the time at which it may be repeated. See
// [WithRetry]; how long the pauses are may change between versions.
//
// # Many cars
//
// [Vehicle.Visit] makes one step of a program that keeps a car's data fresh: it reads if
// that is due, hands over what is new at least once, and says when to come back. Package
// fleet does that for many cars in one process, and module riverfleet on several machines.
// When a visit is due follows from the car's rule, from [Every], from what webhooks bring
// and, with [WithBudget], from what is left of the month: a car that is awake all day is
// then read about every 90 minutes and not every 5. Calls are counted in all processes
// that share the store; a read is refused when only the reserve is left, a command never.
// [Access] has what is Spent and Left, and [Client.ResetBudget] begins anew.
//
// # Two versions of the API
//
// The credentials in [Config] choose, and [WithAPI] where there are those of
// both; everything else of a program stays as it is. API v2.0,
// which Smartcar ends, has tokens of each owner, and an endpoint for each thing.
// API v3 has one token of the application, minted once for all replicas that
// share a store, and gives everything that is stored of a car as signals, in one
// answer: the typed reads are made of them, with the same results in the same units,
// and [Vehicle.Signals] has them all. Whatever is read of a car on v3 is one data request
// for all of its data, the VIN included. See [Config] for the credentials.
//
// Three things are different by nature. The user whom the browser names after
// Connect is confirmed by the external id of the run: give
// [ConnectOptions.ExternalID], or a random one is used. The status of the
// virtual key comes with the data, so that [Vehicle.KeyStatus] asks nobody and the first
// read of a Tesla is the one that shows it; a list without it leaves the car open until
// Smartcar says otherwise, see [WithoutKeySignal] and [WithoutKeyEndpoint], too. And v3
// answers with what Smartcar has stored: it is as old as [Meta.RecordedAt] says, and
// nothing until the car is subscribed to a webhook ([Access.NothingStored]).
//
// What one of them cannot do is a [*NotSupportedError] before any request.
// Moving over, [Client.MoveToV3] pairs v3's connections with the users known
// from v2.0; user and vehicle ids are the same.
//
// # Stores
//
// Tokens, users, the state of the policy and used Connect states are kept in a
// [store.Store]. The default is a [store.Memory]: nothing survives a restart. A store
// only compares and swaps, so that a database behind it is quickly written;
// replicas that share one share grants and windows. [store.ErrNotFound] and
// [store.ErrConflict] are its two answers, any other failure is wrapped in
// [ErrStore]. While it cannot be reached, data of cars that may be without the
// key is refused ([RuleStore]), and the rest is sent as long as the tokens it
// needs are still in memory; [WithStorePolicy] changes both.
//
// Where several applications, or live and simulated cars of one, share a store,
// [WithSharedStore] keeps them apart.
//
// Values hold tokens: keep them from readers, or wrap the store with
// [store.NewSealed]. Records of cars are dropped 90 days after their last change,
// and learned again.
//
// # Time
//
// There are two seams. [WithClock] replaces the time, and the sleeping between
// retries and in Wait, Watch and WaitForKey; deadlines of requests stay those of the
// computer. [WithRules] scales the two windows, for tests against a simulator
// that is scaled in the same way. Inside a testing/synctest bubble, with an
// in-memory transport, neither is needed.
//
// Times in results and errors are in UTC.
//
// Clocks may be wrong. There are three: the store's, that of the machine, and the
// time that passes in this process, which nobody sets. A window opens when none of
// them objects, as far as it is known when the turn was used: the store's clock
// dates the records (the machine's does for a store without one), a process objects
// to a jump of it that it has seen, and to a turn that was used, by the clock, before it
// saw the car without that turn; and a young process asks its machine as well.
// So a clock that is wrong may lengthen a window by as much as it is wrong, and
// shortens none, unless all of them are. What a clock has dated in the future counts
// from when it is found. Pauses and kept answers end after a length of time, and no
// error of a clock ends a login. While a machine is suspended no time passes for its
// processes: their windows last longer by that.
//
// # Memory
//
// The client keeps the last answer to each read of 10,000 vehicles, by user and on
// API v2.0 by unit system, so that a car with two owners leaks nothing between
// them: see [WithCacheSize]. On API v3 that is the whole list of signals, some
// 45 kB of memory for a car that has everything. A command that may have been carried out
// discards the answers of its car. When the last grant of a user ends, the answers about
// that user's cars are discarded. The client also keeps the tokens of 10,000 grants, what is stored about 10,000 users for a minute and,
// with a store other than a [store.Memory], what is known of as many cars as answers. All
// of it can be lost without harm. A client starts a goroutine for each read that takes a
// car's turn, which ends with the read, and needs no closing but [Client.Drain].
// [WithStoredAnswers] keeps answers in the store as well, for all replicas and beyond a
// restart, but for those that tell where a car is.
//
// # Logs and observers
//
// [WithObserver] tells a program what happens: operations, HTTP requests, refusals, tokens,
// keys, webhooks, visits. [OperationFromContext] names the operation to a transport of its
// own. [WithLogger] logs the same, each event in a line with its message, level and keys,
// which stay as they are; a key without a value is left out. A refusal that is repeated is
// one line, and then one a minute, with the count of those that it stands for.
//
//	smartcar operation          debug      operation vehicle outcome failure attempts took
//	smartcar request            debug      operation vehicle attempt status failure type code turn took request_id
//	smartcar refused            info       operation vehicle rule next_allowed local in_flight repetition count
//	smartcar repeats a request  debug      operation vehicle attempt status failure wait
//	smartcar kept answer        debug      operation vehicle source age stale
//	smartcar token              debug      operation user outcome failure status took; a failure: warn
//	smartcar key                info       operation vehicle from to source
//	smartcar class              info       operation vehicle from to
//	smartcar webhook            debug      operation vehicle type verdict status delay took
//	smartcar refused a webhook  info       operation vehicle type verdict reason status delay took count; status 5xx: warn
//	smartcar visit              debug      operation vehicle asked news retired failure next rule took
//	smartcar budget             warn       operation vehicle by_smartcar next_allowed
//	smartcar client             info       api version
//
// # Units
//
// Percentages run from 0 to 100, both in what is read and in
// [Vehicle.SetChargeLimit]. Lengths, volumes, pressures and temperatures are
// metric unless [WithUnitSystem] or [InUnits] says otherwise; [Meta] tells
// which. A nil pointer means that the car did not say: that is not zero. Judge
// how fresh data is by [Meta.RecordedAt], not by when you asked.
//
// # Privacy
//
// This package puts no token, code, secret or state into an error, a log line or
// what package fmt prints of its types. Errors repeat Smartcar's English description, never a URL or a body. Readings print
// their numbers as pointers, which keeps where a car is out of logs; a
// [VINReading] prints its VIN, which is personal data, and so does the vehicle
// of a [ConnectError] when you print its fields.
//
// # Stability
//
// Before version 1.0.0 a new minor version may break programs; the changelog
// says how to mend them. Texts of errors, the length of pauses between
// retries and the format of stored records may change at any time. Type, Code
// and other texts that are enumerations at Smartcar are open: expect new ones.
//
// This version speaks API v2.0 and v3. It needs Go 1.26.
//
// [Tesla's virtual key]: https://smartcar.com/docs/help/oem-integrations/tesla/virtual-key-tesla
package smartcar
