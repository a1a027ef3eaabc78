package main

import "go-micro.dev/v5/registry"

type (
	Registry = registry.Registry
	Service  = registry.Service
	Node     = registry.Node
	Endpoint = registry.Endpoint
)

var (
	// Its own default one.
	registries = map[string]func(...registry.Option) Registry{"mdns": registry.NewRegistry}
	lasting    = registry.RegisterTTL
)

// There is no server.
func addresses(string) registry.Option { return func(*registry.Options) {} }
