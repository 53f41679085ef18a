package smartcar

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
)

// wireV2 speaks API v2.0: one path an operation, /batch for several at once.
type wireV2 struct{}

var _ wire = wireV2{}

func (wireV2) version() string { return "v2.0" }

func (wireV2) base(o Origins) *url.URL { return o.API.JoinPath("v2.0") }

func (wireV2) supports(op *operation) bool { return op.v2 != "" }

func (wireV2) kind(op *operation) Kind { return op.kind }

func (w wireV2) read(ops []operation) (wireRequest, Kind, error) {
	kind := ops[0].kind
	for i := range ops {
		if ops[i].v2 == "" {
			return wireRequest{}, kind, &NotSupportedError{Operation: ops[i].name, API: w.version()}
		}
		kind = max(kind, ops[i].kind) // data, if any of it is
	}
	if len(ops) == 1 {
		return wireRequest{method: http.MethodGet, path: strings.TrimSuffix(ops[0].v2, "/")}, kind, nil
	}
	type item struct {
		Path string `json:"path"`
	}
	batch := struct {
		Requests []item `json:"requests"`
	}{Requests: make([]item, len(ops))}
	for i := range ops {
		batch.Requests[i].Path = ops[i].v2
	}
	body, _ := json.Marshal(batch) // texts only: cannot fail
	return wireRequest{method: http.MethodPost, path: "/batch", body: body}, kind, nil
}

func (wireV2) split(ops []operation, a *answer) ([]part, error) {
	if len(ops) == 1 {
		return []part{{op: &ops[0], body: a.body, meta: metaFrom(a.header, a.at)}}, nil
	}
	return splitBatch(ops, a)
}

func (wireV2) brought(a *answer) []part {
	return slices.DeleteFunc(slices.Clone(a.parts), func(p part) bool { return p.op.kind != KindData })
}

func (wireV2) within(ops []operation, a *answer) ([]part, bool) {
	parts := make([]part, len(ops))
	for i := range ops {
		at := slices.IndexFunc(a.parts, func(p part) bool { return p.op.name == ops[i].name })
		if at < 0 {
			return nil, false
		}
		parts[i] = a.parts[at]
	}
	return parts, true
}

func (wireV2) holds(ops, asked []operation) bool {
	return !slices.ContainsFunc(ops, func(op operation) bool {
		return !slices.ContainsFunc(asked, func(a operation) bool { return a.name == op.name })
	})
}

func (wireV2) keptIn(units UnitSystem) UnitSystem { return units }

func indexOfPath(ops []operation, path string) int {
	for i := range ops {
		if strings.Trim(ops[i].v2, "/") == strings.Trim(path, "/") {
			return i
		}
	}
	return -1
}

// decode has no use for units: v2.0 answers in those that it was asked for.
func (wireV2) decode(op *operation, body json.RawMessage, units UnitSystem) (reading, error) {
	if op.decodeV2 == nil {
		return nil, &NotSupportedError{Operation: op.name, API: string(V2)}
	}
	r, err := op.decodeV2(body, units)
	if err == nil && !op.isAnswer(body) {
		return nil, errForeign
	}
	return r, err
}

// grantReach is the reach of API v2.0.
type grantReach struct {
	opts      *options
	secrets   func() secrets
	sender    sender
	accounts  *accounts
	links     *keyLinks
	endpoints *tokenEndpoints
}

var _ reach = grantReach{}

func (g grantReach) authorize(ctx context.Context, r *request, grant string) error {
	var err error
	switch user, fresh := g.accounts.users.Recent(r.car.user); {
	case fresh && grant != "" && user.Has(grant):
	case fresh && len(user.Grants) == 1:
		grant = user.Grants[0].ID
	default:
		grant, err = g.grantFor(ctx, r.car, grant)
	}
	r.keptIn = r.units
	r.scope, r.grant = r.car.user, grantCredential{g.accounts.logins, grant, r.car.user, r.car.id}
	r.auth = &r.grant
	return err
}

func (g grantReach) connected(ctx context.Context, userID string) error {
	_, err := g.accounts.withGrants(ctx, userID)
	return err
}

// vehiclesPage is the largest page /vehicles gives.
const vehiclesPage = 50

// permissionsPage is the same of a car's permissions.
const permissionsPage = 50

func (g grantReach) vehicles(ctx context.Context, userID string) iter.Seq2[listedCar, error] {
	return func(yield func(listedCar, error) bool) {
		record, err := g.accounts.withGrants(ctx, userID)
		if err != nil {
			yield(listedCar{}, err)
			return
		}
		seen := make(map[string]bool)
		var ended error
		for _, grant := range record.NewestFirst() {
			var listed []string
			for id, err := range g.listVehicles(ctx, userID, grant.ID) {
				replaced := len(seen) > 0 && errors.Is(err, records.ErrUnreadable) // by a newer run of Connect
				if replaced || errors.Is(err, ErrReconnectRequired) || errors.Is(err, ErrUnauthorized) {
					ended = err
					break
				}
				if err != nil {
					yield(listedCar{}, err)
					return
				}
				if seen[id] {
					continue
				}
				seen[id] = true
				listed = append(listed, id)
				if !yield(listedCar{id, grant.ID}, nil) {
					return
				}
			}
			_ = g.accounts.users.List(ctx, userID, grant.ID, listed) // only saves work later
		}
		if len(seen) == 0 && ended != nil {
			yield(listedCar{}, ended)
		}
	}
}

// listVehicles yields the ids of the cars that one grant reaches.
func (g grantReach) listVehicles(ctx context.Context, userID, grant string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		seen := make(map[string]bool)
		for offset := 0; ; {
			page, err := getJSON[vehiclesV2](ctx, g.sender, opVehicles, grantCredential{logins: g.accounts.logins, grant: grant, userID: userID}, "/vehicles", url.Values{"limit": {itoa(vehiclesPage)}, "offset": {itoa(offset)}}, "vehicles[text]")
			if err != nil {
				yield("", err)
				return
			}
			fresh := false
			for _, id := range page.ids {
				if id == "" || seen[id] {
					continue
				}
				seen[id], fresh = true, true
				if !yield(id, nil) {
					return
				}
			}
			offset += len(page.ids)
			if !fresh || isLastPage(page.count, offset, len(page.ids) >= vehiclesPage) {
				return
			}
		}
	}
}

// isLastPage reports whether a page ends a list of which got entries have been read. Where
// the number of all entries is missing, a full page says that there may be more.
func isLastPage(count, got int, full bool) bool {
	if count <= 0 {
		return !full
	}
	return got >= count
}

// vehiclesV2 is a page of the ids of cars.
type vehiclesV2 struct {
	ids   []string
	count int // of all pages
}

// UnmarshalJSON copies the ids in one piece.
func (w *vehiclesV2) UnmarshalJSON(b []byte) error {
	var list, paging lenient.Value
	lenient.Value(b).Read(lenient.Field{Name: "vehicles", To: &list}, lenient.Field{Name: "paging", To: &paging})
	w.ids, w.count = make([]string, 0, list.Len()), paging.Get("count").Int()
	copies := lenient.NewCopier(len(list))
	for id := range list.Elements() {
		w.ids = append(w.ids, copies.Text(id))
	}
	return nil
}

// getJSON asks for something that concerns a grant but no vehicle.
func getJSON[T any](ctx context.Context, s sender, op Operation, auth grantCredential, path string, query url.Values, own string) (*T, error) {
	return sendJSON[T](ctx, s, &request{
		op: op, base: s.base, query: query, wire: wireRequest{method: "GET", path: path}, auth: &auth,
	}, own)
}

// grantFor finds the grant that reaches a car: the one that listed it, else the
// user's only one, else whichever lists it now, the newest first.
func (g grantReach) grantFor(ctx context.Context, car carRef, listedBy string) (string, error) {
	user, err := g.accounts.recentWithGrants(ctx, car.user)
	if err != nil {
		return "", err
	}
	if listedBy != "" && user.Has(listedBy) {
		return listedBy, nil
	}
	if len(user.Grants) == 1 {
		return user.Grants[0].ID, nil
	}
	if grant := g.accounts.users.GrantOf(ctx, car.user, user, car.id); grant != "" && !g.accounts.grants.Unreadable(ctx, grant) {
		return grant, nil
	}
	grants := user.NewestFirst()
	for _, grant := range grants {
		var listed []string
		for id, err := range g.listVehicles(ctx, car.user, grant.ID) {
			if errors.Is(err, ErrReconnectRequired) || errors.Is(err, records.ErrUnreadable) {
				break
			}
			if err != nil {
				return "", err
			}
			listed = append(listed, id)
		}
		_ = g.accounts.users.List(ctx, car.user, grant.ID, listed) // only saves work later
		if slices.Contains(listed, car.id) {
			return grant.ID, nil
		}
	}
	return grants[0].ID, nil // none does: let Smartcar say what it thinks of it
}

func (g grantReach) permissions(ctx context.Context, r *request) ([]string, error) {
	pattern := *r
	pattern.reads = lookup(Permissions)
	var err error
	if pattern.wire, pattern.kind, err = (wireV2{}).read(pattern.reads); err != nil {
		return nil, err
	}
	all, asked := []string{}, 0
	for {
		page := pattern
		page.query = url.Values{"limit": {itoa(permissionsPage)}, "offset": {itoa(asked)}}
		a, err := g.sender.send(ctx, &page, nil)
		if err != nil {
			return nil, err
		}
		answered, err := readingAs[permissionsV2](decoded(wireV2{}, a.answer.parts[0]))
		if err != nil {
			return nil, err
		}
		fresh := false
		for _, p := range answered.list() {
			if p != "" && !slices.Contains(all, p) {
				all, fresh = append(all, p), true
			}
		}
		asked += len(answered.Permissions)
		if !fresh || isLastPage(int(answered.Paging.Value.Count), asked, len(answered.Permissions) >= permissionsPage) {
			return all, nil
		}
	}
}

func (g grantReach) disconnect(ctx context.Context, r *request) error {
	var err error
	r.units = ""
	op := &lookup(opDisconnect)[0]
	if r.wire, err = (wireV2{}).command(op, nil); err != nil {
		return err
	}
	r.own = op.own
	if _, err = g.sender.send(ctx, r, nil); err != nil {
		return err
	}
	return g.accounts.disconnected(ctx, r.car)
}

func (g grantReach) renew(ctx context.Context, userID string, within time.Duration) error {
	record, err := g.accounts.withGrants(ctx, userID)
	if err != nil {
		return err
	}
	var failed []error
	for _, grant := range record.Grants {
		failed = append(failed, g.accounts.renew(ctx, userID, grant.ID, within))
	}
	return errors.Join(failed...)
}

func (g grantReach) finish(ctx context.Context, callback *Callback, run connectRun) (*Grant, error) {
	if !callback.HasCode() {
		return nil, &CallbackError{Parameter: "code", Problem: "is missing; was Connect started with response_type=code?"}
	}
	pair, err := g.endpoints.exchangeCode(ctx, callback.secrets().code, run.redirectURL)
	if err != nil {
		return nil, err
	}
	pending := tokens.Pending{ExternalID: run.externalID, VirtualKeyURL: callback.VirtualKeyURL.String()}
	userID, err := g.accounts.storeAndLink(ctx, pair, pending)
	if err != nil {
		return nil, err
	}
	return g.links.newGrant(userID, pending), nil
}

func (l *keyLinks) newGrant(userID string, pending tokens.Pending) *Grant {
	return &Grant{UserID: userID, ExternalID: pending.ExternalID, VirtualKeyURL: l.parse(pending.VirtualKeyURL)}
}

func (g grantReach) resume(ctx context.Context, grantID string) (*Grant, error) {
	pending, userID, err := g.accounts.linkPending(ctx, grantID)
	if err != nil {
		return nil, err
	}
	return g.links.newGrant(userID, pending), nil
}

func (f ConnectionFilter) queryV2() url.Values {
	query := url.Values{}
	setPresent(query, map[string]string{"user_id": f.UserID, "vehicle_id": f.VehicleID, "mode": string(f.Mode)})
	return query
}

type connectionsPageV2 struct {
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

func (p *connectionsPageV2) list() []Connection {
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

func (g grantReach) connections(ctx context.Context, filter ConnectionFilter) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		if filter.ExternalID != "" {
			yield(Connection{}, &NotSupportedError{Operation: opConnections, API: string(V2), Detail: "filtering by ExternalID"})
			return
		}
		query := filter.queryV2()
		query.Set("limit", "100")
		seen := make(map[[3]string]bool)
		for {
			page, err := g.connectionsPage(ctx, opConnections, "GET", query)
			if err != nil {
				yield(Connection{}, err)
				return
			}
			fresh := false
			for _, connection := range page.list() {
				key := [3]string{connection.UserID, connection.VehicleID, connection.Mode}
				if seen[key] {
					continue
				}
				seen[key], fresh = true, true
				if !yield(connection, nil) {
					return
				}
			}
			cursor := string(page.Paging.Value.Cursor)
			if cursor == "" || !fresh {
				return
			}
			query.Set("cursor", cursor)
		}
	}
}

func (g grantReach) deleteConnections(ctx context.Context, filter ConnectionFilter) ([]Connection, error) {
	if filter.ExternalID != "" {
		return nil, &NotSupportedError{Operation: opDeleteConns, API: string(V2), Detail: "filtering by ExternalID"}
	}
	if filter.Mode != "" {
		return nil, argumentError("ConnectionFilter.Mode", "cannot be used to delete on API v2.0")
	}
	page, err := g.connectionsPage(ctx, opDeleteConns, "DELETE", filter.queryV2())
	if err != nil {
		return nil, err
	}
	return page.list(), nil
}

func (g grantReach) connectionsPage(ctx context.Context, op Operation, method string, query url.Values) (*connectionsPageV2, error) {
	if g.secrets().managementToken == "" {
		return nil, argumentError("Config.ManagementToken", "is empty; copy it from the Smartcar dashboard, Configuration, API credentials")
	}
	return sendJSON[connectionsPageV2](ctx, g.sender, &request{
		op: op, base: g.opts.origins.Management.JoinPath("v2.0/management").String(), query: query,
		wire: wireRequest{method: method, path: "/connections"},
		auth: basicAuth("default", g.secrets().managementToken),
	}, "connections[].userId connections[].vehicleId")
}
