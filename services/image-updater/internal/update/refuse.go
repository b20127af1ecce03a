package update

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
	"github.com/sluice-cd/sluice/services/image-updater/internal/pullrequest"
)

const (
	// mostListed is how many changes a request lists: hosts bound bodies. Of a larger one that was closed the rest is proposed again.
	mostListed = 250
	// mostClosed is how many closed requests of a branch are looked at, the latest first.
	mostClosed = 10
	// shortDigest is how many characters name a change within one request.
	shortDigest = 12
)

// listOf is a line that hosts hide: the changes of a request, each by a part of its digest. Who closes the request without a merge refuses them.
func listOf(changes []edit.Change) string {
	var all []string
	for _, c := range changes[:min(len(changes), mostListed)] {
		all = append(all, short(changeKey(c.Place, c.New)))
	}
	return "[//]: # (sluice-changes:" + strings.Join(all, ",") + ")"
}

func short(key string) string { return digest(key)[:shortDigest] }

var listPattern = regexp.MustCompile(`(?m)^\[//\]: # \(sluice-changes:([0-9a-f,]*)\)`)

// refuse leaves out what requests would have written that somebody closed without a merge, and says so. All else is proposed still.
func (j *job) refuse(ctx context.Context, found []pullrequest.Request, changes []edit.Change, total *outcome) ([]edit.Change, error) {
	refused, err := j.refusedIn(ctx, found)
	if err != nil || len(refused) == 0 {
		return changes, err
	}
	j.refused = map[string]bool{}
	var kept []edit.Change
	for _, c := range changes {
		key := changeKey(c.Place, c.New)
		id := refused[short(key)]
		if id == 0 {
			kept = append(kept, c)
			continue
		}
		j.refused[key] = true
		total.held = append(total.held, held{
			Policy: j.target.push + "/", Place: fmt.Sprintf("%s:%d", c.File, c.Line), Present: c.Value, Wanted: c.New, Reason: reasonClosed,
			Message: fmt.Sprintf("%s:%d stays, as pull request %d with %s was closed without a merge; a newer version will be proposed", c.File, c.Line, id, c.New),
		})
	}
	return kept, nil
}

// refusedIn are the changes of requests that were closed without a merge, with the request's number.
func (j *job) refusedIn(ctx context.Context, found []pullrequest.Request) (map[string]int64, error) {
	refused, looked := map[string]int64{}, 0
	for _, r := range found {
		if r.State != pullrequest.Closed || looked == mostClosed {
			continue
		}
		looked++
		list := listPattern.FindStringSubmatch(r.Body)
		if list == nil { // listings may cut bodies
			whole, err := j.target.requests.client.Get(ctx, r.ID)
			if err != nil {
				return nil, err
			}
			list = listPattern.FindStringSubmatch(whole.Body)
		}
		if list == nil {
			continue
		}
		for id := range strings.SplitSeq(list[1], ",") {
			if id != "" && refused[id] == 0 {
				refused[id] = r.ID
			}
		}
	}
	return refused, nil
}
