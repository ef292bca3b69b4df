package main

import (
	"io"
	"log"
	"net"
)

// join hands whoever calls at --endpoint to one who has called at --proxy-endpoint, each of these once: the suite's own driver,
// which is outside of the cluster, calls there and serves on what it is given.
func join(told flags) {
	driver := accepted(listen(told["proxy-endpoint"]))
	for caller := range accepted(listen(told["endpoint"])) {
		go link(caller, <-driver)
	}
}

func accepted(listener net.Listener) <-chan net.Conn {
	came := make(chan net.Conn)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				log.Fatal(err)
			}
			came <- connection
		}
	}()
	return came
}

func link(one, other net.Conn) {
	done := make(chan struct{}, 2)
	pass := func(to, from net.Conn) { io.Copy(to, from); done <- struct{}{} }
	go pass(one, other)
	go pass(other, one)
	<-done
	one.Close()
	other.Close()
}
