//go:build tools

// Package tools names the program, so that its version stays pinned in go.mod and go.sum.
package tools

import _ "github.com/distribution/distribution/v3/cmd/registry"
