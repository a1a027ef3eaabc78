module micro.test/gomicro

go 1.24

require go-micro.dev/v6 v6.10.0
