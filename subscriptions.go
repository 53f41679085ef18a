package smartcar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// A Webhook is one of the application's webhooks. They are made and changed in the
// dashboard only. A Webhook prints without its URLs, which may hold a secret of yours.
type Webhook struct {
	ID   string
	Name string
	// CallbackURL gets the events; see [Client.WebhookReceiver].
	CallbackURL string
	// ErrorCallbackURL gets those of the type [EventVehicleError]; empty is CallbackURL.
	ErrorCallbackURL string
	// Enabled: while it is not, nothing is sent and nothing is kept for later.
	Enabled bool
	// AutoSubscribe: each car that is connected is subscribed by itself.
	AutoSubscribe bool
	// Triggers are the signals whose changes make an event, Data those that
	// every event carries.
	Triggers, Data []signals.Code
	CreatedAt      time.Time
}

// Format names the webhook and keeps its URLs out of every verb of package fmt.
func (w Webhook) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "smartcar.Webhook("+printable(w.ID, 64)+" "+strconv.Quote(printable(w.Name, 64))+")")
}

// A WebhookFilter narrows a list of webhooks; empty fields do not filter.
type WebhookFilter struct {
	Name        string // a part of it, in any case
	CallbackURL string // a part of it, in any case

	Enabled, AutoSubscribe *bool
}

// A Subscription makes a webhook tell of one car of one user.
type Subscription struct {
	ID          string
	WebhookID   string
	UserID      string
	VehicleID   string
	Mode        string // live, simulated or test; empty where Smartcar does not say
	Make, Model string
	Year        int
	Powertrain  string // BEV, PHEV, HEV, ICE; empty if not known
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// A SubscriptionFilter narrows a list of subscriptions; empty fields do not
// filter, but an empty Mode stands for live.
type SubscriptionFilter struct {
	WebhookID string
	UserID    string
	VehicleID string
	Mode      ConnectMode
}

// Subscribe has the car's events sent to a webhook of the application, in the
// name of the user. A car that is subscribed already is no error. On API v3 the
// subscription is made in the background, within seconds, and the first event
// brings all of the webhook's data; until a car is subscribed to some webhook,
// Smartcar may store none of its data there (see [Access.NothingStored]), and
// refreshes it about once a day. It takes no turn of the car.
//
// https://smartcar.com/docs/integrations/webhooks/subscribing-vehicles
func (v *Vehicle) Subscribe(ctx context.Context, webhookID string) error {
	if err := validateID("webhook id", webhookID); err != nil {
		return err
	}
	r, err := v.calls().newRequest(ctx, opSubscribe)
	if err != nil {
		return err
	}
	if err := v.handle.core.reach.subscribe(ctx, r, webhookID); err != nil {
		return err
	}
	// The policy need not wait any more for data to be stored. If this write fails, it
	// waits for one pause more.
	if c, err := v.handle.core.cars.load(ctx, v.handle.car); err == nil && c.state.NothingStored() {
		_, _ = v.handle.core.cars.apply(ctx, v.handle.car, &c, evidenceOfSubscription()...)
	}
	_ = v.handle.core.visits.change(ctx, v.handle.car, func(m *visitMark, _ time.Time) { m.Webhook = webhookID }) // for Diagnosis alone
	return nil
}

// Unsubscribe ends what [Vehicle.Subscribe] began. A car that is not subscribed
// is no error. API v2.0 ends it for all users of the car and needs
// [Config.ManagementToken].
//
// https://smartcar.com/docs/integrations/webhooks/subscribing-vehicles
func (v *Vehicle) Unsubscribe(ctx context.Context, webhookID string) error {
	if err := validateID("webhook id", webhookID); err != nil {
		return err
	}
	r, err := v.calls().unauthorized(ctx, opUnsubscribe)
	if err != nil {
		return err
	}
	err = v.handle.core.reach.unsubscribe(ctx, r, webhookID)
	if err == nil {
		_ = v.handle.core.visits.change(ctx, v.handle.car, func(m *visitMark, _ time.Time) {
			if m.Webhook == webhookID {
				m.Webhook = ""
			}
		})
	}
	return err
}

func (g grantReach) subscribe(ctx context.Context, r *request, webhookID string) error {
	r.wire = wireRequest{method: http.MethodPost, path: "/webhooks/" + url.PathEscape(webhookID), body: []byte("{}")}
	r.own = "webhookId vehicleId"
	_, err := g.sender.send(ctx, r, nil)
	return err
}

// unsubscribe sends the one request below a vehicle that takes the application's
// management token and not the user's.
func (g grantReach) unsubscribe(ctx context.Context, r *request, webhookID string) error {
	token := g.secrets().managementToken
	if token == "" {
		return argumentError("Config.ManagementToken", "is empty; copy it from the Smartcar dashboard, Configuration, API credentials")
	}
	r.auth, r.units = fixedCredential("Bearer "+token), ""
	r.wire = wireRequest{method: http.MethodDelete, path: "/webhooks/" + url.PathEscape(webhookID)}
	r.own = "- {} " + aSuccess // the official SDKs disagree
	_, err := g.sender.send(ctx, r, nil)
	return unlessGone(err)
}

func unlessGone(err error) error {
	if isGone(err) {
		return nil
	}
	return err
}

// managementRequest is a request to the management API of v3.
func (a appReach) managementRequest(op Operation, method, path string) *request {
	r := a.request(op, method, path)
	r.base = a.opts.origins.ManagementV3.JoinPath("v3").String()
	return r
}

func (a appReach) subscribe(ctx context.Context, r *request, webhookID string) error {
	sub := a.managementRequest(opSubscribe, http.MethodPost, "/subscriptions")
	var err error
	if sub.wire.body, err = json.Marshal(map[string]any{"data": map[string]any{"attributes": map[string]string{
		"webhookId": webhookID, "userId": r.car.user, "vehicleId": r.car.id,
	}}}); err != nil {
		return argumentError("webhook id", "cannot be written as JSON")
	}
	sub.own = "meta.message " + aThing
	_, err = a.sender.send(ctx, sub, nil)
	if e, ok := errors.AsType[*Error](err); ok && e.StatusCode == http.StatusConflict {
		return nil // it exists
	}
	return err
}

func (a appReach) unsubscribe(ctx context.Context, r *request, webhookID string) error {
	if err := validateID("user id", r.car.user); err != nil {
		return err
	}
	var found []string
	for _, mode := range a.modes("") {
		filter := SubscriptionFilter{WebhookID: webhookID, UserID: r.car.user, VehicleID: r.car.id, Mode: mode}
		for s, err := range a.subscriptions(ctx, filter) {
			if err != nil {
				return err
			}
			// Smartcar's filter may let others through: end this subscription only.
			if s.WebhookID == webhookID && s.UserID == r.car.user && s.VehicleID == r.car.id && !slices.Contains(found, s.ID) {
				found = append(found, s.ID)
			}
		}
	}
	for _, id := range found {
		if err := a.deleteSubscription(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (a appReach) deleteSubscription(ctx context.Context, id string) error {
	path, err := onePath("subscription id", "/subscriptions/", id)
	if err != nil {
		return err
	}
	return a.remove(ctx, a.managementRequest(opUnsubscribe, http.MethodDelete, path))
}

// Webhooks yields the application's webhooks, asking for page after page as the
// loop goes on. After an error it stops. API v3 only.
//
// https://smartcar.com/docs/api-reference/list-webhooks
func (c *Client) Webhooks(ctx context.Context, filter WebhookFilter) iter.Seq2[Webhook, error] {
	return func(yield func(Webhook, error) bool) {
		a, err := c.core.v3(opWebhooks)
		if err == nil {
			err = checkContext(ctx)
		}
		if err != nil {
			yield(Webhook{}, err)
			return
		}
		r := a.managementRequest(opWebhooks, http.MethodGet, "/webhooks")
		r.query = url.Values{}
		setPresent(r.query, map[string]string{"filter[name]": filter.Name, "filter[callbackUri]": filter.CallbackURL})
		for name, value := range map[string]*bool{"isEnabled": filter.Enabled, "autoSubscribe": filter.AutoSubscribe} {
			if value != nil {
				r.query.Set("filter["+name+"]", strconv.FormatBool(*value))
			}
		}
		for w, err := range pagesV3(ctx, a.sender, r, func(w *webhookV3) string { return string(w.ID) }) {
			if err != nil {
				yield(Webhook{}, err)
				return
			}
			if !yield(w.webhook(), nil) {
				return
			}
		}
	}
}

// Webhook reads one webhook by its id. API v3 only.
//
// https://smartcar.com/docs/api-reference/get-webhook
func (c *Client) Webhook(ctx context.Context, id string) (*Webhook, error) {
	w, err := oneV3(ctx, c.core, opWebhooks, "webhook id", "/webhooks/", id, func(w *webhookV3) lenient.String { return w.ID })
	if err != nil {
		return nil, err
	}
	return new(w.webhook()), nil
}

// Subscriptions yields which cars the webhooks tell of, asking for page after
// page as the loop goes on. After an error it stops. API v3 only.
//
// https://smartcar.com/docs/api-reference/list-subscriptions
func (c *Client) Subscriptions(ctx context.Context, filter SubscriptionFilter) iter.Seq2[Subscription, error] {
	a, err := c.core.v3(opSubscriptions)
	if err == nil {
		err = checkContext(ctx)
	}
	if err != nil {
		return func(yield func(Subscription, error) bool) { yield(Subscription{}, err) }
	}
	return a.subscriptions(ctx, filter)
}

// Subscription reads one subscription by its id. API v3 only.
//
// https://smartcar.com/docs/api-reference/get-subscription
func (c *Client) Subscription(ctx context.Context, id string) (*Subscription, error) {
	w, err := oneV3(ctx, c.core, opSubscriptions, "subscription id", "/subscriptions/", id, func(w *subscriptionV3) lenient.String { return w.ID })
	if err != nil {
		return nil, err
	}
	return new(w.subscription()), nil
}

// DeleteSubscription ends one subscription by its id; one that is gone is no
// error. API v3 only; [Vehicle.Unsubscribe] works on both and needs no id.
//
// https://smartcar.com/docs/api-reference/delete-subscription
func (c *Client) DeleteSubscription(ctx context.Context, id string) error {
	a, err := c.core.v3(opUnsubscribe)
	if err == nil {
		err = checkContext(ctx)
	}
	if err != nil {
		return err
	}
	return a.deleteSubscription(ctx, id)
}

// oneV3 reads one resource of the management API.
func oneV3[T any](ctx context.Context, c *core, op Operation, argument, above, id string, found func(*T) lenient.String) (*T, error) {
	a, err := c.v3(op)
	if err != nil {
		return nil, err
	}
	path, err := onePath(argument, above, id)
	if err == nil {
		err = checkContext(ctx)
	}
	if err != nil {
		return nil, err
	}
	w, err := sendJSON[struct {
		Data lenient.Object[T] `json:"data"`
	}](ctx, a.sender, a.managementRequest(op, http.MethodGet, path), aThing)
	if err != nil {
		return nil, err
	}
	if found(&w.Data.Value) == "" {
		return nil, noResource(op)
	}
	return &w.Data.Value, nil
}

func (a appReach) subscriptions(ctx context.Context, filter SubscriptionFilter) iter.Seq2[Subscription, error] {
	r := a.managementRequest(opSubscriptions, http.MethodGet, "/subscriptions")
	r.query = url.Values{}
	setPresent(r.query, map[string]string{
		"filter[webhookId]": filter.WebhookID, "filter[userId]": filter.UserID,
		"filter[vehicleId]": filter.VehicleID, "filter[vehicle.mode]": string(filter.Mode),
	})
	return func(yield func(Subscription, error) bool) {
		for w, err := range pagesV3(ctx, a.sender, r, func(w *subscriptionV3) string { return string(w.ID) }) {
			if err != nil {
				yield(Subscription{}, err)
				return
			}
			if !yield(w.subscription(), nil) {
				return
			}
		}
	}
}

// signalRefV3 names a signal: an object, or a bare text.
type signalRefV3 struct{ code, name, group string }

// UnmarshalJSON never fails.
func (s *signalRefV3) UnmarshalJSON(b []byte) error {
	*s = readSignalRef(b)
	return nil
}

func readSignalRef(v lenient.Value) signalRefV3 {
	if !v.IsObject() {
		return signalRefV3{code: v.Text()}
	}
	var code, name, group lenient.Value
	v.Read(lenient.Field{Name: "code", To: &code}, lenient.Field{Name: "name", To: &name}, lenient.Field{Name: "group", To: &group})
	return signalRefV3{code.Text(), name.Text(), group.Text()}
}

// signalCode is the code, or what it is made of: group and name, which were sent
// as "Group.Name", too, and now and then in each other's place. A code of a documented
// group is written as it is documented.
func (s signalRefV3) signalCode() signals.Code {
	switch {
	case s.code == "" && s.group != "" && s.name != "":
		return codeOf(s.group, s.name)
	case s.code == "":
		s.code = s.name
	}
	if group, name, ok := strings.Cut(s.code, "."); ok && group != "" && name != "" {
		return codeOf(group, name)
	}
	if code := strings.ToLower(strings.Replace(s.code, "_", "-", 1)); code != s.code { // in other letters than documented
		if group, _, _ := strings.Cut(code, "-"); isSignalGroup(group) {
			return signals.Code(code)
		}
	}
	return signals.Code(s.code)
}

// codeOf makes a code of a group and a name.
func codeOf(group, name string) signals.Code {
	code, swapped := strings.ToLower(group+"-"+name), strings.ToLower(name+"-"+group)
	if !isSignalGroup(group) && isSignalGroup(name) {
		code = swapped
	}
	return signals.Code(code)
}

// isSignalGroup knows the groups that Smartcar documents.
func isSignalGroup(text string) bool {
	switch strings.ToLower(text) {
	case "charge", "climate", "closure", "connectivitysoftware", "connectivitystatus", "diagnostics", "hvac", "internalcombustionengine",
		"location", "lowvoltagebattery", "motion", "odometer", "service", "surveillance", "tractionbattery", "transmission",
		"vehicleidentification", "vehicleuseraccount", "wheel":
		return true
	}
	return false
}

func signalCodes(list []signalRefV3) (codes []signals.Code) {
	for _, s := range list {
		if code := s.signalCode(); code != "" {
			codes = append(codes, code)
		}
	}
	return codes
}

type webhookV3 struct {
	ID         lenient.String `json:"id"`
	Attributes lenient.Object[struct {
		Name             lenient.String            `json:"name"`
		CallbackURI      lenient.String            `json:"callbackUri"`
		ErrorCallbackURI lenient.String            `json:"errorCallbackUri"`
		IsEnabled        lenient.Bool              `json:"isEnabled"`
		AutoSubscribe    lenient.Bool              `json:"autoSubscribe"`
		Triggers         lenient.List[signalRefV3] `json:"triggers"`
		Data             lenient.List[signalRefV3] `json:"data"`
	}] `json:"attributes"`
	Meta lenient.Object[timesV3] `json:"meta"`
}

func (w *webhookV3) webhook() Webhook {
	a := w.Attributes.Value
	return Webhook{
		ID: string(w.ID), Name: string(a.Name), CallbackURL: string(a.CallbackURI), ErrorCallbackURL: string(a.ErrorCallbackURI),
		Enabled: deref(a.IsEnabled.Value), AutoSubscribe: deref(a.AutoSubscribe.Value),
		Triggers: signalCodes(a.Triggers), Data: signalCodes(a.Data), CreatedAt: w.Meta.Value.CreatedAt.Time,
	}
}

type subscriptionV3 struct {
	ID         lenient.String `json:"id"`
	Attributes lenient.Object[struct {
		Vehicle lenient.Object[vehicleAttributesV3] `json:"vehicle"`
	}] `json:"attributes"`
	Relationships lenient.Object[struct {
		Webhook lenient.Object[refV3] `json:"webhook"`
		User    lenient.Object[refV3] `json:"user"`
		Vehicle lenient.Object[refV3] `json:"vehicle"`
	}] `json:"relationships"`
	Meta lenient.Object[timesV3] `json:"meta"`
}

func (w *subscriptionV3) subscription() Subscription {
	car, to := w.Attributes.Value.Vehicle.Value, w.Relationships.Value
	return Subscription{
		ID: string(w.ID), WebhookID: to.Webhook.Value.id(), UserID: to.User.Value.id(), VehicleID: to.Vehicle.Value.id(),
		Mode: string(car.Mode), Make: string(car.Make), Model: string(car.Model), Year: int(car.Year), Powertrain: string(car.Powertrain),
		CreatedAt: w.Meta.Value.CreatedAt.Time, UpdatedAt: w.Meta.Value.UpdatedAt.Time,
	}
}
