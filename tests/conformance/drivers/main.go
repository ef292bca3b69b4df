// Stand-ins for the programs around CSI that are in no Go module to be had: the registrar, the liveness probe, and the driver
// hostpath.csi.k8s.io with its proxy. One program; its name says which one it is.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// flags: words of the command line. What is not known here does no harm: the originals have many more.
type flags map[string]string

func parse(words []string) flags {
	found := flags{}
	for at := 0; at < len(words); at++ {
		name, value, given := strings.Cut(strings.TrimLeft(words[at], "-"), "=")
		if !given {
			value = "true"
			if at+1 < len(words) && !strings.HasPrefix(words[at+1], "-") {
				at++
				value = words[at]
			}
		}
		found[name] = value
	}
	return found
}

func (all flags) get(name, otherwise string) string {
	if value, given := all[name]; given {
		return value
	}
	return otherwise
}

func (all flags) on(name string, otherwise bool) bool {
	if value, given := all[name]; given {
		return value == "true"
	}
	return otherwise
}

func main() {
	log.SetOutput(os.Stdout)
	told := parse(os.Args[1:])
	switch name := filepath.Base(os.Args[0]); {
	case name == "csi-node-driver-registrar":
		register(told)
	case name == "livenessprobe":
		watch(told)
	case told["proxy-endpoint"] != "":
		join(told)
	default:
		drive(told)
	}
}

// place: unix:///a/b, tcp://:1 or /a/b as Go's net wants them.
func place(endpoint string) (string, string) {
	if network, address, found := strings.Cut(endpoint, "://"); found {
		return network, address
	}
	return "unix", endpoint
}

func listen(endpoint string) net.Listener {
	network, address := place(endpoint)
	if network == "unix" {
		os.Remove(address)
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func dial(endpoint string) *grpc.ClientConn {
	_, address := place(endpoint)
	connection, err := grpc.NewClient("unix://"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	return connection
}

// said writes each call as the suite reads it in the log.
func said(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	answer, err := handler(ctx, request)
	line := map[string]any{"Method": info.FullMethod, "Request": request, "Response": answer, "Error": ""}
	if err != nil {
		line["Error"], line["FullError"] = err.Error(), status.Convert(err).Proto()
	}
	text, _ := json.Marshal(line)
	log.Printf("gRPCCall: %s", text)
	return answer, err
}
