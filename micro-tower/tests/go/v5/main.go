// A peer of micro's tests: go-micro's own server and client.
//
//	peer serve [NATS]           prints its address and serves Greeter until its standard input ends
//	peer call ADDRESS [NATS]    calls Greeter there in every way, and prints what came back, a line each
//
// Over HTTP, or over the NATS server that is named.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/client"
	"go-micro.dev/v5/errors"
	"go-micro.dev/v5/logger"
	"go-micro.dev/v5/metadata"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/server"
	"go-micro.dev/v5/transport"
	"go-micro.dev/v5/transport/nats"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type Req struct {
	Name string `json:"name"`
}

type Rsp struct {
	Greeting string `json:"greeting"`
}

type Greeter struct{}

func (g *Greeter) Hello(ctx context.Context, req *Req, rsp *Rsp) error {
	if req.Name == "err" {
		return errors.BadRequest("greeter.hello", "bad name")
	}
	tenant, _ := metadata.Get(ctx, "X-Tenant")
	rsp.Greeting = "Hello " + req.Name + tenant
	return nil
}

func (g *Greeter) Proto(ctx context.Context, req *wrapperspb.StringValue, rsp *wrapperspb.StringValue) error {
	rsp.Value = "Hello " + req.Value
	return nil
}

func (g *Greeter) Stream(ctx context.Context, stream server.Stream) error {
	for {
		var req Req
		if err := stream.Recv(&req); err != nil {
			return nil
		}
		if req.Name == "end" {
			return nil
		}
		if err := stream.Send(&Rsp{Greeting: "s-" + req.Name}); err != nil {
			return err
		}
	}
}

func (g *Greeter) Lots(ctx context.Context, stream server.Stream) error {
	var req Req
	if err := stream.Recv(&req); err != nil {
		return err
	}
	for i := 0; i < 100; i++ {
		if err := stream.Send(&Rsp{Greeting: fmt.Sprint(req.Name, i)}); err != nil {
			return err
		}
	}
	return nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// What carries the messages, and the address that means any there.
func carrier(broker []string) (transport.Transport, string) {
	if len(broker) == 0 {
		return transport.NewHTTPTransport(), "127.0.0.1:0"
	}
	return nats.NewTransport(transport.Addrs(broker[0])), server.DefaultAddress
}

func serve(broker []string) {
	over, anywhere := carrier(broker)
	srv := server.NewRPCServer(
		server.Name("greeter"),
		server.Address(anywhere),
		server.Transport(over),
		server.Registry(registry.NewMemoryRegistry()),
	)
	check(srv.Handle(srv.NewHandler(&Greeter{})))
	check(srv.Start())
	fmt.Println(srv.Options().Address)
	io.Copy(io.Discard, os.Stdin)
}

func call(address string, broker []string) {
	over, _ := carrier(broker)
	c := client.NewClient(client.Registry(registry.NewMemoryRegistry()), client.Transport(over), client.Retries(0))
	ctx := metadata.NewContext(context.Background(), map[string]string{"X-Tenant": "!"})
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	at := client.WithAddress(address)
	json := client.WithContentType("application/json")

	for _, contentType := range []string{"application/json", "application/json-rpc"} {
		for _, name := range []string{"John", "err", "panic"} {
			var rsp Rsp
			err := c.Call(ctx, c.NewRequest("greeter", "Greeter.Hello", &Req{Name: name}, client.WithContentType(contentType)), &rsp, at)
			fmt.Println(contentType, rsp.Greeting, err)
		}
	}
	for _, contentType := range []string{"application/protobuf", "application/proto-rpc"} {
		var rsp wrapperspb.StringValue
		req := c.NewRequest("greeter", "Greeter.Proto", wrapperspb.String("John"), client.WithContentType(contentType))
		err := c.Call(ctx, req, &rsp, at)
		fmt.Println(contentType, rsp.Value, err)
	}
	var nothing Rsp
	fmt.Println("missing", c.Call(ctx, c.NewRequest("greeter", "Greeter.Nope", &Req{}, json), &nothing, at))

	stream, err := c.Stream(ctx, c.NewRequest("greeter", "Greeter.Stream", &Req{}, json), at)
	check(err)
	for _, name := range []string{"a", "b"} {
		check(stream.Send(&Req{Name: name}))
		var rsp Rsp
		check(stream.Recv(&rsp))
		fmt.Println("stream", rsp.Greeting)
	}
	var rsp Rsp
	fmt.Println("stream", stream.Recv(&rsp))
	check(stream.Close())

	lots, err := c.Stream(ctx, c.NewRequest("greeter", "Greeter.Lots", &Req{}, json), at)
	check(err)
	check(lots.Send(&Req{Name: "n"}))
	count := 0
	for err = lots.Recv(&rsp); err == nil; err = lots.Recv(&rsp) {
		count++
	}
	fmt.Println("lots", count, rsp.Greeting, err)
}

func main() {
	logger.DefaultLogger = logger.NewLogger(logger.WithLevel(logger.FatalLevel))
	broker.DefaultBroker = broker.NewMemoryBroker()
	switch args := os.Args[1:]; {
	case len(args) > 0 && len(args) < 3 && args[0] == "serve":
		serve(args[1:])
	case len(args) > 1 && len(args) < 4 && args[0] == "call":
		call(args[1], args[2:])
	default:
		fmt.Fprintln(os.Stderr, "peer serve [NATS], or peer call ADDRESS [NATS]")
		os.Exit(2)
	}
}
