package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed-498a1bc4/smartcar/store"
)

// The scripts answer {seconds, microseconds, done, what is stored}. The time is
// that of the node that holds the key: asked for by itself, a Cluster would
// answer from any node. A script that only reads is sent to the primary all
// the same, where GET may be sent to a replica or answered from a cache.
//
// A swap or delete that is repeated is answered as it was the first time, for
// the sake of proxies and hooks that repeat commands.
const (
	loadSource = `
local time = redis.call('TIME')
return {time[1], time[2], 1, redis.call('GET', KEYS[1])}`

	swapSource = `
local time = redis.call('TIME')
local head = redis.call('GETRANGE', KEYS[1], 0, 16)
if head == string.sub(ARGV[2], 1, 17) then
	return {time[1], time[2], 1}
elseif head ~= ARGV[1] then
	return {time[1], time[2], 0, redis.call('GET', KEYS[1])}
elseif ARGV[3] == '0' then
	redis.call('SET', KEYS[1], ARGV[2])
else
	redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return {time[1], time[2], 1}`

	// What is stored may stand in the index unless it has a ttl. The answer says so in
	// the place of the record; of an absent one it says that it may.
	deleteSource = `
local time = redis.call('TIME')
local head = redis.call('GETRANGE', KEYS[1], 0, 16)
if head == '' then
	return {time[1], time[2], 1, 'listed'}
elseif head ~= ARGV[1] then
	return {time[1], time[2], 0}
end
local listed = redis.call('PTTL', KEYS[1]) == -1
redis.call('DEL', KEYS[1])
return {time[1], time[2], 1, listed and 'listed' or false}`
)

type script struct{ source, sha string }

func newScript(source string) script {
	return script{source, redis.NewScript(source).Hash()}
}

// reply is what a script answered.
type reply struct {
	now   time.Time
	done  bool
	found bool
	data  string
}

func (r reply) record(operation string) (store.Record, error) {
	record, err := decode(r.data)
	if err != nil {
		return store.Record{}, failed(operation, err)
	}
	record.Now = r.now
	return record, nil
}

// run sends the script by its hash, and whole where the node does not know it.
func (s *Store) run(ctx context.Context, sc script, key string, args ...any) (reply, error) {
	values, err := s.values(ctx, sc, s.prefix+key, args...)
	if err != nil {
		return reply{}, err
	}
	return parseReply(values)
}

func (s *Store) values(ctx context.Context, sc script, key string, args ...any) ([]any, error) {
	if err := ctx.Err(); err != nil { // the client sends what it can send at once
		return nil, err
	}
	if s.client == nil {
		return nil, errNotMade
	}
	values, err := s.once(ctx, "evalsha", sc.sha, key, args)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		values, err = s.once(ctx, "eval", sc.source, key, args)
	}
	if err != nil {
		return nil, endOf(ctx, err)
	}
	return values, nil
}

func (s *Store) once(ctx context.Context, name, body, key string, args []any) ([]any, error) {
	cmd := onceCmd{redis.NewCmd(ctx, append([]any{name, body, 1, key}, args...)...)}
	// With both said, a client of a Cluster need not ask a node with COMMAND.
	cmd.SetFirstKeyPos(3)
	cmd.SetStepCount(1)
	if err := s.client.Process(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.Slice()
}

// onceCmd is a command that the client must not repeat, and whose arguments
// are not for logs.
type onceCmd struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (onceCmd) NoRetry() bool { return true }

// String implements [redis.Cmder].
func (c onceCmd) String() string { return c.Name() + " of smartcar/redisstore" }

// errNotMade is the error of a Store that New has not made.
var errNotMade = errors.New("the Store must come from redisstore.New")

var errReply = errors.New("the server answered something else than the script returns")

func parseReply(values []any) (reply, error) {
	if len(values) < 3 {
		return reply{}, errReply
	}
	seconds, err1 := integer(values[0])
	micros, err2 := integer(values[1])
	done, err3 := integer(values[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return reply{}, err
	}
	r := reply{now: time.Unix(seconds, micros*1000), done: done == 1}
	if len(values) > 3 && values[3] != nil {
		if r.data, r.found = values[3].(string); !r.found {
			return reply{}, errReply
		}
	}
	return r, nil
}

func integer(value any) (int64, error) {
	switch v := value.(type) {
	case int64:
		return v, nil
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errReply, err)
		}
		return n, nil
	}
	return 0, errReply
}
