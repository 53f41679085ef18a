package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"time"
)

// supervise keeps the replicas running until ctx ends, whatever befalls them.
func (w *world) supervise(ctx context.Context, replicas int, environment []string, out io.Writer) (err error) {
	running := make([]*process, replicas)
	defer func() {
		for _, p := range running {
			if p != nil {
				err = errors.Join(err, p.end())
			}
		}
	}()
	for i := range running {
		if running[i], err = w.start(ctx, environment); err != nil {
			return err
		}
	}
	w.began = time.Now()
	defer func() { w.ended = time.Now() }()
	end, _ := ctx.Deadline()
	var kills <-chan time.Time
	if w.killEvery > 0 {
		ticker := time.NewTicker(w.killEvery)
		defer ticker.Stop()
		kills = ticker.C
	}
	lines, expiries := time.NewTicker(time.Second), time.NewTicker(w.expireEvery)
	defer lines.Stop()
	defer expiries.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-lines.C:
			fmt.Fprintf(out, "%3.0f s  killed %[3]d  %[2]s\n", time.Since(w.began).Seconds(), w, len(w.killed))
		case <-expiries.C:
			w.sim.ExpireAccessTokens()
		case <-kills:
			if time.Until(end) < w.calm {
				kills = nil
				continue
			}
			i := rand.IntN(replicas)
			if w.trouble != nil {
				w.trouble(running[i])
				continue
			}
			running[i].kill()
			w.killed = append(w.killed, time.Now())
			if running[i], err = w.start(ctx, environment); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// A process is this program again, as a replica.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	read  sync.WaitGroup
}

// start starts a replica. When ctx ends it is asked to finish.
func (w *world) start(ctx context.Context, environment []string) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, path)}
	p.cmd.Env = append(append(os.Environ(), environment...), envReplica+"=1")
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.cmd.Cancel = func() error {
		_ = p.stdin.Close()
		return os.ErrProcessDone // not an end to complain of
	}
	p.cmd.WaitDelay = endTime
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.read.Go(func() {
		take := w.done.reporter()
		for reports := json.NewDecoder(stdout); ; {
			var r report
			if reports.Decode(&r) != nil {
				return
			}
			take(r)
		}
	})
	return p, nil
}

// end asks the replica to finish, and waits.
func (p *process) end() error {
	_ = p.stdin.Close()
	p.read.Wait()
	return p.cmd.Wait()
}

// kill gives it no time for anything.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.end()
}
