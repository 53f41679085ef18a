package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

const (
	mostSize = 0.85 // MB that the module may add to a program
	// heldSize is what it adds, and may not grow: see the README.
	heldSize = 2.25
	mostCar  = 6000 // bytes
)

const bareProgram = `package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

func main() {
	resp, err := http.Get(os.Args[1])
	if err != nil {
		panic(err)
	}
	var v any
	fmt.Println(json.NewDecoder(resp.Body).Decode(&v), v, resp.Body.Close())
}
`

const importing = `package main

import (
	"context"
	"fmt"
	"os"

	"github.com/seed-498a1bc4/smartcar"
)

func main() {
	client, err := smartcar.New(smartcar.Config{ClientID: os.Args[1]})
	if err != nil {
		panic(err)
	}
	fmt.Println(client.User("user").Vehicle("car").Battery(context.Background()))
}
`

// size is that of a stripped program, in MB.
func size(tb testing.TB, program string) float64 {
	tb.Helper()
	dir := tb.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	require.NoError(tb, os.WriteFile(source, []byte(program), 0o600))
	built, err := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, source).CombinedOutput()
	require.NoError(tb, err, string(built))
	info, err := os.Stat(binary)
	require.NoError(tb, err)
	return float64(info.Size()) / 1e6
}

// sizes prints what the module adds to a program.
func (t *table) sizes() {
	const name = "size of a program that reads a battery, stripped"
	t.on(name, func(tb testing.TB) {
		bare := size(tb, bareProgram)
		added := size(tb, importing) - bare
		mark := t.judge("size in MB", added, heldSize)
		if added > mostSize {
			mark = "MISSED"
		}
		t.line(name, fmt.Sprintf("net/http + encoding/json: %.2f MB", bare), fmt.Sprintf("+%.2f MB", added), "", fmt.Sprintf("+%.2f MB", mostSize), "", "", "", "", mark)
	})
}

// perCar prints the memory of a car that this process has read: its answer and its
// record, its user and the tokens.
func (t *table) perCar() {
	const name = "memory of a car with a user of its own, v2"
	t.on(name, func(tb testing.TB) {
		const n = 2000
		kept := &counted{Store: store.NewMemory()}
		bytes := (withFleet(tb, kept, n) - heap()) / n
		runtime.KeepAlive(kept)
		t.line(name, "", fmt.Sprintf("%.0f B", bytes), "", fmt.Sprintf("%d B", mostCar), "", "", "", "", t.judge(name, bytes, mostCar))
	})
}

// withFleet is the heap while a client remembers n cars.
func withFleet(tb testing.TB, kept store.Store, n int) float64 {
	tb.Helper()
	client := newClient(tb, kept, longTime, smartcar.WithCacheSize(n))
	for i := range n {
		_, err := newOwner(tb, client).Vehicle(fmt.Sprintf("fleet-%029d", i)).Battery(tb.Context())
		require.NoError(tb, err)
	}
	both := heap()
	runtime.KeepAlive(client)
	return both
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// on runs a row that needs a testing.TB; what ends it early is a goal that is missed.
func (t *table) on(name string, run func(testing.TB)) {
	if err := onBed(run); err != nil {
		t.line(name, strings.ReplaceAll(err.Error(), "\n", " "), "", "", "", "", "", "", "", t.judge(name, 1, 0))
	}
}
