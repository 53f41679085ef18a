package smartcar

import "strings"

// API is a version of Smartcar's API.
type API string

// The versions this package speaks.
const (
	// V2 is API v2.0: tokens of each user's grants. Smartcar has announced its
	// end within the fourth quarter of 2026.
	V2 API = "v2.0"
	// V3 is API v3: one token of the application, and signals.
	V3 API = "v3"
)

// WithAPI chooses the version of the API for a [Config] that has the
// credentials of both. Without it the credentials choose: APIClientID and
// APIClientSecret mean v3, a ClientSecret means v2.0. The same program runs on
// both: see "Two versions of the API" in the package documentation for the
// credentials each needs and for what only one can do, which is a
// [*NotSupportedError] before any request.
//
// https://smartcar.com/docs/getting-started/how-to/m2m/migration-guide
func WithAPI(api API) Option {
	return func(o *options) error {
		if api != V2 && api != V3 {
			return argumentError("WithAPI", "must be smartcar.V2 or smartcar.V3")
		}
		o.api = api
		return nil
	}
}

// API is the version of the API that the client speaks: what [WithAPI] or the
// credentials of its [Config] have chosen.
func (c *Client) API() API { return c.core.opts.api }

// chosenAPI is the version that the credentials mean, unless one was asked for.
func (c Config) chosenAPI(asked API) (API, error) {
	v2 := c.ClientSecret != ""
	v3 := c.APIClientID != "" || c.APIClientSecret != ""
	switch {
	case asked != "":
		return asked, nil
	case v2 && v3:
		return "", argumentError("Config", "has the credentials of API v2.0 (ClientSecret) and of v3 (APIClientID, APIClientSecret); choose one with the option WithAPI")
	case v2, c.ClientID != "" && !v3: // the field of v2.0, with its secret forgotten
		return V2, nil
	}
	return V3, nil
}

func (api API) wire() wire {
	if api == V3 {
		return wireV3{}
	}
	return wireV2{}
}

// apiClientPrefix begins every API client id of v3. Smartcar does not promise it.
const apiClientPrefix = "client_"

// validate reports what the chosen API needs and config lacks, or has in the
// wrong field: the credentials of the two versions are easily confused.
func (c Config) validate(api API) error {
	for _, f := range []struct{ name, value string }{
		{"Config.ClientID", c.ClientID}, {"Config.ApplicationID", c.ApplicationID},
	} {
		if strings.HasPrefix(f.value, apiClientPrefix) {
			return argumentError(f.name, "is an API client id (client_...): put that into Config.APIClientID; the Application ID is the UUID under Configuration, Application details")
		}
	}
	if c.ClientID != "" && c.ApplicationID != "" && c.ClientID != c.ApplicationID {
		return argumentError("Config.ApplicationID", "is not Config.ClientID: both are the one UUID of the application, so set one of them")
	}
	var err error
	if api == V3 {
		err = c.validateV3()
	} else {
		err = c.validateV2()
	}
	switch {
	case err != nil:
		return err
	case c.RedirectURL != "":
		err = validateRedirectURL("Config.RedirectURL", c.RedirectURL)
	}
	if err == nil && len(c.StateKey) > 0 {
		err = validStateKey(c.StateKey)
	}
	return err
}

func (c Config) validateV2() error {
	switch {
	case c.ClientSecret == "" && (c.APIClientID != "" || c.APIClientSecret != ""):
		return argumentError("Config.ClientSecret", "is empty, and these are the API credentials of API v3; leave out the option WithAPI(smartcar.V2)")
	case c.ClientID == "" && c.ApplicationID == "":
		return argumentError("Config.ClientID", "is empty; copy it from the Smartcar dashboard, Configuration, Legacy credentials")
	case c.ClientSecret == "":
		return argumentError("Config.ClientSecret", "is empty; copy it from the Smartcar dashboard, Configuration, Legacy credentials")
	case c.RedirectURL == "":
		return argumentError("Config.RedirectURL", "is empty; use a redirect URI registered in the Smartcar dashboard")
	}
	return nil
}

func (c Config) validateV3() error {
	switch {
	case c.ClientID == "" && c.ApplicationID == "":
		return argumentError("Config.ApplicationID", "is empty; copy the UUID from the Smartcar dashboard, Configuration, Application details")
	case c.APIClientID == "":
		return argumentError("Config.APIClientID", "is empty; API v3 needs the client id (client_...) from the Smartcar dashboard, Configuration, API credentials")
	case c.APIClientID == c.ClientID || c.APIClientID == c.ApplicationID:
		return argumentError("Config.APIClientID", "is the Application ID; API v3 needs the client id (client_...) from the Smartcar dashboard, Configuration, API credentials")
	case c.APIClientSecret == "":
		return argumentError("Config.APIClientSecret", "is empty; create a secret in the Smartcar dashboard, Configuration, API credentials")
	case c.APIClientSecret == c.ClientSecret:
		return argumentError("Config.APIClientSecret", "is the legacy secret of API v2.0; create one in the Smartcar dashboard, Configuration, API credentials")
	}
	return nil
}
