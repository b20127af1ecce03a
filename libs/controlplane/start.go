package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sluice-cd/sluice/libs/process"
)

// StartOrUse returns the cluster that the options or EnvKubeconfig name, or
// else starts a control plane. Nothing tells whether a given cluster is empty.
func StartOrUse(ctx context.Context, options Options) (*ControlPlane, error) {
	path := options.givenKubeconfig()
	if path == "" {
		return Start(ctx, options)
	}
	config, err := loadConfig(path)
	if err != nil {
		return nil, err
	}
	return &ControlPlane{options: options, given: true, kubeconfig: path, config: config}, nil
}

// Start runs a control plane and returns when it serves. The caller stops it;
// the context bounds the start only. An error holds the end of the log of the
// server that did not start.
func Start(ctx context.Context, options Options) (*ControlPlane, error) {
	if options.Assets.empty() {
		assets, err := Binary(ctx, options.Progress)
		if err != nil {
			return nil, fmt.Errorf("find the programs of the control plane: %w", err)
		}
		options.Assets = assets
	}
	c, err := prepare(options)
	if err != nil {
		return nil, fmt.Errorf("prepare a control plane: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, options.startTimeout())
	defer cancel()
	if err := c.startAll(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start a control plane: %w", err), c.Stop())
	}
	return c, nil
}

// prepare writes all files that the servers read.
func prepare(options Options) (*ControlPlane, error) {
	c := &ControlPlane{options: options}
	if err := c.makeDir(); err != nil {
		return nil, err
	}
	if err := c.writeFiles(); err != nil {
		return nil, errors.Join(err, c.removeDir())
	}
	return c, nil
}

func (c *ControlPlane) writeFiles() error {
	var err error
	if c.port, err = freePort(); err != nil {
		return err
	}
	if c.etcdPort, err = freePort(); err != nil {
		return err
	}
	if err := writeCerts(c.dir); err != nil {
		return err
	}
	authority, err := os.ReadFile(c.file(caFile))
	if err != nil {
		return fmt.Errorf("read the certificate authority: %w", err)
	}
	token, err := writeToken(c.file(tokenFile))
	if err != nil {
		return err
	}
	c.kubeconfig = c.file(kubeconfigFile)
	if err := writeKubeconfig(c.kubeconfig, "https://"+address(c.port), token, authority); err != nil {
		return err
	}
	c.config, err = loadConfig(c.kubeconfig)
	return err
}

// startAll starts the servers in the order in which they need each other.
func (c *ControlPlane) startAll(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	c.etcd, err = c.launch(ctx, etcdProgram, c.etcdFlags(), c.etcdReady)
	if err != nil {
		return err
	}
	c.apiServer, err = c.launch(ctx, apiServerProgram, c.apiServerFlags(), c.apiServerReady)
	if err != nil {
		return err
	}
	return c.startClients(ctx)
}

func (c *ControlPlane) startClients(ctx context.Context) error {
	if c.options.ControllerManager {
		p, err := c.launch(ctx, controllerManagerProgram, c.controllerManagerFlags(), c.controllersReady)
		if err != nil {
			return err
		}
		c.clients = append(c.clients, p)
	}
	if c.options.Scheduler {
		p, err := c.launch(ctx, schedulerProgram, c.schedulerFlags(), c.apiServerReady)
		if err != nil {
			return err
		}
		c.clients = append(c.clients, p)
	}
	return nil
}

// launch starts one server and waits until it is ready. When it does not get
// ready it is killed, and the error has the end of its log.
func (c *ControlPlane) launch(ctx context.Context, name string, flags []string, ready func(context.Context) error) (*process.Process, error) {
	command, err := c.options.Assets.command(name)
	if err != nil {
		return nil, err
	}
	p, err := process.Start(process.Options{
		Name: name, Dir: c.dir, Command: append(command, flags...), Env: []string{stdinVariable + "=1"},
	})
	if err != nil {
		return nil, err
	}
	if err := until(ctx, p, ready); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, logTail(p.Log)), p.Kill())
	}
	return p, nil
}
