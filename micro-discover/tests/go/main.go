// A peer of micro's tests: a registry of go-micro's, of whichever version stands beside this file when it is built.
//
//	peer KIND SERVER register SERVICE ID ADDRESS   announces until its standard input ends
//	peer KIND SERVER get SERVICE                   prints the nodes it finds, a line each
//	peer KIND SERVER list                          prints the services it finds, a line each
package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kind, server, verb string, args []string) error {
	open, known := registries[kind]
	if !known {
		return fmt.Errorf("no registry %q", kind)
	}
	reg := open(addresses(server))
	switch verb {
	case "register":
		node := &Node{Id: args[1], Address: args[2], Metadata: map[string]string{"transport": "http"}}
		endpoint := &Endpoint{Name: "Greeter.Hello", Metadata: map[string]string{"stream": "false"}}
		service := &Service{Name: args[0], Version: "1.2.3"}
		service.Nodes, service.Endpoints = []*Node{node}, []*Endpoint{endpoint}
		if err := reg.Register(service, lasting(time.Minute)); err != nil {
			return err
		}
		fmt.Println("registered")
		io.Copy(io.Discard, os.Stdin)
		err := reg.Deregister(service)
		// NATS's client says it a moment later.
		time.Sleep(time.Second / 2)
		return err
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
