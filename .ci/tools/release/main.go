// Command release prepares a release of the module and of those nested in it. It
// never pushes, and it commits nothing: a person looks at each step first.
//
//	cd .ci/tools
//	go run ./release prepare v0.1.0  # writes the version into go.mod files, changelog and pages; then commit
//	go run ./release check v0.1.0    # says what stands against releasing this commit
//	go run ./release tag v0.1.0      # checks, makes the tags here, and prints how to push them, in order
//	go run ./release api             # prints what has changed of the public API since the last release
//	go run ./release proxy DIR       # writes the modules of the working tree as a module proxy
//
// All published modules have the same version, and are tagged at one commit. That is
// possible because the zip of a module leaves out the folders of the modules nested
// in it. The tags are pushed in the order of the requirements, so that nobody finds a
// module whose requirements are not there yet.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: release prepare VERSION | check VERSION | tag VERSION | api | proxy DIR")

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	t, err := openTree(ctx, ".")
	if err != nil {
		return err
	}
	switch command := args[0]; {
	case command == "api" && len(args) == 1:
		_, err := t.compareAPI(ctx, out)
		return err
	case len(args) != 2:
		return errUsage
	case command == "prepare":
		return t.prepare(ctx, out, args[1], time.Now())
	case command == "check":
		return t.check(ctx, out, args[1])
	case command == "tag":
		return t.tag(ctx, out, args[1])
	case command == "proxy":
		return t.writeProxy(ctx, args[1])
	}
	return errUsage
}
