// Package officialclients runs Smartcar's own clients against the simulator,
// over loopback: what they cannot read or do not accept is a mistake of the
// simulator, unless it stands on a list with its reason.
//
// So far that is the client for Node.js. It needs node, and the package
// smartcar from the npm registry, which "npm ci" in this folder puts where the
// tests look for it. Without them the tests are skipped, or fail where CI=true.
package officialclients
