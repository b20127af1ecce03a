// Package libs is the root of the module libs.
package libs
