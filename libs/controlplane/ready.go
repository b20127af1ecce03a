package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sluice-cd/sluice/libs/process"
)

// ErrEnded says that a server ended while it was to start or to serve.
var ErrEnded = errors.New("ended")

// readyPoll is how often a starting server is asked whether it is ready.
const readyPoll = 25 * time.Millisecond

// until asks check again and again, until it is content, the server ends or
// the context does.
func until(ctx context.Context, p *process.Process, check func(context.Context) error) error {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		last := check(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("%s: %w: %w", p.Name, ErrEnded, p.Err())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", p.Name, ctx.Err(), last)
		case <-ticker.C:
		}
	}
}

// etcdReady asks etcd itself: without it the API server retries with longer
// and longer pauses.
func (c *ControlPlane) etcdReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(c.etcdPort)+"/health", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd answers %s", response.Status)
	}
	return nil
}

// apiServerReady wants the readiness of the API server and the namespace
// "default", which is made a moment later.
func (c *ControlPlane) apiServerReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
		return err
	}
	_, err = client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{})
	return err
}

// controllersReady takes the account that a controller makes in each namespace
// as the sign that the controllers run.
func (c *ControlPlane) controllersReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	return err
}
