// Package keypage is the page that asks the owner of a Tesla to add the virtual
// key: an http.Handler for the place where a program sends the owner after
// Connect, or when a command failed with [smartcar.ErrVirtualKeyRequired].
//
//	page, err := keypage.New(keypage.Config{
//		Who:  func(r *http.Request) (*smartcar.User, error) { return client.User(userIDOf(r)), nil },
//		Done: "/dashboard", AppName: "Carport",
//	})
//	mux.Handle("/key/", http.StripPrefix("/key", page))
//
// The page shows for each of the owner's cars whether it needs the key, has it, had it
// until it was removed, or needs none, as [smartcar.Vehicle.Access] knows it. Below
// /key/?vehicle=<id> it shows one car. Those that need the key come first, with one
// link for all of them: on a phone a button that opens the Tesla app, on a desktop a
// QR code; the other one is a click away. Cars that need nothing are folded into one
// line. The Tesla app names Smartcar only, so the page names your application:
// [Config].AppName. When the key is there the page says so by itself and sends the
// owner on to [Config].Done. A day is written in the time zone and the way of the
// owner's browser; without JavaScript, in those of the server and of [Texts].
//
// # What it costs
//
// Opening the page asks Smartcar for the list of cars, for their names once a
// day, and for the status of the keys that are missing unless that is known for
// less than 5 seconds; that an owner waits on it costs the status reads of
// [smartcar.Vehicle.WaitForKey], however many tabs are open. None of this takes
// a turn of a car. A page comes after 20 seconds at the latest, and says of what
// could not be read by then that it is not known. Without JavaScript the page
// loads itself again, ever more rarely, and stops after 30 times.
//
// API v3 tells whether the key is there with the car's data only, and nobody is
// asked for that: the page shows the link to whoever may need it, and turns when a
// read of yours, a command or a webhook has shown the key; see
// [smartcar.Client.WebhookReceiver]. There the VIN is data, too: with
// [Config].VINInLink, the link has it from the first read of yours on.
//
// # Security
//
// Whose cars are shown is what [Config].Who says about the request, never what
// its address says; the id of a car that is not this user's is 404. The page
// runs no inline script, asks no other site for anything, and cannot be framed.
// Another site can neither read nor hold its events. No VIN is in it unless
// [Config].VINInLink is set. The owner is sent on to Done, or to a path of your
// own site with [Config].AllowReturn.
//
// # Looks and words
//
// All words are in [Texts], to be replaced or translated. Colors and shapes are
// CSS variables: set them in [Config].CSS, such as
//
//	:root { --key-accent: #0f766e; --key-radius: 4px }
//
// The QR code is drawn by rsc.io/qr, which has no dependencies of its own and is
// compiled into programs that import this package only.
package keypage
