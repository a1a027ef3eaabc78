package main

import (
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/registry/consul"
	"go-micro.dev/v5/registry/etcd"
	"go-micro.dev/v5/registry/nats"
)

type (
	Registry = registry.Registry
	Service  = registry.Service
	Node     = registry.Node
	Endpoint = registry.Endpoint
)

var (
	registries = map[string]func(...registry.Option) Registry{
		"consul": consul.NewConsulRegistry,
		"etcd":   etcd.NewEtcdRegistry,
		"mdns":   registry.NewMDNSRegistry,
		"nats":   nats.NewNatsRegistry,
	}
	addresses = registry.Addrs
	lasting   = registry.RegisterTTL
)
