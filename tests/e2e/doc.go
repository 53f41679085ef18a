// Package e2e clicks through the example application, the key page and the
// simulator's own pages in a real browser, on a desktop and on a phone, with
// JavaScript and without.
//
// It needs Debian's chromium, and axe-core for the accessibility checks, which
// "npm ci" in this folder puts where the tests look for it. Without them the
// tests are skipped, or fail where CI=true. What the browser showed is kept in
// the folder screenshots.
package e2e
