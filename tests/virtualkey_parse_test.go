package smartcar_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/stretchr/testify/require"
)

const (
	streamingVIN = "5YJ3E1EA7KF000001" // Model 3
	legacyVIN    = "5YJXCCE23MF000001" // Model X of 2021 with the old drive unit
)

// keyURL is the link for the key of a domain.
func keyURL(t *testing.T, domain string) smartcar.VirtualKeyURL {
	t.Helper()
	link, err := smartcar.ParseVirtualKeyURL("https://www.tesla.com/_ak/"+domain, domain)
	require.NoError(t, err)
	return link
}

func TestVirtualKeyURLIsRebuiltFromItsParts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ raw, want, domain string }{
		"Smartcar's key":              {"https://www.tesla.com/_ak/smartcar.com", "https://www.tesla.com/_ak/smartcar.com", "smartcar.com"},
		"without www":                 {"https://tesla.com/_ak/smartcar.com", "https://tesla.com/_ak/smartcar.com", "smartcar.com"},
		"China":                       {"https://tesla.cn/_ak/smartcar.com", "https://tesla.cn/_ak/smartcar.com", "smartcar.com"},
		"China with www":              {"https://www.tesla.cn/_ak/smartcar.com", "https://www.tesla.cn/_ak/smartcar.com", "smartcar.com"},
		"scheme and host in any case": {"HTTPS://WWW.Tesla.COM/_ak/smartcar.com", "https://www.tesla.com/_ak/smartcar.com", "smartcar.com"},
		"Enterprise application":      {"https://www.tesla.com/_ak/acme-1.app.car", "https://www.tesla.com/_ak/acme-1.app.car", "acme-1.app.car"},
		"allowed domain":              {"https://www.tesla.com/_ak/keys.example.com", "https://www.tesla.com/_ak/keys.example.com", "keys.example.com"},
		"empty query":                 {"https://www.tesla.com/_ak/smartcar.com?", "https://www.tesla.com/_ak/smartcar.com", "smartcar.com"},
		"final slash":                 {"https://www.tesla.com/_ak/smartcar.com/", "https://www.tesla.com/_ak/smartcar.com", "smartcar.com"},
		"other parameter":             {"https://www.tesla.com/_ak/smartcar.com?next=//evil.example/%2e%2E", "https://www.tesla.com/_ak/smartcar.com", "smartcar.com"},
		"parameter without a value":   {"https://www.tesla.com/_ak/smartcar.com/?x", "https://www.tesla.com/_ak/smartcar.com", "smartcar.com"},
		"broken escape in the query":  {"https://www.tesla.com/_ak/smartcar.com?x=%zz&;", "https://www.tesla.com/_ak/smartcar.com", "smartcar.com"},
		"VIN and more":                {"https://www.tesla.com/_ak/smartcar.com/?utm=a%20b&vin=" + streamingVIN + "&x=1", "https://www.tesla.com/_ak/smartcar.com?vin=" + streamingVIN, "smartcar.com"},
		"VIN in lower case":           {"https://tesla.com/_ak/smartcar.com?vin=5yj3e1ea7kf000001", "https://tesla.com/_ak/smartcar.com?vin=" + streamingVIN, "smartcar.com"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := smartcar.ParseVirtualKeyURL(tt.raw, "keys.example.com")
			require.NoError(t, err)
			require.Equal(t, tt.want, got.String())
			require.Equal(t, tt.domain, got.Domain())
			require.False(t, got.IsZero())
		})
	}
}

func TestNoVirtualKeyURLIsNoError(t *testing.T) {
	t.Parallel()
	got, err := smartcar.ParseVirtualKeyURL("")
	require.NoError(t, err)
	require.True(t, got.IsZero())
	require.Empty(t, got.String())
	require.Equal(t, smartcar.VirtualKeyURL{}, got)
}

func TestHostileVirtualKeyURLIsRefusedAndNotRepeated(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ raw, reason string }{
		"not https":              {"http://www.tesla.com/_ak/smartcar.com", "not an https link"},
		"script":                 {"javascript:alert(1)//tesla.com/_ak/smartcar.com", "not an https link"},
		"no scheme":              {"//www.tesla.com/_ak/smartcar.com", "not an https link"},
		"opaque":                 {"https:www.tesla.com/_ak/smartcar.com", "host is not Tesla's"},
		"not a URL":              {"https://[::1", "not a URL"},
		"other host":             {"https://evil.example/_ak/smartcar.com", "host is not Tesla's"},
		"host with the suffix":   {"https://eviltesla.com/_ak/smartcar.com", "host is not Tesla's"},
		"subdomain":              {"https://evil.www.tesla.com/_ak/smartcar.com", "host is not Tesla's"},
		"host as a prefix":       {"https://www.tesla.com.evil.example/_ak/smartcar.com", "host is not Tesla's"},
		"host with a final dot":  {"https://www.tesla.com./_ak/smartcar.com", "host is not Tesla's"},
		"look-alike host":        {"https://www.teslа.com/_ak/smartcar.com", "another character"}, // Cyrillic a
		"default port":           {"https://www.tesla.com:443/_ak/smartcar.com", "host is not Tesla's"},
		"empty port":             {"https://www.tesla.com:/_ak/smartcar.com", "host is not Tesla's"},
		"user name":              {"https://www.tesla.com@evil.example/_ak/smartcar.com", "user name"},
		"empty user name":        {"https://@www.tesla.com/_ak/smartcar.com", "user name"},
		"fragment":               {"https://www.tesla.com/_ak/smartcar.com#x", "fragment"},
		"empty fragment":         {"https://www.tesla.com/_ak/smartcar.com#", "fragment"},
		"backslash":              {`https://www.tesla.com\@evil.example/_ak/smartcar.com`, "backslash"},
		"escape in the path":     {"https://www.tesla.com/_ak/smartcar%2ecom", "escape"},
		"escape in the host":     {"https://www.tesla%2ecom/_ak/smartcar.com", "escape"},
		"escaped slash":          {"https://www.tesla.com/_ak%2fsmartcar.com", "escape"},
		"space before":           {" https://www.tesla.com/_ak/smartcar.com", "space"},
		"delete character":       {"https://www.tesla.com/_ak/smartcar.com?vin=\x7f", "space"},
		"new line":               {"https://www.tesla.com/_ak/smartcar.com\n", "space"},
		"other path":             {"https://www.tesla.com/oauth/smartcar.com", "does not add a key"},
		"path in upper case":     {"https://www.tesla.com/_AK/smartcar.com", "does not add a key"},
		"no path":                {"https://www.tesla.com", "does not add a key"},
		"no domain":              {"https://www.tesla.com/_ak/", "lower-case domain"},
		"two segments":           {"https://www.tesla.com/_ak/smartcar.com/evil.example", "lower-case domain"},
		"two final slashes":      {"https://www.tesla.com/_ak/smartcar.com//", "lower-case domain"},
		"slash before":           {"https://www.tesla.com//_ak/smartcar.com", "does not add a key"},
		"only slashes":           {"https://www.tesla.com/_ak//", "lower-case domain"},
		"foreign domain, slash":  {"https://www.tesla.com/_ak/evil.example/?vin=" + streamingVIN, "not allowed"},
		"dot segments":           {"https://www.tesla.com/_ak/../smartcar.com", "lower-case domain"},
		"path parameters":        {"https://www.tesla.com/_ak/smartcar.com;x=1", "lower-case domain"},
		"domain in upper case":   {"https://www.tesla.com/_ak/Smartcar.com", "lower-case domain"},
		"domain with final dot":  {"https://www.tesla.com/_ak/smartcar.com.", "lower-case domain"},
		"foreign domain":         {"https://www.tesla.com/_ak/evil.example", "not allowed"},
		"domain with the suffix": {"https://www.tesla.com/_ak/evilsmartcar.com", "not allowed"},
		"subdomain of ours":      {"https://www.tesla.com/_ak/evil.smartcar.com", "not allowed"},
		"app.car itself":         {"https://www.tesla.com/_ak/app.car", "not allowed"},
		"two labels under it":    {"https://www.tesla.com/_ak/a.b.app.car", "not allowed"},
		"no label under it":      {"https://www.tesla.com/_ak/.app.car", "lower-case domain"},
		"app.car as a suffix":    {"https://www.tesla.com/_ak/evilapp.car", "not allowed"},
		"two VINs":               {"https://www.tesla.com/_ak/smartcar.com?vin=" + streamingVIN + "&vin=" + legacyVIN, "more than one VIN"},
		"escaped VIN":            {"https://www.tesla.com/_ak/smartcar.com?vin=%35YJ3E1EA7KF000001", "17 characters"},
		"fragment of the query":  {"https://www.tesla.com/_ak/smartcar.com?x=1#evil", "fragment"},
		"empty VIN":              {"https://www.tesla.com/_ak/smartcar.com?vin=", "17 characters"},
		"VIN with a quote":       {`https://www.tesla.com/_ak/smartcar.com?vin="YJ3E1EA7KF000001`, "letters A-Z"},
		"too long":               {"https://www.tesla.com/_ak/smartcar.com?vin=" + strings.Repeat("1", 512), "too long"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := smartcar.ParseVirtualKeyURL(tt.raw, "keys.example.com")
			require.Zero(t, got)
			require.ErrorIs(t, err, smartcar.ErrUntrustedVirtualKeyURL)
			require.ErrorContains(t, err, tt.reason)
			require.NotContains(t, err.Error(), "evil")
			require.NotContains(t, err.Error(), "tesla")
			require.NotContains(t, err.Error(), streamingVIN)
		})
	}
}

func TestAllowedKeyDomainsMustBeDomainNames(t *testing.T) {
	t.Parallel()
	const label63 = "a23456789012345678901234567890123456789012345678901234567890123"
	tests := map[string]bool{
		"example.com":                   true,
		"a.b.c.example.com":             true,
		"xn--bcher-kva.example":         true,
		"1.example.com":                 true,
		label63 + ".com":                true,
		label63 + "4.com":               false,
		strings.Repeat("a.", 126) + "a": true,
		strings.Repeat("a.", 127) + "a": false,
		"":                              false,
		"localhost":                     false,
		"Example.com":                   false,
		"example.com.":                  false,
		".example.com":                  false,
		"-a.example.com":                false,
		"a-.example.com":                false,
		"a_b.example.com":               false,
		"bücher.example":                false,
		"*.example.com":                 false,
		"https://example.com":           false,
		"example.com:443":               false,
		"example.com/path":              false,
		"192.0.2.1":                     false,
	}
	for domain, valid := range tests {
		t.Run(domain, func(t *testing.T) {
			t.Parallel()
			_, err := smartcar.ParseVirtualKeyURL("", domain)
			if valid {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			require.NotErrorIs(t, err, smartcar.ErrUntrustedVirtualKeyURL)
		})
	}
}

func TestVirtualKeyURLsCompareByValue(t *testing.T) {
	t.Parallel()
	parsed, err := smartcar.ParseVirtualKeyURL("https://WWW.TESLA.COM/_ak/keys.example.com", "keys.example.com")
	require.NoError(t, err)
	same := parsed == keyURL(t, "keys.example.com")
	require.True(t, same)
}

func TestVirtualKeyURLWithVIN(t *testing.T) {
	t.Parallel()
	plain := keyURL(t, "smartcar.com")
	withVIN, err := plain.WithVIN(" 5yj3e1ea7kf000001 ")
	require.NoError(t, err)
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com?vin="+streamingVIN, withVIN.String())
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", plain.String(), "the receiver keeps its value")

	parsed, err := smartcar.ParseVirtualKeyURL(withVIN.String())
	require.NoError(t, err)
	require.Equal(t, withVIN, parsed)
}

func TestVirtualKeyURLWithVINRefusesWhatMakesNoLink(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"", "5YJ3E1EA7KF00000", "5YJ3E1EA7KF0000&x"} {
		got, err := keyURL(t, "smartcar.com").WithVIN(number)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
		require.Zero(t, got)
		require.NotContains(t, err.Error(), "5YJ")
	}
	_, err := smartcar.VirtualKeyURL{}.WithVIN(streamingVIN)
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
}

func TestVirtualKeyURLIsAStringInJSON(t *testing.T) {
	t.Parallel()
	type grant struct {
		Key  smartcar.VirtualKeyURL `json:"key"`
		None smartcar.VirtualKeyURL `json:"none,omitzero"`
	}
	got, err := json.Marshal(grant{Key: keyURL(t, "smartcar.com")})
	require.NoError(t, err)
	require.JSONEq(t, `{"key":"https://www.tesla.com/_ak/smartcar.com"}`, string(got))
}

func TestKeyRequirementFromTheVIN(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		vin   string
		need  smartcar.KeyNeed
		class smartcar.VehicleClass
	}{
		"Model 3":                              {"5YJ3E1EA7KF000001", smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model 3 from Shanghai":                {"LRW3E7EK4MC000001", smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model Y from Berlin":                  {"XP7YGCEK1PB000001", smartcar.KeyRequired, smartcar.ClassStreaming},
		"Cybertruck":                           {"7G2CEHED3RA000001", smartcar.KeyRequired, smartcar.ClassStreaming},
		"first Model S code":                   {"5YJSA1E14AF000001", smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model S 2020":                         {"5YJSA1E24LF000001", smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model X 2020":                         {"5YJXCDE26LF000001", smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model X 2021 drive unit 1":            {"5YJXCCE13MF000001", smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model X 2021 drive unit 2":            {legacyVIN, smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model S 2021 drive unit 3":            {"5YJSA1E33MF000001", smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model S 2021 drive unit 4":            {"5YJSA1E43MF000001", smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model S 2021 drive unit 5":            {"5YJSA1E53MF000001", smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model X 2021 drive unit 6":            {"5YJXCCE63MF000001", smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model S 2021 drive unit of no record": {"5YJSA1E73MF000001", smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"Model S 2022":                         {"5YJSA1E24NF000001", smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model X 2030":                         {"7SAXCCE23YF000001", smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model S 2031":                         {"5YJSA1E241F000001", smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model S 2039":                         {"5YJSA1E249F000001", smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model S with a code for no year":      {"5YJSA1E24UF000001", smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"Roadster":                             {"SFZRE2B1483000001", smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"Semi":                                 {"7G2TEHED3RN000001", smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"Cybercab":                             {"5YJAEHED3TA000001", smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"model of no record":                   {"5YJBEHED3TA000001", smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contradicted := smartcar.VehicleIdentity{VIN: strings.ToLower(tt.vin), Make: "BMW", Model: "i3", Year: 2015}
			for _, identity := range []smartcar.VehicleIdentity{{VIN: tt.vin}, contradicted} {
				got := identity.KeyRequirement()
				require.Equal(t, tt.need, got.Need)
				require.Equal(t, tt.class, got.Class)
				require.NotEmpty(t, got.Reason)
				require.NotContains(t, got.Reason, tt.vin)
			}
		})
	}
}

func TestKeyRequirementFromMakeModelAndYear(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		identity smartcar.VehicleIdentity
		need     smartcar.KeyNeed
		class    smartcar.VehicleClass
	}{
		"Model 3":                      {smartcar.VehicleIdentity{Make: "TESLA", Model: "Model 3", Year: 2019}, smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model 3 of unknown year":      {smartcar.VehicleIdentity{Make: "Tesla", Model: "3"}, smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model Y with a trim":          {smartcar.VehicleIdentity{Make: "tesla", Model: "Model Y Long Range", Year: 2024}, smartcar.KeyRequired, smartcar.ClassStreaming},
		"Cybertruck":                   {smartcar.VehicleIdentity{Make: "TESLA", Model: "Cybertruck", Year: 2024}, smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model S 2020":                 {smartcar.VehicleIdentity{Make: "TESLA", Model: "Model S", Year: 2020}, smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model S 2021":                 {smartcar.VehicleIdentity{Make: "TESLA", Model: "Model S", Year: 2021}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"Model S 2022":                 {smartcar.VehicleIdentity{Make: "TESLA", Model: "Model S", Year: 2022}, smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model X in capitals":          {smartcar.VehicleIdentity{Make: "TESLA", Model: "MODEL X", Year: 2018}, smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model S in one word":          {smartcar.VehicleIdentity{Make: "TESLA", Model: "models", Year: 2018}, smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model S with the make":        {smartcar.VehicleIdentity{Make: " Tesla Motors ", Model: " Tesla Model-S ", Year: 2018}, smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model S by its letter":        {smartcar.VehicleIdentity{Make: "TESLA", Model: "s", Year: 2023}, smartcar.KeyRequired, smartcar.ClassStreaming},
		"Model S of unknown year":      {smartcar.VehicleIdentity{Make: "TESLA", Model: "Model S"}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"Model S with half a year":     {smartcar.VehicleIdentity{Make: "TESLA", Model: "Model S", Year: 22}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"Model S of the first year":    {smartcar.VehicleIdentity{Make: "TESLA", Model: "Model S", Year: 2008}, smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"Model S before any Tesla":     {smartcar.VehicleIdentity{Make: "TESLA", Model: "Model S", Year: 2007}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"Roadster":                     {smartcar.VehicleIdentity{Make: "TESLA", Model: "Roadster", Year: 2010}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"Semi":                         {smartcar.VehicleIdentity{Make: "TESLA", Model: "Semi", Year: 2024}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"Cybercab":                     {smartcar.VehicleIdentity{Make: "TESLA", Model: "Cybercab", Year: 2026}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"model of no record":           {smartcar.VehicleIdentity{Make: "TESLA", Model: "Model 2", Year: 2027}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"no model":                     {smartcar.VehicleIdentity{Make: "TESLA", Year: 2019}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"other make":                   {smartcar.VehicleIdentity{Make: "MAZDA", Model: "3", Year: 2019}, smartcar.KeyNotRequired, smartcar.ClassOther},
		"nothing":                      {smartcar.VehicleIdentity{}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"model without a make":         {smartcar.VehicleIdentity{Model: "3", Year: 2019}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"simulated VIN":                {smartcar.VehicleIdentity{VIN: "0SCLR0002E8896323", Make: "TESLA", Model: "Model S", Year: 2019}, smartcar.KeyNotRequired, smartcar.ClassLegacy},
		"simulated VIN, other make":    {smartcar.VehicleIdentity{VIN: "1SCLR0002E8896323", Make: "FORD", Model: "Mustang"}, smartcar.KeyNotRequired, smartcar.ClassOther},
		"simulated VIN alone":          {smartcar.VehicleIdentity{VIN: "0SC30002NE8896323"}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"VIN of a factory not known":   {smartcar.VehicleIdentity{VIN: "MEX3E1EA7KF000001", Make: "TESLA", Model: "Model Y"}, smartcar.KeyRequired, smartcar.ClassStreaming},
		"VIN of a foreign maker alone": {smartcar.VehicleIdentity{VIN: "WBA3A5C51CF256551"}, smartcar.KeyNeedUnknown, smartcar.ClassUnknown},
		"masked VIN":                   {smartcar.VehicleIdentity{VIN: "5YJSA1E2********", Make: "TESLA", Model: "Model S", Year: 2019}, smartcar.KeyNotRequired, smartcar.ClassLegacy},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tt.identity.KeyRequirement()
			require.Equal(t, tt.need, got.Need)
			require.Equal(t, tt.class, got.Class)
			require.NotEmpty(t, got.Reason)
		})
	}
}

func TestKeyStateIsUnknownUntilLearned(t *testing.T) {
	t.Parallel()
	var status smartcar.KeyStatus
	require.Equal(t, smartcar.KeyUnknown, status.State)
	require.Equal(t, "unknown", status.State.String())
	require.Equal(t, "installed", smartcar.KeyInstalled.String())
	require.Equal(t, "missing", smartcar.KeyMissing.String())
}

func FuzzParseVirtualKeyURL(f *testing.F) {
	const allowed = "keys.example.com"
	for _, seed := range []string{
		"", "https://www.tesla.com/_ak/smartcar.com", "HTTPS://TESLA.CN/_ak/acme.app.car?vin=" + streamingVIN,
		"https://tesla.com/_ak/" + allowed + "?", "https://www.tesla.com@evil.example/_ak/smartcar.com",
		`https://www.tesla.com\@evil.example/_ak/smartcar.com`, "https://www.tesla.com/_ak/evil.example",
		"https://www.tesla.com:443/_ak/smartcar.com#x", "https://tesla.com/_ak/../_ak/smartcar%2ecom",
	} {
		f.Add(seed)
	}
	hosts := []string{"tesla.com", "www.tesla.com", "tesla.cn", "www.tesla.cn"}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := smartcar.ParseVirtualKeyURL(raw, allowed)
		if err != nil {
			require.ErrorIs(t, err, smartcar.ErrUntrustedVirtualKeyURL)
			require.Zero(t, got)
			return
		}
		again, err := smartcar.ParseVirtualKeyURL(got.String(), allowed)
		require.NoError(t, err, "what was accepted is accepted again")
		require.Equal(t, got, again)
		if got.IsZero() {
			require.Empty(t, raw)
			return
		}
		scheme, rest, _ := strings.Cut(got.String(), "://")
		host, path, _ := strings.Cut(rest, "/")
		domain, _, _ := strings.Cut(strings.TrimPrefix(path, "_ak/"), "?")
		require.Equal(t, "https", scheme)
		require.True(t, slices.Contains(hosts, host))
		require.Equal(t, got.Domain(), domain)
		require.True(t, domain == "smartcar.com" || domain == allowed ||
			strings.Count(domain, ".") == 2 && strings.HasSuffix(domain, ".app.car"))
	})
}
