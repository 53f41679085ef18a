package smartcar

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// applicationCall is a call to API v3 in the name of the application alone.
func (a appReach) applicationCall(op Operation, method, path string) *call {
	return &call{op: op, kind: KindMetadata, base: a.api, request: wireRequest{method: method, path: path}, auth: a.token}
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

// last reports whether this page ends the collection, of which so many entries
// are there: neither the announced total nor a next page says that there is more.
func (p *pageV3[T]) last(got int) bool {
	total := p.Meta.Value.TotalCount.Value
	more := p.Links.Value.Next != "" || total != nil && float64(got) < *total ||
		total == nil && len(p.Data) >= pageSizeV3
	return !more
}

// pageOfV3 asks for one page of a collection.
func pageOfV3[T any](ctx context.Context, c *core, first *call, number int) (*pageV3[T], error) {
	page := *first
	page.query = url.Values{"page[number]": {itoa(number)}, "page[size]": {itoa(pageSizeV3)}}
	for name, values := range first.query {
		page.query[name] = values
	}
	return callJSON[pageV3[T]](ctx, c, &page)
}

// pagesV3 yields the entries of a collection, page after page. It goes by page
// numbers, not by the links, which could lead anywhere, and ends in any case on
// a page that brings nothing new.
func pagesV3[T any](ctx context.Context, c *core, first *call, id func(*T) string) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		seen := make(map[string]bool)
		for number := 1; ; number++ {
			page, err := pageOfV3[T](ctx, c, first, number)
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

type connectionV3 struct {
	ID         lenient.String `json:"id"`
	Attributes lenient.Object[struct {
		Permissions lenient.List[lenient.String]        `json:"permissions"`
		Vehicle     lenient.Object[vehicleAttributesV3] `json:"vehicle"`
		User        lenient.Object[struct {
			ID         lenient.String `json:"id"`
			ExternalID lenient.String `json:"externalId"`
		}] `json:"user"`
	}] `json:"attributes"`
	Relationships lenient.Object[struct {
		Vehicle lenient.Object[refV3] `json:"vehicle"`
		User    lenient.Object[refV3] `json:"user"`
	}] `json:"relationships"`
	Meta lenient.Object[timesV3] `json:"meta"`
}

func (w *connectionV3) connection() Connection {
	a, car := w.Attributes.Value, w.Attributes.Value.Vehicle.Value
	c := Connection{
		ID: string(w.ID), UserID: w.Relationships.Value.User.Value.id(), VehicleID: w.Relationships.Value.Vehicle.Value.id(),
		ConnectedAt: w.Meta.Value.CreatedAt.Time, UpdatedAt: w.Meta.Value.UpdatedAt.Time,
		Mode: string(car.Mode), ExternalID: string(a.User.Value.ExternalID),
		Make: string(car.Make), Model: string(car.Model), Year: int(car.Year), Powertrain: string(car.Powertrain),
	}
	if c.UserID == "" {
		c.UserID = string(a.User.Value.ID)
	}
	for _, p := range a.Permissions {
		c.Permissions = append(c.Permissions, string(p))
	}
	return c
}

func (a appReach) connections(ctx context.Context, filter ConnectionFilter) iter.Seq2[Connection, error] {
	call := a.applicationCall(opConnections, http.MethodGet, "/connections")
	call.query = url.Values{}
	setPresent(call.query, map[string]string{
		"filter[userId]": filter.UserID, "filter[vehicleId]": filter.VehicleID,
		"filter[user.externalId]": filter.ExternalID, "filter[vehicle.mode]": string(filter.Mode),
	})
	return func(yield func(Connection, error) bool) {
		for w, err := range pagesV3(ctx, a.core, call, func(w *connectionV3) string { return string(w.ID) }) {
			if err != nil {
				yield(Connection{}, err)
				return
			}
			if !yield(w.connection(), nil) {
				return
			}
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
	a, err := c.v3(opConnections)
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
	w, err := callJSON[struct {
		Data lenient.Object[connectionV3] `json:"data"`
	}](ctx, c.core, a.applicationCall(opConnections, http.MethodGet, path))
	if err != nil {
		return nil, err
	}
	connection := w.Data.Value.connection()
	if connection.ID == "" {
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
	a, err := c.v3(opRemoveUser)
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
	if _, err := a.send(ctx, a.applicationCall(opRemoveUser, http.MethodDelete, path)); err != nil && !isGone(err) {
		return err
	}
	return c.user(userID).Forget(ctx)
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
