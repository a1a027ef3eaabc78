// A peer of micro's tests: go-micro's own default registry.
//
//	peer register SERVICE ID ADDRESS   announces until its standard input ends, and prints a line when it does
//	peer get SERVICE                   prints the nodes it finds, a line each
//	peer list                          prints the services it finds, a line each
package main

import (
	"fmt"
	"io"
	"os"

	"go-micro.dev/v5/registry"
)

func main() {
	if err := run(registry.NewRegistry(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(reg registry.Registry, verb string, args []string) error {
	switch verb {
	case "register":
		node := &registry.Node{Id: args[1], Address: args[2], Metadata: map[string]string{"transport": "http"}}
		endpoint := &registry.Endpoint{Name: "Greeter.Hello", Metadata: map[string]string{"stream": "false"}}
		service := &registry.Service{Name: args[0], Version: "1.2.3"}
		service.Nodes, service.Endpoints = []*registry.Node{node}, []*registry.Endpoint{endpoint}
		if err := reg.Register(service); err != nil {
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
