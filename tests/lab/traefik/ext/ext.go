// Package ext is in Traefik's repository, but not in its Go module. There too these are for others to fill.
package ext

type HTTP struct{}

type Router struct{}
