package main

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"sort"
	"strconv"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (it *driver) ControllerGetCapabilities(
	context.Context, *csi.ControllerGetCapabilitiesRequest,
) (*csi.ControllerGetCapabilitiesResponse, error) {
	kinds := []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	}
	if it.on("enable-attach", false) {
		kinds = append(kinds, csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME)
	}
	if it.on("enable-volume-expansion", true) && !it.on("disable-controller-expansion", false) {
		kinds = append(kinds, csi.ControllerServiceCapability_RPC_EXPAND_VOLUME)
	}
	if it.on("enable-controller-modify-volume", false) {
		kinds = append(kinds, csi.ControllerServiceCapability_RPC_MODIFY_VOLUME)
	}
	answer := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range kinds {
		answer.Capabilities = append(answer.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}},
		})
	}
	return answer, nil
}

func (it *driver) described(found *volume) *csi.Volume {
	answer := &csi.Volume{VolumeId: found.id, CapacityBytes: found.bytes, ContentSource: found.source}
	if it.on("enable-topology", true) {
		answer.AccessibleTopology = []*csi.Topology{it.topology()}
	}
	return answer
}

// modifiable: what a VolumeAttributesClass may ask for.
func (it *driver) modifiable(parameters map[string]string) error {
	for name := range parameters {
		if name != it.get("accepted-mutable-parameter-names", name) {
			return status.Errorf(codes.InvalidArgument, "invalid parameter: %s", name)
		}
	}
	return nil
}

func (it *driver) CreateVolume(_ context.Context, asked *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if asked.Name == "" || len(asked.VolumeCapabilities) == 0 {
		return nil, status.Error(codes.InvalidArgument, "a name and capabilities are needed")
	}
	if err := it.modifiable(asked.MutableParameters); err != nil {
		return nil, err
	}
	bytes := asked.GetCapacityRange().GetRequiredBytes()
	if bytes > bytesMax {
		return nil, status.Errorf(codes.OutOfRange, "Requested capacity %d exceeds maximum allowed %d", bytes, int64(bytesMax))
	}
	for _, other := range it.volumes {
		if other.name == asked.Name {
			if other.bytes < bytes {
				return nil, status.Errorf(codes.AlreadyExists, "Volume with the same name: %s but with different size already exist", asked.Name)
			}
			return &csi.CreateVolumeResponse{Volume: it.described(other)}, nil
		}
	}
	made := it.fresh(rand.Text(), asked.Name, bytes, asked.VolumeCapabilities[0].GetBlock() != nil)
	made.source = asked.VolumeContentSource
	var from string
	if source := asked.VolumeContentSource.GetSnapshot(); source != nil {
		kept, is := it.snapshots[source.SnapshotId]
		if !is {
			return nil, status.Errorf(codes.NotFound, "cannot find snapshot %v", source.SnapshotId)
		}
		from = it.path(kept.id)
	} else if source := asked.VolumeContentSource.GetVolume(); source != nil {
		if _, err := it.find(source.VolumeId); err != nil {
			return nil, err
		}
		from = it.path(source.VolumeId)
	}
	if err := it.lay(made, from); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.CreateVolumeResponse{Volume: it.described(made)}, nil
}

func (it *driver) fresh(id, name string, bytes int64, block bool) *volume {
	return &volume{id: id, name: name, bytes: bytes, block: block, staged: map[string]bool{}, published: map[string]bool{}}
}

// lay puts the volume on disk and remembers it.
func (it *driver) lay(made *volume, from string) error {
	place := it.path(made.id)
	if from != "" {
		if err := exec.Command("cp", "-a", from, place).Run(); err != nil {
			return err
		}
	} else if made.block {
		if err := os.WriteFile(place, nil, 0o600); err != nil {
			return err
		}
	} else if err := os.Mkdir(place, 0o777); err != nil {
		return err
	}
	if made.block {
		if err := os.Truncate(place, made.bytes); err != nil {
			return err
		}
	} else if err := os.Chmod(place, 0o777); err != nil {
		return err
	}
	it.volumes[made.id] = made
	return nil
}

func (it *driver) DeleteVolume(_ context.Context, asked *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	found, is := it.volumes[asked.VolumeId]
	if !is {
		return &csi.DeleteVolumeResponse{}, nil
	}
	if used := len(found.staged) + len(found.published); used > 0 && it.on("check-volume-lifecycle", false) || found.node != "" {
		return nil, status.Errorf(codes.Internal, "volume '%s' is still used in %d places, attached to '%s'", found.id, used, found.node)
	}
	return &csi.DeleteVolumeResponse{}, it.forget(found.id)
}

func (it *driver) forget(id string) error {
	delete(it.volumes, id)
	return os.RemoveAll(it.path(id))
}

func (it *driver) ControllerPublishVolume(
	_ context.Context, asked *csi.ControllerPublishVolumeRequest,
) (*csi.ControllerPublishVolumeResponse, error) {
	found, err := it.find(asked.VolumeId)
	if err != nil {
		return nil, err
	}
	if asked.NodeId != it.node() {
		return nil, status.Errorf(codes.NotFound, "Not matching Node ID %s to hostpath Node ID %s", asked.NodeId, it.node())
	}
	var attached int64
	for _, other := range it.volumes {
		if other.node != "" && other != found {
			attached++
		}
	}
	if limit := it.limit(); limit > 0 && attached >= limit {
		return nil, status.Errorf(codes.ResourceExhausted, "Cannot attach any more volumes to this node ('%d' volumes already attached)", attached)
	}
	if found.node != "" && found.readOnlyAtNode != asked.Readonly {
		return nil, status.Error(codes.AlreadyExists, "Volume published but has incompatible readonly flag")
	}
	found.node, found.readOnlyAtNode = asked.NodeId, asked.Readonly
	return &csi.ControllerPublishVolumeResponse{PublishContext: map[string]string{}}, nil
}

func (it *driver) ControllerUnpublishVolume(
	_ context.Context, asked *csi.ControllerUnpublishVolumeRequest,
) (*csi.ControllerUnpublishVolumeResponse, error) {
	if found, is := it.volumes[asked.VolumeId]; is {
		if it.on("check-volume-lifecycle", false) && len(found.staged)+len(found.published) > 0 {
			return nil, status.Errorf(codes.Internal, "volume '%s' is still used", found.id)
		}
		found.node = ""
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}

func (it *driver) ValidateVolumeCapabilities(
	_ context.Context, asked *csi.ValidateVolumeCapabilitiesRequest,
) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if _, err := it.find(asked.VolumeId); err != nil {
		return nil, err
	}
	confirmed := &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: asked.VolumeCapabilities}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: confirmed}, nil
}

func (it *driver) ListVolumes(_ context.Context, asked *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	answer := &csi.ListVolumesResponse{}
	for _, found := range it.volumes {
		state := &csi.ListVolumesResponse_VolumeStatus{}
		if found.node != "" {
			state.PublishedNodeIds = []string{found.node}
		}
		answer.Entries = append(answer.Entries, &csi.ListVolumesResponse_Entry{Volume: it.described(found), Status: state})
	}
	return answer, nil
}

func (it *driver) GetCapacity(context.Context, *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	return &csi.GetCapacityResponse{AvailableCapacity: bytesMax}, nil
}

func (it *driver) ControllerExpandVolume(
	_ context.Context, asked *csi.ControllerExpandVolumeRequest,
) (*csi.ControllerExpandVolumeResponse, error) {
	found, err := it.find(asked.VolumeId)
	if err != nil {
		return nil, err
	}
	bytes := asked.GetCapacityRange().GetRequiredBytes()
	if bytes > bytesMax {
		return nil, status.Errorf(codes.OutOfRange, "Requested capacity %d exceeds maximum allowed %d", bytes, int64(bytesMax))
	}
	found.bytes = max(found.bytes, bytes)
	if found.block {
		if err := os.Truncate(it.path(found.id), found.bytes); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: found.bytes, NodeExpansionRequired: it.on("node-expand-required", true)}, nil
}

func (it *driver) ControllerModifyVolume(
	_ context.Context, asked *csi.ControllerModifyVolumeRequest,
) (*csi.ControllerModifyVolumeResponse, error) {
	if _, err := it.find(asked.VolumeId); err != nil {
		return nil, err
	}
	return &csi.ControllerModifyVolumeResponse{}, it.modifiable(asked.MutableParameters)
}

// --- snapshots

func (kept *snapshot) described() *csi.Snapshot {
	return &csi.Snapshot{SnapshotId: kept.id, SourceVolumeId: kept.volume, SizeBytes: kept.bytes, CreationTime: kept.made, ReadyToUse: true}
}

func (it *driver) CreateSnapshot(_ context.Context, asked *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	for _, other := range it.snapshots {
		if other.name == asked.Name {
			if other.volume != asked.SourceVolumeId {
				return nil, status.Errorf(codes.AlreadyExists, "snapshot with the same name: %s but with different source", asked.Name)
			}
			return &csi.CreateSnapshotResponse{Snapshot: other.described()}, nil
		}
	}
	source, err := it.find(asked.SourceVolumeId)
	if err != nil {
		return nil, err
	}
	made := &snapshot{
		id: "snapshot-" + rand.Text(), name: asked.Name, volume: source.id, bytes: source.bytes, block: source.block, made: timestamppb.Now(),
	}
	if err := exec.Command("cp", "-a", it.path(source.id), it.path(made.id)).Run(); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	it.snapshots[made.id] = made
	return &csi.CreateSnapshotResponse{Snapshot: made.described()}, nil
}

func (it *driver) DeleteSnapshot(_ context.Context, asked *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if _, is := it.snapshots[asked.SnapshotId]; !is {
		return &csi.DeleteSnapshotResponse{}, nil
	}
	delete(it.snapshots, asked.SnapshotId)
	return &csi.DeleteSnapshotResponse{}, os.RemoveAll(it.path(asked.SnapshotId))
}

func (it *driver) ListSnapshots(_ context.Context, asked *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	ids := []string{}
	for id, kept := range it.snapshots {
		if (asked.SnapshotId == "" || id == asked.SnapshotId) && (asked.SourceVolumeId == "" || kept.volume == asked.SourceVolumeId) {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	first, _ := strconv.Atoi(asked.StartingToken)
	answer := &csi.ListSnapshotsResponse{}
	for at := first; at < len(ids); at++ {
		if asked.MaxEntries > 0 && len(answer.Entries) == int(asked.MaxEntries) {
			answer.NextToken = strconv.Itoa(at)
			break
		}
		answer.Entries = append(answer.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: it.snapshots[ids[at]].described()})
	}
	return answer, nil
}
