// Package argument holds the error that all refused arguments match, so that
// packages below the root can return it.
package argument

import (
	"errors"
	"fmt"
)

// ErrInvalid is smartcar.ErrInvalidArgument.
var ErrInvalid = errors.New("smartcar: invalid argument")

// Error says which argument was refused and what to pass instead. It never
// repeats the value: the value may be a secret.
func Error(argument, problem string) error {
	return fmt.Errorf("%w: %s: %s", ErrInvalid, argument, problem)
}
