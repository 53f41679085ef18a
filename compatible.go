package smartcar

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// A CompatibleFilter chooses models for [Client.CompatibleModels]. What is empty
// chooses all.
type CompatibleFilter struct {
	Region string // US, CA or EUROPE
	Make   string // in any case, such as "TESLA"; one of them
	// Powertrain is ICE, BEV or PHEV. Hybrids that cannot be plugged in (HEV) are
	// counted as ICE here.
	Powertrain string
}

// A CompatibleModel says what the cars of one model and region can do at
// Smartcar. That follows what Smartcar has seen of such cars, and it can shrink.
// It says nothing about the virtual key, the plan or what an owner will grant.
type CompatibleModel struct {
	Make       string // for people: "Tesla", where a vehicle says "TESLA"
	Model      string
	Region     string // US, CA or EUROPE
	Powertrain string // ICE, BEV or PHEV; an HEV is ICE
	// FirstYear and LastYear are the model years it covers, both included; 0 if
	// Smartcar does not say.
	FirstYear, LastYear int
	Signals             []CompatibleSignal
	// Commands are codes such as "charge-start" and "closure-lock", which are
	// neither the paths nor the names of the commands. Expect others.
	Commands []string
}

// A CompatibleSignal is a signal that a model has, with the permission to ask for.
type CompatibleSignal struct {
	Code       signals.Code
	Name       string // for people, such as "State Of Charge"
	Permission string // such as "read_battery"; empty if Smartcar names none
}

// Permission returns the permission of a signal, and whether the model has the
// signal.
func (m CompatibleModel) Permission(code signals.Code) (permission string, found bool) {
	i := slices.IndexFunc(m.Signals, func(s CompatibleSignal) bool { return s.Code == code })
	if i < 0 {
		return "", false
	}
	return m.Signals[i].Permission, true
}

// compatibleLife is how long an answer about models is believed: Smartcar asks for
// a day at least.
const compatibleLife = 24 * time.Hour

// compatibleFilters is of how many filters a client keeps the models.
const compatibleFilters = 16

// maxCompatibleBody bounds the list of models. All 1,384 of them, each with all of
// the 93 signals, are some 20 MB.
const maxCompatibleBody = 64 << 20

// compatibleModels keeps the models by the filter that chose them.
type compatibleModels struct {
	byFilter *lru.Cache[CompatibleFilter, knownModels]
}

type knownModels struct {
	models []CompatibleModel
	asked  time.Time
}

func newCompatibleModels() *compatibleModels {
	return &compatibleModels{lru.New[CompatibleFilter, knownModels](compatibleFilters)}
}

// CompatibleModels lists the models that Smartcar can connect in a region, with
// their signals, the permission of each, and their commands. It takes no
// credentials and no vehicle, and works on either API. An answer is kept in this
// process for a day. Without a filter it is large: some 1,400 models, which may be
// 20 MB on the wire.
//
// [Client.Compatibility] asks by VIN, on API v2.0 only.
//
// https://smartcar.com/docs/api-reference/compatible-vehicles
func (c *Client) CompatibleModels(ctx context.Context, filter CompatibleFilter) ([]CompatibleModel, error) {
	if err := errors.Join(c.core.made(), checkContext(ctx)); err != nil {
		return nil, err
	}
	filter, err := filter.normalized()
	if err != nil {
		return nil, err
	}
	o, kept := c.core.opts, c.core.compatible.byFilter
	known, ok := kept.Get(filter)
	if age := o.now().Sub(known.asked); !ok || age < 0 || age >= compatibleLife {
		known.asked = o.now()
		if known.models, err = c.core.askCompatible(ctx, filter); err != nil {
			return nil, err
		}
		kept.Put(filter, known)
	}
	models := slices.Clone(known.models) // callers must not see each other's changes
	for i := range models {
		models[i].Signals, models[i].Commands = slices.Clone(models[i].Signals), slices.Clone(models[i].Commands)
	}
	return models, nil
}

// normalized writes a filter as it is sent and kept.
func (f CompatibleFilter) normalized() (CompatibleFilter, error) {
	f = CompatibleFilter{
		Region: strings.ToUpper(f.Region), Make: strings.ToUpper(strings.TrimSpace(f.Make)), Powertrain: strings.ToUpper(f.Powertrain),
	}
	switch {
	case !slices.Contains([]string{"", "US", "CA", "EUROPE"}, f.Region):
		return f, argumentError("CompatibleFilter.Region", "must be US, CA or EUROPE")
	case !slices.Contains([]string{"", "ICE", "BEV", "PHEV"}, f.Powertrain):
		return f, argumentError("CompatibleFilter.Powertrain", "must be ICE, BEV or PHEV; an HEV is counted as ICE")
	case len(f.Make) > 64 || strings.ContainsAny(f.Make, ",\r\n\x00"):
		return f, argumentError("CompatibleFilter.Make", `must be one make, such as "TESLA"`)
	}
	return f, nil
}

func (c *core) askCompatible(ctx context.Context, filter CompatibleFilter) ([]CompatibleModel, error) {
	r := &request{
		op: opCompatible, base: c.opts.origins.Compatibility.JoinPath("v3").String(), query: url.Values{},
		wire: wireRequest{method: http.MethodGet, path: "/compatible-vehicles"}, auth: noCredential{}, maxBody: maxCompatibleBody,
	}
	setPresent(r.query, map[string]string{
		"filter[region]": filter.Region, "filter[make]": filter.Make, "filter[powertrainType]": filter.Powertrain,
	})
	page, err := sendJSON[pageV3[modelV3]](ctx, c.sender(), r, aPage)
	if err != nil {
		return nil, err
	}
	if !page.last(len(page.Data)) && len(page.Data) > 0 {
		// No parameter is documented that asks for another page.
		c.opts.logger.LogAttrs(ctx, slog.LevelWarn, "smartcar lists more compatible models than came; ask by make or region", slog.Int("came", len(page.Data)))
	}
	models := make([]CompatibleModel, 0, len(page.Data))
	known := words{}
	for _, m := range page.Data {
		if model := m.model(known); model.Make != "" {
			models = append(models, model)
		}
	}
	return models, nil
}

// modelV3 is a compatible model in JSON.
type modelV3 struct {
	Attributes lenient.Object[struct {
		Make       lenient.String `json:"make"`
		Model      lenient.String `json:"model"`
		Region     lenient.String `json:"region"`
		Powertrain lenient.String `json:"powertrainType"`
		Years      lenient.Object[struct {
			Start lenient.Int `json:"start"`
			End   lenient.Int `json:"end"`
		}] `json:"years"`
		Capabilities lenient.List[struct {
			Type       lenient.String `json:"type"`
			Name       lenient.String `json:"name"`
			Code       lenient.String `json:"code"`
			Capability lenient.String `json:"capability"`
			Permission lenient.String `json:"permission"`
		}] `json:"capabilities"`
	}] `json:"attributes"`
}

// model takes the code of a signal from capability: the field named code holds only
// its name. Of a command both are the same.
func (w modelV3) model(known words) CompatibleModel {
	a := w.Attributes.Value
	m := CompatibleModel{
		Make: string(a.Make), Model: string(a.Model), Region: known.of(a.Region), Powertrain: known.of(a.Powertrain),
		FirstYear: int(a.Years.Value.Start), LastYear: int(a.Years.Value.End),
	}
	for _, c := range a.Capabilities {
		code := known.of(cmp.Or(c.Capability, c.Code))
		switch {
		case code == "":
		case strings.EqualFold(string(c.Type), "command"):
			m.Commands = append(m.Commands, code)
		case strings.EqualFold(string(c.Type), "signal"):
			m.Signals = append(m.Signals, CompatibleSignal{Code: signals.Code(code), Name: known.of(c.Name), Permission: known.of(c.Permission)})
		}
	}
	return m
}

// words holds each text once: the same few hundred stand in each of the models.
type words map[lenient.String]string

func (w words) of(text lenient.String) string {
	known, ok := w[text]
	if !ok {
		known = string(text)
		w[text] = known
	}
	return known
}

// noCredential is for what Smartcar tells anybody.
type noCredential struct{}

func (noCredential) ready() bool  { return true }
func (noCredential) shared() bool { return true }
func (noCredential) authorization(context.Context) (tokens.Authorization, error) {
	return tokens.Authorization{}, nil
}
func (noCredential) afterReplace([]string, bool) {}
func (noCredential) whyRefused() string          { return "" }
func (noCredential) replace(context.Context, []string) (bool, error) {
	return false, tokens.ErrNoOther
}
