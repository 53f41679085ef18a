package riverfleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/riverqueue/river"
	"github.com/seed-498a1bc4/smartcar"
)

// forgetBatch is how many jobs are deleted in one statement.
const forgetBatch = 1000

// Forget forgets a user, as smartcar.User.Forget does, and deletes the jobs of the user's
// cars, which name the user and the cars. A visit under way is finished, and its row goes
// when River removes jobs that have ended, after a day as a rule. Finding the jobs reads
// all of them, which takes a second with a million.
//
// Smartcar.User.Forget alone does as well: nothing is asked any more, and each job ends
// with its next visit, a day later at most. If Forget fails, repeat it.
func (j *Jobs[TTx]) Forget(ctx context.Context, rc *river.Client[TTx], user *smartcar.User) error {
	if err := j.ready(); err != nil {
		return err
	}
	if user == nil || user.ID() == "" {
		return argumentError("Forget user", "is nil, or has no id")
	}
	return errors.Join(user.Forget(ctx), deleteJobs(ctx, rc, user.ID()))
}

func deleteJobs[TTx any](ctx context.Context, rc *river.Client[TTx], userID string) error {
	params := river.NewJobDeleteManyParams().Kinds(Args{}.Kind()).First(forgetBatch).
		Where("args ->> 'user_id' = @user", river.NamedArgs{"user": userID})
	for {
		result, err := rc.JobDeleteMany(ctx, params)
		switch {
		case err != nil:
			return fmt.Errorf("riverfleet: %w", err)
		case len(result.Jobs) < forgetBatch:
			return nil
		}
	}
}
