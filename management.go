package smartcar

import (
	"context"
	"encoding/base64"
	"errors"
	"iter"
	"net/url"
	"slices"
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
	if err := errors.Join(c.made(), checkContext(ctx)); err != nil {
		return func(yield func(Connection, error) bool) { yield(Connection{}, err) }
	}
	return c.reach.connections(ctx, filter)
}

// DeleteConnections removes the connections of a vehicle (of all its users), of
// a user (of all their vehicles), or of one pair, and returns what was removed.
// An empty filter is refused. On API v2.0 it needs [Config.ManagementToken]; on
// v3 it removes one by one and returns those removed before an error, too. What
// this client keeps about a user goes with [User.Forget].
//
// https://smartcar.com/docs/api-reference/management/delete-vehicle-connections
func (c *Client) DeleteConnections(ctx context.Context, filter ConnectionFilter) ([]Connection, error) {
	if err := errors.Join(c.made(), checkContext(ctx)); err != nil {
		return nil, err
	}
	if filter.UserID == "" && filter.VehicleID == "" && filter.ExternalID == "" {
		return nil, argumentError("ConnectionFilter", "must name a user or a vehicle: nothing is deleted without")
	}
	removed, err := c.reach.deleteConnections(ctx, filter)
	for _, r := range append(slices.Clone(removed), Connection{VehicleID: filter.VehicleID}) {
		c.answers.discard(ctx, r.VehicleID, c.now())
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

// Compatibility asks whether a vehicle can be connected, by its VIN. API v2.0 only.
//
// https://smartcar.com/docs/api-reference/compatibility/by-vin
func (c *Client) Compatibility(ctx context.Context, number string, o CompatibilityOptions) (*Compatibility, error) {
	if err := errors.Join(c.made(), checkContext(ctx)); err != nil {
		return nil, err
	}
	if c.opts.api == V3 {
		return nil, &NotSupportedError{Operation: opCompatible, API: string(V3)}
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
	w, err := callJSON[compatibilityV2](ctx, c.core, call)
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
