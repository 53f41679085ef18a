package smartcar

import (
	"context"
	"encoding/base64"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/vin"
)

func basicAuth(user, password string) credential {
	return fixedCredential("Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// A Connection is one vehicle connected by one user.
type Connection struct {
	UserID      string
	VehicleID   string
	ConnectedAt time.Time
	Mode        string // live, simulated or test; empty where Smartcar does not say
}

// A ConnectionFilter narrows a list of connections; empty fields do not filter.
type ConnectionFilter struct {
	UserID    string
	VehicleID string
	Mode      ConnectMode
}

func (f ConnectionFilter) query() url.Values {
	query := url.Values{}
	setPresent(query, map[string]string{"user_id": f.UserID, "vehicle_id": f.VehicleID, "mode": string(f.Mode)})
	return query
}

type connectionsPage struct {
	Connections lenient.List[struct {
		UserID      lenient.String `json:"userId"`
		VehicleID   lenient.String `json:"vehicleId"`
		ConnectedAt lenient.Time   `json:"connectedAt"`
		CreatedAt   lenient.Time   `json:"createdAt"` // older name
		Mode        lenient.String `json:"mode"`
	}] `json:"connections"`
	Paging lenient.Object[struct {
		Cursor lenient.String `json:"cursor"`
	}] `json:"paging"`
}

func (p *connectionsPage) list() []Connection {
	list := make([]Connection, 0, len(p.Connections))
	for _, w := range p.Connections {
		at := w.ConnectedAt.Time
		if at.IsZero() {
			at = w.CreatedAt.Time
		}
		list = append(list, Connection{UserID: string(w.UserID), VehicleID: string(w.VehicleID), ConnectedAt: at, Mode: string(w.Mode)})
	}
	return list
}

// Connections yields the application's connections, newest first, asking for
// page after page as the loop goes on. After an error it stops. It needs
// [Config.ManagementToken].
//
// https://smartcar.com/docs/api-reference/management/get-vehicle-connections
func (c *Client) Connections(ctx context.Context, filter ConnectionFilter) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		query := filter.query()
		query.Set("limit", "100")
		seen := make(map[string]bool) // cursors, so that a list that bites its tail ends
		for {
			page, err := c.connections(ctx, opConnections, "GET", query)
			if err != nil {
				yield(Connection{}, err)
				return
			}
			for _, connection := range page.list() {
				if !yield(connection, nil) {
					return
				}
			}
			cursor := string(page.Paging.Value.Cursor)
			if cursor == "" || len(page.Connections) == 0 || seen[cursor] {
				return
			}
			seen[cursor] = true
			query.Set("cursor", cursor)
		}
	}
}

// DeleteConnections removes the connections of a vehicle (of all its users), of
// a user (of all their vehicles), or of one pair, and returns what was removed.
// An empty filter is refused. It needs [Config.ManagementToken]; what this
// client keeps about a user goes with [User.Forget].
//
// https://smartcar.com/docs/api-reference/management/delete-vehicle-connections
func (c *Client) DeleteConnections(ctx context.Context, filter ConnectionFilter) ([]Connection, error) {
	if filter.UserID == "" && filter.VehicleID == "" {
		return nil, argumentError("ConnectionFilter", "must name a user or a vehicle: nothing is deleted without")
	}
	if filter.Mode != "" {
		return nil, argumentError("ConnectionFilter.Mode", "cannot be used to delete")
	}
	page, err := c.connections(ctx, opDeleteConns, "DELETE", filter.query())
	if err != nil {
		return nil, err
	}
	removed := page.list()
	for _, r := range append(removed, Connection{VehicleID: filter.VehicleID}) {
		c.answers.discard(ctx, r.VehicleID, c.now())
	}
	return removed, nil
}

func (c *Client) connections(ctx context.Context, op Operation, method string, query url.Values) (*connectionsPage, error) {
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	if c.secrets().managementToken == "" {
		return nil, argumentError("Config.ManagementToken", "is empty; copy it from the Smartcar dashboard, Configuration, API credentials")
	}
	return applicationJSON[connectionsPage](ctx, c.core, &call{
		op: op, base: c.opts.origins.Management.JoinPath("v2.0/management").String(), query: query,
		request: wireRequest{method: method, path: "/connections"},
		auth:    basicAuth("default", c.secrets().managementToken),
	})
}

// applicationJSON makes a call in the name of the application.
func applicationJSON[T any](ctx context.Context, c *core, call *call) (*T, error) {
	call.kind = KindMetadata
	a, err := c.send(ctx, call)
	if err != nil {
		return nil, err
	}
	v, err := decodeObject[T](a.body)
	if err != nil {
		return nil, unreadable(call.op, a, err)
	}
	return v, nil
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

// Compatibility asks whether a vehicle can be connected, by its VIN.
//
// https://smartcar.com/docs/api-reference/compatibility/by-vin
func (c *Client) Compatibility(ctx context.Context, number string, o CompatibilityOptions) (*Compatibility, error) {
	if err := checkContext(ctx); err != nil {
		return nil, err
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
	call := &call{
		op: opCompatible, base: c.api, query: query,
		request: wireRequest{method: "GET", path: "/compatibility"},
		auth:    basicAuth(c.appID, c.secrets().clientSecret),
	}
	w, err := applicationJSON[compatibilityV2](ctx, c.core, call)
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
