package smartcartest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// v3Compatible answers GET /v3/compatible-vehicles, which needs no
// credentials: what each model of a region can do. The garage stands for the
// world: each of its models is compatible in every region.
func (s *Server) v3Compatible(c *call) *response {
	filter := func(name string) string { return c.query.Get("filter[" + name + "]") }
	region, powertrain := filter("region"), filter("powertrainType")
	if region != "" && !slices.Contains(regions(), region) {
		return c.fail(invalidField("filter[region]", "must be US, CA or EUROPE"))
	}
	if powertrain != "" && !slices.Contains([]string{"ICE", "BEV", "PHEV"}, powertrain) {
		return c.fail(invalidField("filter[powertrainType]", "must be ICE, BEV or PHEV"))
	}
	list := []object{}
	for _, m := range s.models(func(v *vehicle) string { return v.powertrainType() }) {
		if filter("make") != "" && !strings.EqualFold(filter("make"), m.example.Make) || powertrain != "" && powertrain != m.powertrain {
			continue
		}
		for _, r := range regions() {
			if region == "" || region == r {
				list = append(list, s.compatibleModel(m, r))
			}
		}
	}
	return c.ok(object{
		"data":  list,
		"meta":  object{"page": 1, "pageSize": len(list), "totalCount": len(list)}, // not pageNumber, as elsewhere
		"links": object{"self": c.v3Link("compatibility", "/compatible-vehicles")},
	})
}

// isCompatible says whether the request is for the compatible vehicles.
func (c *call) isCompatible() bool {
	return c.request.Method == http.MethodGet && slices.Equal(c.path, []string{"v3", "compatible-vehicles"})
}

// compatibleModel is a model in a region as JSON:API.
func (s *Server) compatibleModel(m *model, region string) object {
	capabilities := []object{}
	for i := range s.signals {
		g := &s.signals[i]
		if g.capable(m.example) {
			capabilities = append(capabilities, object{
				"type": "signal", "name": g.displayName(), "group": g.group, "code": g.name, "capability": g.code(), "permission": g.permission,
			})
		}
	}
	for _, o := range compatibleCommands() {
		if command := v3CommandAt(o.path); !command.incapable(m.example) {
			capabilities = append(capabilities, object{
				"type": "command", "name": o.name, "group": "", "code": o.code, "capability": o.code, "permission": "",
			})
		}
	}
	return object{
		"id":   fmt.Sprintf("%s-%s-%d-%d-%s-%s", m.example.Make, m.example.Model, m.from, m.to, m.powertrain, region),
		"type": "vehicle-model-capability",
		"attributes": object{
			"make": displayMake(m.example.Make), "model": m.example.Model, "region": region, "powertrainType": m.powertrain,
			"years": object{"start": m.from, "end": m.to}, "capabilities": capabilities,
		},
	}
}

// compatibleCommand is a command as the compatible vehicles call it: neither
// by its path nor by its commandType.
type compatibleCommand struct{ path, code, name string }

// compatibleCommands are the commands whose codes are known, and their
// opposites.
func compatibleCommands() []compatibleCommand {
	return []compatibleCommand{
		{"commands/charge/start", "charge-start", "Start charge"},
		{"commands/charge/stop", "charge-stop", "Stop charge"},
		{"commands/security/lock", "closure-lock", "Lock vehicle"},
		{"commands/security/unlock", "closure-unlock", "Unlock vehicle"},
	}
}

// displayMake writes TESLA as Tesla, and what is no word longer than 3 letters
// as it is.
func displayMake(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return r == ' ' || r == '-' })
	for _, w := range words {
		if len(w) > 3 {
			_, first := utf8.DecodeRuneInString(w)
			name = strings.Replace(name, w, w[:first]+strings.ToLower(w[first:]), 1)
		}
	}
	return name
}

// displayName is the name of the signal as a text: State Of Charge. It need not
// match the name.
func (g *signal) displayName() string {
	if g.name == "PreciseLocation" {
		return "Location"
	}
	var b strings.Builder
	runes := []rune(g.name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}
