package policy

// RuleWords says for people what a rule means that callers know by the given code; it is
// empty for a code that is not known. The codes of the rules that this package applies
// are among them, and those of the limits that the caller keeps itself.
func RuleWords(code string) string {
	switch code {
	case "":
		return "no rule"
	case "keyless-window":
		return "one data request per window while the virtual key is missing"
	case "legacy-cadence":
		return "nothing new before the next refresh of a 2020-or-earlier Model S or X"
	case "server-limit":
		return "Smartcar limits this vehicle"
	case "asleep":
		return "nothing new while the vehicle sleeps"
	case "nothing-stored":
		return "Smartcar has stored no data of this vehicle yet"
	case "application-limit":
		return "Smartcar limits this application"
	case "budget":
		return "the plan's calls of the month for this vehicle are used up"
	case "paused":
		return "reads of this vehicle are paused"
	case "pace":
		return "the vehicle was read lately, and is to be read no more often"
	case "webhook":
		return "webhooks bring the data of this vehicle"
	case "virtual-key":
		return "the command needs the virtual key, which is missing"
	case "store-away":
		return "the store cannot be reached, so the window of a car without the virtual key is not known"
	}
	return ""
}
