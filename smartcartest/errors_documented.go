package smartcartest

// virtualKeyURL is where an owner adds the key of the vendor's own domain.
const virtualKeyURL = "https://www.tesla.com/_ak/smartcar.com"

// Resolutions, as the taxonomy spells them.
const (
	retryLater     = "RETRY_LATER"
	reauthenticate = "REAUTHENTICATE"
	contactSupport = "CONTACT_SUPPORT"
	actionRequired = "ACTION_REQUIRED"
)

// documentedErrors is the vendor's error taxonomy. It is a function, so that
// nothing can write to the table.
func documentedErrors() []apiError {
	const (
		csa     = "CONNECTED_SERVICES_ACCOUNT"
		compat  = "COMPATIBILITY"
		state   = "VEHICLE_STATE"
		billing = "BILLING"
	)
	return []apiError{
		{status: 401, typ: "AUTHENTICATION", description: "The authorization header is missing or malformed, or it contains invalid or expired authentication credentials."},
		{status: 401, typ: "AUTHENTICATION", code: "UNAUTHORIZED", description: "The authorization header is missing or malformed, or it contains invalid or expired authentication credentials."},
		{status: 403, typ: "AUTHENTICATION", code: "ACCESS_DENIED", description: "The credentials do not allow this request."},
		{status: 430, typ: billing, code: "INVALID_PLAN", resolution: contactSupport, description: "This feature is not part of your plan."},
		{status: 430, typ: billing, code: "VEHICLE_LIMIT", resolution: contactSupport, description: "You have reached the maximum number of connected vehicles of your plan."},
		{status: 430, typ: billing, code: "VEHICLE_REQUEST_LIMIT", resolution: contactSupport, description: "You have reached the monthly request limit of this vehicle."},
		{status: 430, typ: billing, code: "ACCOUNT_SUSPENDED", resolution: contactSupport, description: "Your account is suspended."},
		{status: 501, typ: compat, code: "MAKE_NOT_COMPATIBLE", description: "This request is not supported for this make."},
		{status: 501, typ: compat, code: "SMARTCAR_NOT_CAPABLE", description: "This request is not supported by Smartcar for this vehicle."},
		{status: 501, typ: compat, code: "VEHICLE_NOT_CAPABLE", description: "The vehicle is incapable of performing your request."},
		{status: 501, typ: compat, code: "PLATFORM_NOT_CAPABLE", resolution: reauthenticate, description: "The platform this vehicle is connected through does not support your request."},
		{status: 400, typ: csa, code: "ACCOUNT_ISSUE", description: "The connected services account needs the owner's attention."},
		{status: 400, typ: csa, code: "NO_VEHICLES", description: "No vehicles were found on the connected services account."},
		{status: 400, typ: csa, code: "SUBSCRIPTION", description: "The vehicle's connected services subscription is not active."},
		{status: 400, typ: csa, code: "VEHICLE_MISSING", description: "The vehicle was not found on the connected services account."},
		{status: 400, typ: csa, code: "AUTHENTICATION_FAILED", resolution: reauthenticate, description: "Authentication with the connected services account failed."},
		{status: 400, typ: csa, code: "PERMISSION", resolution: reauthenticate, description: "The vehicle owner has revoked access."},
		{status: 400, typ: csa, code: "VIRTUAL_KEY_REQUIRED", resolution: actionRequired, resolutionURL: virtualKeyURL, description: "The vehicle owner needs to grant additional access to Smartcar in order to perform this request.",
			userMessage: "To use this feature, open the link on the phone that has the Tesla app and add the virtual key for " + applicationName + "."},
		{status: 403, typ: "PERMISSION", resolution: reauthenticate, description: "Your application has insufficient permissions to access the requested resource. Please prompt the user to re-authenticate using Smartcar Connect."},
		{status: 429, typ: "RATE_LIMIT", code: "SMARTCAR_API", resolution: retryLater, description: "Your application has exceeded its rate limit. Please retry with exponential backoff."},
		{status: 429, typ: "RATE_LIMIT", code: "VEHICLE", resolution: retryLater, description: "You have reached the throttling rate limit for this vehicle. Please see the retry-after header (seconds) for when to retry the request.",
			userMessage: "Your vehicle is temporarily unable to connect to " + applicationName + ". Please try again later."},
		{status: 404, typ: "RESOURCE_NOT_FOUND", code: "PATH", description: "The requested resource does not exist. Please check the URL and try again."},
		{status: 404, typ: "RESOURCE_NOT_FOUND", code: "VERSION", description: "The requested API version does not exist."},
		{status: 404, typ: "RESOURCE_NOT_FOUND", code: "INVALID_PATH", description: "The requested resource does not exist. Please check the URL and try again."},
		{status: 404, typ: "RESOURCE_NOT_FOUND", code: "VEHICLE_NOT_FOUND", description: "The vehicle does not exist or is not connected."},
		{status: 404, typ: "RESOURCE_NOT_FOUND", code: "SIGNAL_NOT_FOUND", description: "The signal was not found for this vehicle."},
		{status: 404, typ: "RESOURCE_NOT_FOUND", code: "CONNECTION_NOT_FOUND", description: "The connection does not exist."},
		{status: 404, typ: "RESOURCE_NOT_FOUND", code: "USER_NOT_FOUND", description: "The user does not exist."},
		{status: 404, typ: "RESOURCE_NOT_FOUND", code: "SCHEDULE_NOT_FOUND", description: "The charge schedule does not exist."},
		{status: 404, typ: "RESOURCE_NOT_FOUND", code: "WEBHOOK_NOT_FOUND", description: "The webhook does not exist."},
		{status: 404, typ: "RESOURCE_NOT_FOUND", code: "SUBSCRIPTION_NOT_FOUND", description: "The subscription does not exist."},
		{status: 409, typ: "CONFLICT", code: "SUBSCRIPTION_EXISTS", description: "The vehicle is subscribed to this webhook already."},
		{status: 500, typ: "SERVER", code: "INTERNAL", resolution: retryLater, description: "An internal error occurred."},
		{status: 500, typ: "SERVER", code: "RECORD_NOT_FOUND", resolution: contactSupport, description: "A record of this vehicle was not found."},
		{status: 500, typ: "SERVER", code: "MULTIPLE_RECORDS_FOUND", resolution: contactSupport, description: "More than one record of this vehicle was found."},
		{status: 502, typ: "UPSTREAM", code: "INVALID_DATA", resolution: retryLater, description: "Smartcar received invalid data from an upstream source. Please retry your request at a later time."},
		{status: 502, typ: "UPSTREAM", code: "KNOWN_ISSUE", resolution: retryLater, description: "Smartcar received an error from an upstream source. Please retry your request at a later time."},
		{status: 502, typ: "UPSTREAM", code: "NO_RESPONSE", resolution: retryLater, description: "An upstream source did not respond. Please retry your request at a later time."},
		{status: 502, typ: "UPSTREAM", code: "RATE_LIMIT", resolution: retryLater, description: "An upstream source refused the request because of its rate limit."},
		{status: 502, typ: "UPSTREAM", code: "UNKNOWN_ISSUE", resolution: retryLater, description: "Smartcar received an unknown error from an upstream source."},
		{status: 400, typ: "VALIDATION", description: "Request invalid or malformed. Please check for missing parameters, spelling and casing mistakes, and other syntax issues."},
		{status: 400, typ: "VALIDATION", code: "PARAMETER", description: "Request invalid or malformed. Please check the parameters."},
		{status: 400, typ: "VALIDATION", code: "MISSING_PARAMETER", description: "A required parameter is missing."},
		{status: 400, typ: "VALIDATION", code: "INVALID_INPUT_FORMAT", description: "A parameter has the wrong format."},
		{status: 409, typ: state, code: "ASLEEP", description: "The vehicle is asleep. The request was not sent, to preserve its battery."},
		{status: 409, typ: state, code: "CHARGING_IN_PROGRESS", description: "The vehicle is charging."},
		{status: 409, typ: state, code: "CHARGING_PLUG_CONNECTED", description: "The charging plug is connected."},
		{status: 409, typ: state, code: "CHARGING_PLUG_NOT_CONNECTED", description: "The vehicle is unable to perform your request because it is not plugged in."},
		{status: 409, typ: state, code: "NOT_CHARGING", description: "The vehicle is unable to perform your request because it is not currently charging."},
		{status: 409, typ: state, code: "UNKNOWN", resolution: retryLater, description: "The vehicle is unable to perform your request because of an unknown state."},
		{status: 409, typ: state, code: "LOW_BATTERY", resolution: retryLater, description: "The vehicle's battery is too low."},
	}
}
