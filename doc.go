// Package smartcar is a client for the Smartcar API that knows about Tesla's virtual key.
package smartcar
