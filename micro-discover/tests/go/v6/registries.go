package main

import (
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"
	"go-micro.dev/v6/registry/etcd"
	"go-micro.dev/v6/registry/nats"
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
		"nats":   nats.NewNatsRegistry,
	}
	addresses = registry.Addrs
	lasting   = registry.RegisterTTL
)
