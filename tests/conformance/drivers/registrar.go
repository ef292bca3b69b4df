package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

type registrar struct {
	registration.UnsafeRegistrationServer
	name, endpoint string
}

func (it registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: it.name, Endpoint: it.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

func (it registrar) NotifyRegistrationStatus(
	_ context.Context, told *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	log.Printf("registered: %v %s", told.PluginRegistered, told.Error)
	if !told.PluginRegistered {
		go func() { time.Sleep(time.Second); os.Exit(1) }()
	}
	return &registration.RegistrationStatusResponse{}, nil
}

// register tells the node's agent of the driver behind --csi-address.
func register(told flags) {
	identity := csi.NewIdentityClient(dial(told["csi-address"]))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	info, err := identity.GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		log.Fatal(err)
	}
	socket := fmt.Sprintf("/registration/%s-reg.sock", info.Name)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() { <-ended; os.Remove(socket); os.Exit(0) }()
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, registrar{name: info.Name, endpoint: told["kubelet-registration-path"]})
	log.Fatal(server.Serve(listen(socket)))
}

// watch answers /healthz as the driver behind --csi-address answers Probe.
func watch(told flags) {
	identity := csi.NewIdentityClient(dial(told["csi-address"]))
	http.HandleFunc("/healthz", func(answer http.ResponseWriter, request *http.Request) {
		ctx, cancel := context.WithTimeout(request.Context(), 2*time.Second)
		defer cancel()
		probed, err := identity.Probe(ctx, &csi.ProbeRequest{})
		if err == nil && probed.Ready != nil && !probed.Ready.Value {
			err = errors.New("not ready")
		}
		if err != nil {
			http.Error(answer, err.Error(), http.StatusInternalServerError)
		}
	})
	log.Fatal(http.ListenAndServe(":"+told.get("health-port", "9808"), nil))
}
