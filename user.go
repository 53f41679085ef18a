package smartcar

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/users"
)

// A User is a person who connected cars through Connect, possibly several
// times: each run is a grant of its own, and the handle knows them all. It is
// safe for concurrent use.
type User struct {
	core *core
	id   string
}

// ID is Smartcar's id of the user.
func (u *User) ID() string {
	if u == nil {
		return ""
	}
	return u.id
}

// Vehicle returns the handle of one of the user's cars. It makes no request:
// an id that is not valid, or not the user's, shows at the first call.
func (u *User) Vehicle(id string) *Vehicle {
	if u == nil || u.core == nil {
		return &Vehicle{handle{car: carRef{id: id}}} // each call returns an error that says why
	}
	return u.vehicle(id, "")
}

// ready returns the error of a handle that cannot be used.
func (u *User) ready(ctx context.Context) error {
	if u == nil || u.core == nil {
		return argumentError("User", "must come from Client.User")
	}
	return errors.Join(checkContext(ctx), validateID("user id", u.id))
}

func (u *User) vehicle(id, grant string) *Vehicle {
	// Escaping keeps the id one segment, whatever is in it. The URL, the key and the id
	// are parts of one text: a list of cars is long.
	text := u.core.api + "/vehicles/" + url.PathEscape(id) + carKeyPrefix + id
	base, key := text[:len(text)-len(carKeyPrefix)-len(id)], text[len(text)-len(carKeyPrefix)-len(id):]
	return &Vehicle{handle{
		core: u.core, car: carRef{user: u.id, id: key[len(carKeyPrefix):], key: key}, base: base,
		grantID: grant, wrong: validateID("vehicle id", id),
	}}
}

// Vehicles yields the user's cars, each once, asking for page after page as the
// loop goes on. After an error it stops. On API v2.0 these are the cars of all
// the user's grants, and a grant that has ended is passed over as long as
// another one works; on v3 those of the user's connections, live ones unless
// there are none or [WithMode] says otherwise.
//
// https://smartcar.com/docs/api-reference/all-vehicles
func (u *User) Vehicles(ctx context.Context) iter.Seq2[*Vehicle, error] {
	if err := u.ready(ctx); err != nil {
		return func(yield func(*Vehicle, error) bool) { yield(nil, err) }
	}
	return func(yield func(*Vehicle, error) bool) {
		for found, err := range u.core.reach.vehicles(ctx, u.id) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(u.vehicle(found.id, found.grant), nil) {
				return
			}
		}
	}
}

// VirtualKeyURL is the link that came back from the user's last run of
// Connect, to be shown again; zero when none of the cars needed the key.
func (u *User) VirtualKeyURL(ctx context.Context) (VirtualKeyURL, error) {
	if err := u.ready(ctx); err != nil {
		return VirtualKeyURL{}, err
	}
	record, err := u.core.accounts.stored(ctx, u.id)
	if err != nil {
		return VirtualKeyURL{}, err
	}
	return u.core.links.parse(record.VirtualKeyURL), nil
}

// Renew refreshes every grant of the user whose refresh token would expire
// within the given time, so that an idle user need not connect again, and
// writes what is stored about the user anew if an older key of a [store.Sealed] store
// has sealed it. Refresh tokens live 60 days; calling it once a day with a week
// is plenty. Call it when a program starts, too: it finishes a refresh that a
// process which was killed has left, before the used refresh token is void.
// If nothing is due, it costs a few reads of the store.
func (u *User) Renew(ctx context.Context, within time.Duration) error {
	if within <= 0 {
		return argumentError("Renew within", "must be above zero, such as 7*24*time.Hour")
	}
	if err := u.ready(ctx); err != nil {
		return err
	}
	return errors.Join(u.core.reach.renew(ctx, u.id, within), u.core.users.Rewrite(ctx, u.id))
}

// Forget removes everything kept about the user: tokens, key link, answers and
// what is known of the cars. Only the turn of a keyless car stays until its window
// is over, because it protects the car and not the user. Forget works even if the
// record of the user cannot be read. Smartcar is not told: call [Vehicle.Disconnect]
// first to revoke the access.
func (u *User) Forget(ctx context.Context) error {
	if err := u.ready(ctx); err != nil {
		return err
	}
	return u.core.accounts.forget(ctx, u.id)
}

// MoveOptions shape one [Client.MoveToV3].
type MoveOptions struct {
	// Apply files what is found. Without it nothing is written: look at the
	// report first.
	Apply bool
	// Users are the ids that you keep from API v2.0. Those v3 shows no
	// connection of are reported as missing.
	Users []string
	// Resume continues a report that an error cut off.
	Resume *MoveReport
}

// A MoveReport says how the connections of API v3 pair with what is known from
// v2.0. It can be kept as JSON to be resumed later; it holds ids and no secrets.
type MoveReport struct {
	// Users are all whom v3 shows connections of, in the order they came.
	Users []MovedUser
	// MissingUsers are those of [MoveOptions.Users] without a connection. They
	// may have to connect again, or the application may have to be upgraded.
	MissingUsers []string
	// Connections is how many v3 has shown, Matched how many of them have both
	// the user and the vehicle known from v2.0.
	Connections, Matched int
	// Done is false while NextPage of the connections in mode NextMode is still
	// to be asked for: pass the report as [MoveOptions.Resume].
	Done     bool
	NextMode ConnectMode
	NextPage int
}

// A MovedUser is one user as both APIs know them: the ids are the same.
type MovedUser struct {
	UserID     string
	ExternalID string // as Smartcar keeps it; may be empty
	Known      bool   // stored here
	Vehicles   []MovedVehicle
	// MissingVehicles were listed or asked about on v2.0 and have no connection on v3.
	MissingVehicles []string
	// Filed says that this is stored.
	Filed bool
}

// A MovedVehicle is one connection of a [MovedUser].
type MovedVehicle struct {
	VehicleID    string
	ConnectionID string
	Known        bool // stored here: listed on v2.0, or filed by an earlier run
}

// MoveToV3 walks the connections that API v3 shows, live and simulated, and
// pairs them with the users and vehicles this client's store knows from v2.0:
// no owner has to connect again. First look at the report of a run without
// [MoveOptions.Apply]; then apply it, which files each user's external id and
// cars, so that [User.Forget] finds all of it. What was filed before stays as it
// is: it can be run any number of times, also while clients of both APIs are in
// use. It asks for 100 connections at a time and costs no vehicle's allowance.
// After an error the report so far is returned with it, to be resumed.
//
// The client speaks v3 and shares the store of the v2.0 one. Tokens of v2.0 are
// left alone.
//
// https://smartcar.com/docs/getting-started/how-to/m2m/migration-guide
func (c *Client) MoveToV3(ctx context.Context, o MoveOptions) (*MoveReport, error) {
	a, err := c.core.v3(opMove)
	if err == nil {
		err = checkContext(ctx)
	}
	if err != nil {
		return nil, err
	}
	report := &MoveReport{NextMode: ModeLive, NextPage: 1}
	if o.Resume != nil {
		report = o.Resume.clone()
	}
	if !report.Done && (report.NextPage < 1 || report.NextMode != ModeLive && report.NextMode != ModeSimulated) {
		return nil, argumentError("MoveOptions.Resume", "is not a report of MoveToV3")
	}
	m := mover{appReach: a, report: report, index: make(map[string]int, len(report.Users)), shown: make(map[string]bool)}
	for i, u := range report.Users {
		m.index[u.UserID] = i
	}
	return report, m.run(ctx, o)
}

// mover is one run of MoveToV3.
type mover struct {
	appReach
	report *MoveReport
	index  map[string]int  // where a user stands in the report
	shown  map[string]bool // all connections that this run has read
}

func (r *MoveReport) clone() *MoveReport {
	changed := *r
	changed.Users = slices.Clone(r.Users)
	for i := range changed.Users {
		changed.Users[i].Vehicles = slices.Clone(changed.Users[i].Vehicles)
	}
	changed.MissingUsers = slices.Clone(r.MissingUsers)
	return &changed
}

func (m *mover) run(ctx context.Context, o MoveOptions) error {
	r := m.report
	for !r.Done {
		if err := m.page(ctx); err != nil {
			return err
		}
	}
	r.Connections, r.Matched, r.MissingUsers = 0, 0, nil
	for i := range r.Users {
		u := &r.Users[i]
		if err := m.accounts.move(ctx, u, o.Apply); err != nil {
			return err
		}
		for _, v := range u.Vehicles {
			r.Connections++
			if u.Known && v.Known {
				r.Matched++
			}
		}
	}
	for _, id := range o.Users {
		if _, ok := m.index[id]; !ok {
			r.MissingUsers = append(r.MissingUsers, id)
		}
	}
	return nil
}

// page adds one page of connections to the report.
func (m *mover) page(ctx context.Context) error {
	r := m.report
	listing := m.request(opMove, http.MethodGet, "/connections")
	listing.query = url.Values{"filter[vehicle.mode]": {string(r.NextMode)}}
	page, err := pageOfV3[connectionV3](ctx, m.sender, listing, r.NextPage)
	if err != nil {
		return err
	}
	fresh := false
	for i := range page.Data {
		c := page.Data[i].Connection
		fresh = m.add(c) || c.ID != "" && !m.shown[c.ID] || fresh
		m.shown[c.ID] = true
	}
	switch {
	case fresh: // until a page brings nothing new
		r.NextPage++
	case r.NextMode == ModeLive:
		r.NextMode, r.NextPage = ModeSimulated, 1
	default:
		r.Done, r.NextPage = true, 0
	}
	return nil
}

// add returns false for a connection that is in the report already.
func (m *mover) add(c Connection) bool {
	if validateID("user id", c.UserID) != nil || validateID("vehicle id", c.VehicleID) != nil {
		return false
	}
	i, ok := m.index[c.UserID]
	if !ok {
		i = len(m.report.Users)
		m.index[c.UserID] = i
		m.report.Users = append(m.report.Users, MovedUser{UserID: c.UserID})
	}
	u := &m.report.Users[i]
	if u.ExternalID == "" {
		u.ExternalID = c.ExternalID
	}
	if slices.ContainsFunc(u.Vehicles, func(v MovedVehicle) bool { return v.VehicleID == c.VehicleID }) {
		return false
	}
	u.Vehicles = append(u.Vehicles, MovedVehicle{VehicleID: c.VehicleID, ConnectionID: c.ID})
	return true
}

// compare fills in what is stored of the user already. A nil record means nothing.
func (u *MovedUser) compare(stored *users.Record, cars []users.Car) {
	known := make(map[string]bool, len(cars))
	for _, c := range cars {
		known[c.ID] = true
	}
	u.Known, u.MissingVehicles = stored != nil && !stored.Forgotten, nil
	u.Filed = stored != nil && stored.Moved && (stored.ExternalID != "" || u.ExternalID == "")
	for i := range u.Vehicles {
		v := &u.Vehicles[i]
		v.Known = known[v.VehicleID]
		u.Filed = u.Filed && v.Known
	}
	for _, v := range u.Vehicles {
		delete(known, v.VehicleID)
	}
	u.MissingVehicles = slices.Sorted(maps.Keys(known))
}
