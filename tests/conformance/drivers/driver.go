package main

import (
	"context"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	topologyKey  = "topology.hostpath.csi/node"
	bytesMax     = 1 << 40
	ephemeralKey = "csi.storage.k8s.io/ephemeral"
)

// volume: a directory, or a file that becomes a loop device.
type volume struct {
	id, name       string
	bytes          int64
	block          bool
	ephemeral      bool
	node           string
	readOnlyAtNode bool
	staged         map[string]bool
	published      map[string]bool
	source         *csi.VolumeContentSource
}

type snapshot struct {
	id, name, volume string
	bytes            int64
	block            bool
	made             *timestamppb.Timestamp
}

// driver keeps volumes of one node in one directory, and forgets them when it ends.
type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	flags
	lock      sync.Mutex
	directory string
	volumes   map[string]*volume
	snapshots map[string]*snapshot
}

func drive(told flags) {
	it := &driver{
		flags: told, directory: told.get("statedir", "/csi-data-dir"), volumes: map[string]*volume{}, snapshots: map[string]*snapshot{},
	}
	it.directory = filepath.Join(it.directory, it.name())
	if err := os.MkdirAll(it.directory, 0o750); err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(it.alone))
	csi.RegisterIdentityServer(server, it)
	csi.RegisterControllerServer(server, it)
	csi.RegisterNodeServer(server, it)
	log.Fatal(server.Serve(listen(told["endpoint"])))
}

// alone: one call at a time.
func (it *driver) alone(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	it.lock.Lock()
	defer it.lock.Unlock()
	return said(ctx, request, info, handler)
}

func (it *driver) name() string { return it.get("drivername", "hostpath.csi.k8s.io") }
func (it *driver) node() string { return it.get("nodeid", "") }

func (it *driver) topology() *csi.Topology {
	return &csi.Topology{Segments: map[string]string{topologyKey: it.node()}}
}

func (it *driver) path(id string) string { return filepath.Join(it.directory, id) }

func (it *driver) find(id string) (*volume, error) {
	if id == "" {
		return nil, status.Error(codes.InvalidArgument, "Volume ID missing in request")
	}
	if found, is := it.volumes[id]; is {
		return found, nil
	}
	return nil, status.Errorf(codes.NotFound, "volume id %s does not exist in the volumes list", id)
}

// --- identity

func (it *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: it.name(), VendorVersion: "stand-in"}, nil
}

func (it *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

func (it *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	kinds := []csi.PluginCapability_Service_Type{csi.PluginCapability_Service_CONTROLLER_SERVICE}
	if it.on("enable-topology", true) {
		kinds = append(kinds, csi.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS)
	}
	answer := &csi.GetPluginCapabilitiesResponse{}
	for _, kind := range kinds {
		answer.Capabilities = append(answer.Capabilities, &csi.PluginCapability{
			Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: kind}},
		})
	}
	online := &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE}
	if it.on("enable-volume-expansion", true) {
		answer.Capabilities = append(answer.Capabilities, &csi.PluginCapability{
			Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: online},
		})
	}
	return answer, nil
}

// limit: how many volumes this node takes; 0: any number.
func (it *driver) limit() int64 {
	number, _ := strconv.ParseInt(it.get("attach-limit", it.get("maxvolumespernode", "0")), 10, 64)
	return number
}
