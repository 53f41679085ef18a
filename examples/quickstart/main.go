// Command quickstart shows what package smartcar does, in one run.
//
//	go run ./examples/quickstart
//
// The program is in the folder tour. Go compiles in silence, the first time for up to
// a minute: this one is compiled in a moment, says what it waits for, and runs that one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strings"
)

const (
	module = "github.com/seed-498a1bc4/smartcar"
	tour   = module + "/examples/quickstart/tour"
)

func main() {
	fmt.Fprintln(os.Stderr, "Compiling the client and a simulated Smartcar: up to a minute the first time, a moment afterwards.")
	ctx := context.Background()
	command := exec.CommandContext(ctx, "go", append([]string{"run", tour + version(ctx)}, os.Args[1:]...)...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // a terminal interrupts the tour, too: wait for its end
	err := command.Run()
	if ended := new(exec.ExitError); errors.As(err, &ended) {
		os.Exit(1) // the tour, or the compiler, has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// version is that of this program if it was run from a release, such as with
// go run github.com/seed-498a1bc4/smartcar/examples/quickstart@latest.
func version(ctx context.Context) string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Path != module {
		return "" // a module that requires ours
	}
	if here, err := exec.CommandContext(ctx, "go", "list", "-m").Output(); err == nil && strings.TrimSpace(string(here)) == module {
		return "" // a clone
	}
	return "@" + info.Main.Version
}
