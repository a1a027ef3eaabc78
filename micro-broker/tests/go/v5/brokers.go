package main

import (
	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/broker/nats"
	"go-micro.dev/v5/broker/rabbitmq"
)

type (
	Message = broker.Message
	Event   = broker.Event
)

var (
	brokers = map[string]func(...broker.Option) broker.Broker{
		"nats": nats.NewNatsBroker,
		"amqp": rabbitmq.NewBroker,
	}
	addresses = broker.Addrs
)
