// A peer of micro's tests: the registries of go-micro v3 that are kept on a server.
//
//	peer etcd|consul|nats SERVER register SERVICE ID ADDRESS   announces until its standard input ends
//	peer etcd|consul|nats SERVER get SERVICE                   prints the nodes it finds, a line each
//	peer etcd|consul|nats SERVER list                          prints the services it finds, a line each
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/asim/go-micro/plugins/registry/consul/v3"
	"github.com/asim/go-micro/plugins/registry/etcd/v3"
	"github.com/asim/go-micro/plugins/registry/nats/v3"
	"github.com/asim/go-micro/v3/registry"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func open(kind, server string) (registry.Registry, error) {
	address := registry.Addrs(server)
	switch kind {
	case "etcd":
		return etcd.NewRegistry(address), nil
	case "consul":
		return consul.NewRegistry(address), nil
	case "nats":
		return nats.NewRegistry(address), nil
	}
	return nil, fmt.Errorf("no registry %q", kind)
}

func run(kind, server, verb string, args []string) error {
	reg, err := open(kind, server)
	if err != nil {
		return err
	}
	switch verb {
	case "register":
		node := &registry.Node{Id: args[1], Address: args[2], Metadata: map[string]string{"transport": "http"}}
		endpoint := &registry.Endpoint{Name: "Greeter.Hello", Metadata: map[string]string{"stream": "false"}}
		service := &registry.Service{Name: args[0], Version: "1.2.3"}
		service.Nodes, service.Endpoints = []*registry.Node{node}, []*registry.Endpoint{endpoint}
		if err := reg.Register(service, registry.RegisterTTL(time.Minute)); err != nil {
			return err
		}
		fmt.Println("registered")
		io.Copy(io.Discard, os.Stdin)
		return reg.Deregister(service)
	case "get":
		services, err := reg.GetService(args[0])
		if err != nil {
			return err
		}
		for _, service := range services {
			for _, node := range service.Nodes {
				fmt.Println(service.Version, node.Id, node.Address, node.Metadata["k"], service.Endpoints[0].Name)
			}
		}
		return nil
	case "list":
		services, err := reg.ListServices()
		if err != nil {
			return err
		}
		for _, service := range services {
			fmt.Println(service.Name)
		}
		return nil
	}
	return fmt.Errorf("no verb %q", verb)
}
