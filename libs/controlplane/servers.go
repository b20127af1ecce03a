package controlplane

import (
	"path/filepath"
	"strconv"
)

// etcdFlags keep the data in the folder and leave out the sync to disk, which
// is most of the time of a write and no use after a test. A sole member elects
// itself only after the election timeout, so that is short.
func (c *ControlPlane) etcdFlags() []string {
	url := "http://" + address(c.etcdPort)
	return []string{
		"--name=test",
		"--data-dir=" + c.file("etcd"),
		"--listen-client-urls=" + url,
		"--advertise-client-urls=" + url,
		"--listen-peer-urls=http://" + loopback + ":0",
		"--unsafe-no-fsync=true",
		"--heartbeat-interval=25",
		"--election-timeout=250",
		"--quota-backend-bytes=8589934592",
		"--log-level=warn",
	}
}

// apiServerFlags give what a cluster has, apart from the admission plugin
// ServiceAccount, which refuses Pods where no controller makes the accounts,
// and the Service "kubernetes", which nothing here resolves.
func (c *ControlPlane) apiServerFlags() []string {
	return withFlags([]string{
		"--etcd-servers=http://" + address(c.etcdPort),
		"--bind-address=" + loopback,
		"--advertise-address=" + loopback,
		"--secure-port=" + strconv.Itoa(c.port),
		"--tls-cert-file=" + c.file(certFile),
		"--tls-private-key-file=" + c.file(certKeyFile),
		"--token-auth-file=" + c.file(tokenFile),
		"--authorization-mode=RBAC",
		"--service-account-key-file=" + c.file(accountPublic),
		"--service-account-signing-key-file=" + c.file(accountFile),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--allow-privileged=true",
		"--disable-admission-plugins=ServiceAccount",
		"--endpoint-reconciler-type=none",
		"--profiling=false",
	}, c.options.APIServerFlags)
}

// controllerManagerFlags lift the client's rate limit: its default of twenty
// requests a second makes thousands of Deployments wait for minutes.
func (c *ControlPlane) controllerManagerFlags() []string {
	return append(c.clientFlags(),
		"--service-account-private-key-file="+c.file(accountFile),
		"--root-ca-file="+c.file(caFile),
	)
}

func (c *ControlPlane) schedulerFlags() []string { return c.clientFlags() }

// clientFlags are for a server that is a client of the API server. It serves
// nothing itself.
func (c *ControlPlane) clientFlags() []string {
	return []string{
		"--kubeconfig=" + c.kubeconfig,
		"--authentication-kubeconfig=" + c.kubeconfig,
		"--authorization-kubeconfig=" + c.kubeconfig,
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	}
}

func (c *ControlPlane) file(name string) string { return filepath.Join(c.dir, name) }
