package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

const (
	pageSize = 1000
	// maxPage bounds one page of tags; registries that do not page answer with all of them.
	maxPage = 16 << 20
)

// Page is a part of an image's tags.
type Page struct {
	Tags []string // those with valid names
	// Invalid is how many names were dropped.
	Invalid int
	// Next is where to go on; empty after the last page. It may be kept, and used by another process.
	Next string
}

// Tags asks for one page of the tags: the first, or the one that Next of the page before names.
func (r *Repository) Tags(ctx context.Context, next string) (*Page, error) {
	path := next
	if path == "" {
		path = fmt.Sprintf("%s?n=%d", r.path("tags", "list"), pageSize)
	}
	response, err := r.ask(ctx, http.MethodGet, classTags, path, "application/json")
	if err != nil {
		return nil, fmt.Errorf("list tags of %s: %w", r.image, err)
	}
	defer response.Body.Close()
	page, err := r.readPage(response)
	if err != nil {
		return nil, fmt.Errorf("list tags of %s: %w", r.image, err)
	}
	if page.Next == path {
		return nil, fmt.Errorf("list tags of %s: %w: the next page is this one", r.image, ErrMalformed)
	}
	return page, nil
}

func (r *Repository) readPage(response *http.Response) (*Page, error) {
	body, err := readBounded(response.Body, maxPage)
	if err != nil {
		return nil, unfinished(err)
	}
	var answer struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	page := &Page{Tags: answer.Tags[:0]}
	for _, tag := range answer.Tags {
		if ValidTag(tag) {
			page.Tags = append(page.Tags, tag)
		} else {
			page.Invalid++
		}
	}
	page.Next, err = r.nextPage(response.Header.Get("Link"))
	return page, err
}

// nextPage reads where to go on. Only path and query count: whatever host the link names, the registry itself is asked, for this
// image.
func (r *Repository) nextPage(link string) (string, error) {
	if link == "" {
		return "", nil
	}
	target, _, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
	here := &url.URL{Scheme: "https", Host: r.image.Host(), Path: r.path("tags", "list")}
	u, err := here.Parse(target)
	if !ok || err != nil || len(link) > 16<<10 {
		return "", fmt.Errorf("%w: link to the next page", ErrMalformed)
	}
	if !strings.HasSuffix(u.Path, "/"+r.image.Path()+"/tags/list") {
		return "", fmt.Errorf("%w: the link to the next page leads to %s", ErrMalformed, clean(u.Path))
	}
	return r.path("tags", "list") + "?" + u.RawQuery, nil
}

// unfinished is the error of a body that was not read to its end.
func unfinished(err error) error {
	if errors.Is(err, ErrMalformed) {
		return err
	}
	return fmt.Errorf("%w: read answer: %w", ErrUnavailable, err)
}
