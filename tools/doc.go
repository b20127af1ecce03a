// Package tools is the root of the module tools.
package tools
