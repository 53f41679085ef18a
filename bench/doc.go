// Package bench measures what the policy costs on each store, and what others
// take for comparable work. See README.md for the table.
package bench
