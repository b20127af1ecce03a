package demo

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// exampleRegistry stands in the example for the address of the registry that runs.
const exampleRegistry = "registry.example"

// followed is the image that the demo pushes, and the name of the objects that follow it.
const followed = "status-page"

// images is a registry with one image.
type images struct {
	listener net.Listener
	server   *http.Server
}

// startRegistry starts the registry with the first image in it.
func (d *demo) startRegistry(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the registry: %w", err)
	}
	d.images = &images{listener, &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0))), ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = d.images.server.Serve(listener) }()
	d.onStop(d.images.server.Close)
	return d.images.push(ctx, "1.0.0")
}

// host is the registry's part of the names of images.
func (i *images) host() string { return i.listener.Addr().String() }

// name is that of an image with a tag.
func (i *images) name(tag string) string { return i.host() + "/" + followed + ":" + tag }

// localize writes the registry's address into a text of the example.
func (i *images) localize(text string) string {
	return strings.ReplaceAll(text, exampleRegistry, i.host())
}

// push pushes an image without files.
func (i *images) push(ctx context.Context, tag string) error {
	ref, err := name.NewTag(i.name(tag), name.Insecure)
	if err != nil {
		return fmt.Errorf("push image: %w", err)
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: "amd64", Created: v1.Time{Time: time.Now()}, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Labels: map[string]string{"org.opencontainers.image.version": tag}},
	})
	if err != nil {
		return fmt.Errorf("make image %s: %w", ref, err)
	}
	if err := remote.Write(ref, image, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("push image %s: %w", ref, err)
	}
	return nil
}

// pushImage pushes an image and follows it until the cluster runs it. The commit between is Sluice's.
func (d *demo) pushImage(ctx context.Context, number string, s step) (outcome, error) {
	d.console.pushed(number, s.title, []string{"docker push " + d.images.name(s.tag) + "; nobody edits anything"})
	t := newTracker(d.console, time.Now(), "", s.wants)
	if err := d.images.push(ctx, s.tag); err != nil {
		return outcome{}, err
	}
	if err := d.host.imagePushed(ctx, d.images.name(s.tag)); err != nil {
		return outcome{}, err
	}
	t.times.asked = time.Since(t.started)
	d.console.stage(0, "pushed", plain, "image "+s.tag)
	if err := d.look(ctx, pushTimeout, t, func() bool { return t.revision != "" }); err != nil {
		return outcome{}, err
	}
	if err := d.host.pushed(ctx, d.git.URL(source)); err != nil {
		return outcome{}, err
	}
	if err := d.look(ctx, pushTimeout, t, func() bool { return t.done(d.apps) }); err != nil {
		return outcome{}, err
	}
	t.end()
	d.handPush.Store(nil) // it was Sluice's
	return outcome{step: s, times: t.times}, d.readTip(ctx)
}

// readTip takes in what others committed to the file that follows the image.
func (d *demo) readTip(ctx context.Context) error {
	var err error
	if d.tip, err = d.repository.Resolve(ctx, "refs/heads/"+branch); err != nil {
		return err
	}
	const file = "status-page/deployment.yaml"
	d.files[file], err = d.repository.Git(ctx, nil, "show", d.tip+":"+file)
	return err
}
