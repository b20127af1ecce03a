package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
)

// statusWorkers is how many bare workers write statuses at once.
const statusWorkers = 32

// floor is the least that scans of images may take.
type floor struct {
	list   time.Duration // a plain client lists all tags
	status time.Duration // bare workers write one status for each, which they know beforehand
}

// measureFloor lists images and writes statuses of objects that nobody scans, and removes those objects again. Sluice must not be running.
func (b *bench) measureFloor(ctx context.Context, in catalog, names []string) (floor, error) {
	var f floor
	var err error
	if f.list, err = b.listBare(ctx, in, names); err != nil {
		return f, err
	}
	objects := imageRepositories(in, names)
	for _, o := range objects {
		o.SetName("floor-" + o.GetName())
		o.(*imagev1.ImageRepository).Spec.Suspend = true
	}
	if err := b.create(ctx, objects); err != nil {
		return f, err
	}
	began := time.Now()
	err = lab.Each(statusWorkers, objects, func(o client.Object) error { return b.writeBare(ctx, o) })
	f.status = time.Since(began)
	if err != nil {
		return f, err
	}
	return f, lab.Each(statusWorkers, objects, func(o client.Object) error { return b.Client.Delete(ctx, o) })
}

// writeBare writes a status as that of a scan.
func (b *bench) writeBare(ctx context.Context, o client.Object) error {
	repo := o.(*imagev1.ImageRepository)
	status := imagev1.ImageRepositoryStatus{ObservedGeneration: 1, CanonicalImageName: repo.Spec.Image, ObservedExclusionList: repo.GetExclusionList()}
	status.LastScanResult = &imagev1.ScanResult{Revision: "0123456789abcdef", TagCount: b.options.tags, ScanTime: repo.CreationTimestamp}
	for i := range min(10, b.options.tags) {
		status.LastScanResult.LatestTags = append(status.LastScanResult.LatestTags, tag(i))
	}
	kube.MarkReady(&status.Conditions, 1, meta.SucceededReason, fmt.Sprintf("successful scan: found %d tags with checksum 0123456789abcdef", b.options.tags))
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	return b.Client.Status().Patch(ctx, repo, client.RawPatch(types.MergePatchType, patch), client.FieldOwner("floor"))
}

// listBare lists the tags of images with a plain client and returns how long all of it took.
func (b *bench) listBare(ctx context.Context, in catalog, names []string) (time.Duration, error) {
	connections := b.options.concurrency
	plain := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
	defer plain.CloseIdleConnections()
	began := time.Now()
	err := lab.Each(connections, names, func(name string) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+in.host()+"/v2/"+name+"/tags/list?n=1000", nil)
		if err != nil {
			return err
		}
		response, err := plain.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		var answer struct{ Tags []string }
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return fmt.Errorf("list %s: %w", name, err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		return err
	})
	return time.Since(began), err
}
