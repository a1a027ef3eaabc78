package main

import (
	"github.com/asim/go-micro/plugins/registry/consul/v3"
	"github.com/asim/go-micro/plugins/registry/etcd/v3"
	"github.com/asim/go-micro/plugins/registry/nats/v3"
	"github.com/asim/go-micro/v3/registry"
)

type (
	Registry = registry.Registry
	Service  = registry.Service
	Node     = registry.Node
	Endpoint = registry.Endpoint
)

var (
	registries = map[string]func(...registry.Option) Registry{
		"consul": consul.NewRegistry,
		"etcd":   etcd.NewRegistry,
		"nats":   nats.NewRegistry,
	}
	addresses = registry.Addrs
	lasting   = registry.RegisterTTL
)
