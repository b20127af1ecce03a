// Package lab brings up what is measured, each as a process of its own: the Kubernetes control plane, the bus and the services; and
// beside them, in this process, the git server and the watches that tell when something has happened.
package lab
