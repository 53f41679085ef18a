package smartcar

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/vin"
)

// request is a request to API v3 in the name of the application alone.
func (a appReach) request(op Operation, method, path string) *request {
	return &request{op: op, kind: KindMetadata, base: a.sender.base, wire: wireRequest{method: method, path: path}, auth: a.token}
}

// remove sends a request that removes something. It is no error if that is gone
// already.
func (a appReach) remove(ctx context.Context, r *request) error {
	r.own = aRemoval
	_, err := a.sender.send(ctx, r, nil)
	return unlessGone(err)
}

// onePath escapes an id as the last segment of a path.
func onePath(argument, above, id string) (string, error) {
	return above + url.PathEscape(id), validateID(argument, id)
}

// pageV3 is a page of a collection.
type pageV3[T any] struct {
	Data lenient.List[T] `json:"data"`
	Meta lenient.Object[struct {
		TotalCount lenient.Float `json:"totalCount"`
	}] `json:"meta"`
	Links lenient.Object[struct {
		Next lenient.String `json:"next"`
	}] `json:"links"`
}

const pageSizeV3 = 100 // the largest there is

// last reports whether this page ends a collection of which got entries have been
// read: neither the announced total nor a next page says that there is more.
func (p *pageV3[T]) last(got int) bool {
	total := p.Meta.Value.TotalCount.Value
	more := p.Links.Value.Next != "" || total != nil && float64(got) < *total ||
		total == nil && len(p.Data) >= pageSizeV3
	return !more
}

// pageOfV3 asks for one page of a collection.
func pageOfV3[T any](ctx context.Context, s sender, first *request, number int) (*pageV3[T], error) {
	page := *first
	page.query = url.Values{"page[number]": {itoa(number)}, "page[size]": {itoa(pageSizeV3)}}
	for name, values := range first.query {
		page.query[name] = values
	}
	return sendJSON[pageV3[T]](ctx, s, &page, aPage)
}

// pagesV3 yields the entries of a collection, page after page. It counts the pages
// and does not follow the links in them, which could lead anywhere. A page that
// brings nothing new ends it in any case.
func pagesV3[T any](ctx context.Context, s sender, first *request, id func(*T) string) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		seen := make(map[string]bool)
		for number := 1; ; number++ {
			page, err := pageOfV3[T](ctx, s, first, number)
			if err != nil {
				yield(nil, err)
				return
			}
			fresh := false
			for i := range page.Data {
				key := id(&page.Data[i])
				if seen[key] {
					continue
				}
				seen[key], fresh = true, true
				if !yield(&page.Data[i], nil) {
					return
				}
			}
			if !fresh || page.last(len(seen)) {
				return
			}
		}
	}
}

// refV3 is a relationship to another resource.
type refV3 struct {
	Data lenient.Object[struct {
		ID lenient.String `json:"id"`
	}] `json:"data"`
}

func (r refV3) id() string { return string(r.Data.Value.ID) }

type timesV3 struct {
	CreatedAt lenient.Time `json:"createdAt"`
	UpdatedAt lenient.Time `json:"updatedAt"`
}

type vehicleAttributesV3 struct {
	Make       lenient.String `json:"make"`
	Model      lenient.String `json:"model"`
	Year       lenient.Int    `json:"year"`
	Mode       lenient.String `json:"mode"`
	Powertrain lenient.String `json:"powertrainType"`
}

// connectionV3 is a connection as API v3 sends it.
type connectionV3 struct{ Connection }

// UnmarshalJSON fails for what is no object, so that a list leaves it out.
func (w *connectionV3) UnmarshalJSON(b []byte) error {
	w.Connection = Connection{}
	v := lenient.Value(bytes.TrimSpace(b))
	if !v.IsObject() && !v.IsNull() {
		return errNotObject
	}
	var id, attributes, relationships, meta lenient.Value
	v.Read(
		lenient.Field{Name: "id", To: &id}, lenient.Field{Name: "attributes", To: &attributes},
		lenient.Field{Name: "relationships", To: &relationships}, lenient.Field{Name: "meta", To: &meta},
	)
	var permissions, car, user lenient.Value
	attributes.Read(
		lenient.Field{Name: "permissions", To: &permissions}, lenient.Field{Name: "vehicle", To: &car}, lenient.Field{Name: "user", To: &user},
	)
	w.ID = id.Text()
	w.UserID = firstOf(relationships.Get("user").Get("data").Get("id"), user.Get("id"))
	w.VehicleID = relationships.Get("vehicle").Get("data").Get("id").Text()
	w.ConnectedAt, w.UpdatedAt = meta.Get("createdAt").Time(), meta.Get("updatedAt").Time()
	w.ExternalID = user.Get("externalId").Text()
	w.readCar(car)
	if n := permissions.Len(); n > 0 {
		w.Permissions = make([]string, 0, n)
	}
	for p := range permissions.Elements() {
		w.Permissions = append(w.Permissions, p.Text())
	}
	return nil
}

// key tells a connection from the others of a list, also if it was sent without an id.
func (w *connectionV3) key() string {
	return cmp.Or(w.ID, strings.Join([]string{w.UserID, w.VehicleID, w.Mode}, "\n"))
}

func (w *connectionV3) readCar(car lenient.Value) {
	var mode, maker, model, year, powertrain lenient.Value
	car.Read(
		lenient.Field{Name: "mode", To: &mode}, lenient.Field{Name: "make", To: &maker}, lenient.Field{Name: "model", To: &model},
		lenient.Field{Name: "year", To: &year}, lenient.Field{Name: "powertrainType", To: &powertrain},
	)
	w.Mode, w.Make, w.Model, w.Year, w.Powertrain = mode.Text(), maker.Text(), model.Text(), year.Int(), powertrain.Text()
}

func (a appReach) connections(ctx context.Context, filter ConnectionFilter) iter.Seq2[Connection, error] {
	r := a.request(opConnections, http.MethodGet, "/connections")
	r.query = url.Values{}
	setPresent(r.query, map[string]string{
		"filter[userId]": filter.UserID, "filter[vehicleId]": filter.VehicleID,
		"filter[user.externalId]": filter.ExternalID, "filter[vehicle.mode]": string(filter.Mode),
	})
	return func(yield func(Connection, error) bool) {
		found, others := false, false
		for w, err := range pagesV3(ctx, a.sender, r, (*connectionV3).key) {
			if err != nil {
				yield(Connection{}, err)
				return
			}
			if w.UserID == "" && w.VehicleID == "" { // something else that has an id
				others = true
				continue
			}
			if found = true; !yield(w.Connection, nil) {
				return
			}
		}
		if others && !found {
			yield(Connection{}, noResource(opConnections))
		}
	}
}

var errNoResource = errors.New("the body does not hold what was asked for")

func noResource(op Operation) error {
	return &Error{Operation: op, StatusCode: http.StatusOK, read: true, Err: errNoResource}
}

// Connection reads one connection by its id. API v3 only.
//
// https://smartcar.com/docs/api-reference/get-connection
func (c *Client) Connection(ctx context.Context, id string) (*Connection, error) {
	a, err := c.core.v3(opConnections)
	if err != nil {
		return nil, err
	}
	path, err := onePath("connection id", "/connections/", id)
	if err == nil {
		err = checkContext(ctx)
	}
	if err != nil {
		return nil, err
	}
	w, err := sendJSON[struct {
		Data lenient.Object[connectionV3] `json:"data"`
	}](ctx, a.sender, a.request(opConnections, http.MethodGet, path), aThing)
	if err != nil {
		return nil, err
	}
	connection := w.Data.Value.Connection
	if connection.ID == "" || connection.UserID == "" && connection.VehicleID == "" {
		return nil, noResource(opConnections)
	}
	return &connection, nil
}

// RemoveUser removes a user from the application at Smartcar, with all their
// connections and data there, and then everything kept here, as [User.Forget]
// does. A user who is gone already is no error. API v3 only: on v2.0 use
// [Client.DeleteConnections].
//
// https://smartcar.com/docs/api-reference/remove-user
func (c *Client) RemoveUser(ctx context.Context, userID string) error {
	a, err := c.core.v3(opRemoveUser)
	if err != nil {
		return err
	}
	path, err := onePath("user id", "/users/", userID)
	if err == nil {
		err = checkContext(ctx)
	}
	if err != nil {
		return err
	}
	if err := a.remove(ctx, a.request(opRemoveUser, http.MethodDelete, path)); err != nil {
		return err
	}
	return c.User(userID).Forget(ctx)
}

// v3 returns the reach of API v3, for what only that can do.
func (c *core) v3(op Operation) (appReach, error) {
	if err := c.made(); err != nil {
		return appReach{}, err
	}
	a, ok := c.reach.(appReach)
	if !ok {
		return appReach{}, &NotSupportedError{Operation: op, API: c.wire.version()}
	}
	return a, nil
}

func basicAuth(user, password string) credential {
	return fixedCredential("Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// A Connection is one vehicle connected by one user.
type Connection struct {
	ID          string // of the connection; API v3 only
	UserID      string
	VehicleID   string
	ConnectedAt time.Time
	UpdatedAt   time.Time // API v3 only
	Mode        string    // live, simulated or test; empty where Smartcar does not say

	// What only API v3 tells:

	ExternalID  string // your id of the owner, as given to Connect
	Permissions []string
	Make, Model string
	Year        int
	Powertrain  string // BEV, PHEV, HEV, ICE; empty if not known
}

// A ConnectionFilter narrows a list of connections; empty fields do not filter.
// On API v3 an empty Mode stands for live: simulated cars are hidden unless
// asked for.
type ConnectionFilter struct {
	UserID     string
	VehicleID  string
	ExternalID string // API v3 only
	Mode       ConnectMode
}

// Connections yields the application's connections, newest first, asking for
// page after page as the loop goes on. After an error it stops. On API v2.0 it
// needs [Config.ManagementToken]; on v3 it costs no vehicle's allowance.
//
// https://smartcar.com/docs/api-reference/management/get-vehicle-connections
func (c *Client) Connections(ctx context.Context, filter ConnectionFilter) iter.Seq2[Connection, error] {
	if err := errors.Join(c.core.made(), checkContext(ctx)); err != nil {
		return func(yield func(Connection, error) bool) { yield(Connection{}, err) }
	}
	return c.core.reach.connections(ctx, filter)
}

// DeleteConnections removes the connections of a vehicle (of all its users), of
// a user (of all their vehicles), or of one pair, and returns what was removed.
// An empty filter is refused. On API v2.0 it needs [Config.ManagementToken]; on
// v3 it removes one by one and returns those removed before an error, too. What
// this client keeps about a user goes with [User.Forget].
//
// https://smartcar.com/docs/api-reference/management/delete-vehicle-connections
func (c *Client) DeleteConnections(ctx context.Context, filter ConnectionFilter) ([]Connection, error) {
	if err := errors.Join(c.core.made(), checkContext(ctx)); err != nil {
		return nil, err
	}
	if filter.UserID == "" && filter.VehicleID == "" && filter.ExternalID == "" {
		return nil, argumentError("ConnectionFilter", "must name a user or a vehicle: nothing is deleted without")
	}
	removed, err := c.core.reach.deleteConnections(ctx, filter)
	for _, r := range append(slices.Clone(removed), Connection{VehicleID: filter.VehicleID}) {
		c.core.answers.discard(ctx, r.VehicleID, c.core.opts.now())
	}
	return removed, err
}

// Compatibility says whether Smartcar can connect a vehicle. Enterprise feature.
type Compatibility struct {
	Compatible   *bool  // nil if the answer did not say
	Reason       string // VEHICLE_NOT_COMPATIBLE, MAKE_NOT_COMPATIBLE or empty
	Capabilities []Capability
}

// A Capability says whether the vehicle can do what a permission is for. Only
// US vehicles have them.
type Capability struct {
	Permission string
	Endpoint   string
	Capable    *bool
	Reason     string // VEHICLE_NOT_CAPABLE, SMARTCAR_NOT_CAPABLE or empty
}

// CompatibilityOptions for [Client.Compatibility].
type CompatibilityOptions struct {
	Scope   []string // the permissions to look at; required
	Country string   // two letters; Smartcar's default is US
}

// Compatibility asks whether a vehicle can be connected, by its VIN. API v2.0
// only; [Client.CompatibleModels] lists the models that can, on either API.
//
// https://smartcar.com/docs/api-reference/compatibility/by-vin
func (c *Client) Compatibility(ctx context.Context, number string, o CompatibilityOptions) (*Compatibility, error) {
	if err := errors.Join(c.core.made(), checkContext(ctx)); err != nil {
		return nil, err
	}
	if c.core.opts.api == V3 {
		return nil, &NotSupportedError{Operation: opCompatible, API: string(V3), Detail: "asking by VIN; see CompatibleModels"}
	}
	number, err := vin.Normalize(number)
	if err != nil {
		return nil, argumentError("Compatibility VIN", err.Error())
	}
	scope, err := scopeParameter("CompatibilityOptions.Scope", o.Scope)
	if err != nil || scope == "" {
		return nil, argumentError("CompatibilityOptions.Scope", "must hold at least one permission, one per entry")
	}
	if _, err := flagsParameter(o.Country, nil); err != nil {
		return nil, argumentError("CompatibilityOptions.Country", `must be two letters, such as "DE"`)
	}
	query := url.Values{"vin": {number}, "scope": {scope}}
	setPresent(query, map[string]string{"country": strings.ToUpper(o.Country)})
	r := &request{
		op: opCompatible, base: c.core.api, query: query,
		wire: wireRequest{method: "GET", path: "/compatibility"},
		auth: basicAuth(c.core.appID, c.core.secrets().clientSecret),
	}
	w, err := sendJSON[compatibilityV2](ctx, c.core.sender(), r, "compatible reason capabilities")
	if err != nil {
		return nil, err
	}
	return w.reading(), nil
}

type compatibilityV2 struct {
	Compatible   lenient.Bool   `json:"compatible"`
	Reason       lenient.String `json:"reason"`
	Capabilities lenient.List[struct {
		Permission lenient.String `json:"permission"`
		Endpoint   lenient.String `json:"endpoint"`
		Capable    lenient.Bool   `json:"capable"`
		Reason     lenient.String `json:"reason"`
	}] `json:"capabilities"`
}

func (w compatibilityV2) reading() *Compatibility {
	r := &Compatibility{Compatible: w.Compatible.Value, Reason: string(w.Reason)}
	for _, p := range w.Capabilities {
		r.Capabilities = append(r.Capabilities, Capability{
			Permission: string(p.Permission), Endpoint: string(p.Endpoint), Capable: p.Capable.Value, Reason: string(p.Reason),
		})
	}
	return r
}
