// Package gauge measures what an installation costs: requests to the API server by that server's own metrics, processor time and
// memory of processes as the kernel counts them, and runs of stages by the services' metrics.
package gauge
