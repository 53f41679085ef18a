package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// bed is the testing.TB of a program: what needs one can be used outside tests.
type bed struct {
	testing.TB // for the methods that nothing here calls

	failed   error
	cleanups []func()
}

// onBed runs what needs a testing.TB, and returns why it has ended early.
func onBed(run func(testing.TB)) error {
	b, done := new(bed), make(chan struct{})
	go func() {
		defer close(done)
		run(b)
	}()
	<-done
	for _, cleanup := range slices.Backward(b.cleanups) {
		cleanup()
	}
	return b.failed
}

func (*bed) Helper()                  {}
func (*bed) Name() string             { return "bench" }
func (*bed) Context() context.Context { return context.Background() }
func (*bed) Log(...any)               {}
func (*bed) Logf(string, ...any)      {}
func (b *bed) Cleanup(f func())       { b.cleanups = append(b.cleanups, f) }

func (b *bed) TempDir() string {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	inner := filepath.Join(dir, "001")             // as package testing has it: who owns one may open the other
	if err := os.Mkdir(inner, 0o777); err != nil { //nolint:gosec // the same
		b.Fatal(err)
	}
	return inner
}

func (b *bed) Errorf(format string, args ...any) { b.failed = fmt.Errorf(format, args...) } //nolint:err113 // as testing.TB has it
func (b *bed) FailNow()                          { runtime.Goexit() }

func (b *bed) Fatal(args ...any) {
	b.failed = errors.New(fmt.Sprint(args...)) //nolint:err113 // as testing.TB has it
	b.FailNow()
}

func (b *bed) Fatalf(format string, args ...any) { b.Fatal(fmt.Sprintf(format, args...)) }
func (b *bed) Skip(args ...any)                  { b.Fatal(args...) }
