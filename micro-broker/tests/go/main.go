// A peer of micro's tests: a broker of go-micro's, of whichever version stands beside this file when it is built.
//
//	peer KIND SERVER publish TOPIC      publishes one event
//	peer KIND SERVER subscribe TOPIC    prints READY, then an event a line, until its standard input ends
package main

import (
	"fmt"
	"io"
	"os"
	"sort"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kind, server, verb, topic string) error {
	open, known := brokers[kind]
	if !known {
		return fmt.Errorf("no broker %q", kind)
	}
	events := open(addresses(server))
	if err := events.Connect(); err != nil {
		return err
	}
	defer events.Disconnect()
	switch verb {
	case "publish":
		header := map[string]string{"Content-Type": "application/json", "Micro-Id": "id-1", "Micro-Topic": topic, "Tenant": "a"}
		return events.Publish(topic, &Message{Header: header, Body: []byte(`{"name":"theirs"}`)})
	case "subscribe":
		if _, err := events.Subscribe(topic, printed); err != nil {
			return err
		}
		fmt.Println("READY")
		io.Copy(io.Discard, os.Stdin)
		return nil
	}
	return fmt.Errorf("no verb %q", verb)
}

// The body, then what the event is headed with, by name.
func printed(event Event) error {
	message := event.Message()
	names := []string{}
	for name := range message.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	line := event.Topic() + " " + string(message.Body)
	for _, name := range names {
		line += " " + name + "=" + message.Header[name]
	}
	fmt.Println(line)
	return nil
}
