// Package deploy is the root of the module deploy: what an installation of
// Sluice consists of besides its services. It holds no code of its own.
package deploy
