// Package manifestrenderer is the root of the module services/manifest-renderer.
package manifestrenderer
