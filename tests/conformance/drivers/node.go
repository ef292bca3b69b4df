package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (it *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	answer := &csi.NodeGetInfoResponse{NodeId: it.node(), MaxVolumesPerNode: it.limit()}
	if it.on("enable-topology", true) {
		answer.AccessibleTopology = it.topology()
	}
	return answer, nil
}

func (it *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	kinds := []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	}
	if it.on("enable-volume-expansion", true) && !it.on("disable-node-expansion", false) {
		kinds = append(kinds, csi.NodeServiceCapability_RPC_EXPAND_VOLUME)
	}
	answer := &csi.NodeGetCapabilitiesResponse{}
	for _, kind := range kinds {
		answer.Capabilities = append(answer.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: kind}},
		})
	}
	return answer, nil
}

func (it *driver) NodeStageVolume(_ context.Context, asked *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	found, err := it.find(asked.VolumeId)
	if err != nil {
		return nil, err
	}
	if it.on("enable-attach", false) && found.node == "" {
		return nil, status.Errorf(codes.Internal, "ControllerPublishVolume must be called on volume '%s' before staging on node", found.id)
	}
	found.staged[asked.StagingTargetPath] = true
	return &csi.NodeStageVolumeResponse{}, nil
}

func (it *driver) NodeUnstageVolume(_ context.Context, asked *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if found, is := it.volumes[asked.VolumeId]; is {
		if len(found.published) > 0 && it.on("check-volume-lifecycle", false) {
			return nil, status.Errorf(codes.Internal, "volume '%s' is still published", found.id)
		}
		delete(found.staged, asked.StagingTargetPath)
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (it *driver) NodePublishVolume(_ context.Context, asked *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	found, err := it.find(asked.VolumeId)
	if asked.VolumeContext[ephemeralKey] == "true" {
		if asked.VolumeCapability.GetBlock() != nil {
			return nil, status.Error(codes.InvalidArgument, "cannot have block ephemeral volumes")
		}
		if err != nil {
			found, err = it.fresh(asked.VolumeId, "ephemeral-"+asked.VolumeId, 0, false), nil
			found.ephemeral = true
			err = it.lay(found, "")
		}
	} else if err == nil && it.on("check-volume-lifecycle", false) && len(found.staged) == 0 {
		err = status.Errorf(codes.Internal, "volume '%s' must be staged before publishing", found.id)
	}
	if err != nil {
		return nil, err
	}
	if single := asked.VolumeCapability.GetAccessMode().GetMode(); single == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER &&
		len(found.published) > 0 && !found.published[asked.TargetPath] {
		return nil, status.Error(codes.FailedPrecondition, "volume is already published at another path")
	}
	if found.published[asked.TargetPath] {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := it.mount(found, asked); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	found.published[asked.TargetPath] = true
	return &csi.NodePublishVolumeResponse{}, nil
}

func (it *driver) mount(found *volume, asked *csi.NodePublishVolumeRequest) error {
	source, target := it.path(found.id), asked.TargetPath
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	if found.block {
		device, err := loop(source)
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, nil, 0o640); err != nil {
			return err
		}
		return unix.Mount(device, target, "", unix.MS_BIND, "")
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if asked.Readonly {
		return unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	return nil
}

// loop: the device that shows the file, the same one each time.
func loop(file string) (string, error) {
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, each := range backing {
		if text, err := os.ReadFile(each); err == nil && strings.HasSuffix(strings.TrimSpace(string(text)), filepath.Base(file)) {
			return "/dev/" + strings.Split(each, "/")[3], nil
		}
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("/dev/loop%d", number)
	if err := unix.Mknod(name, unix.S_IFBLK|0o660, int(unix.Mkdev(7, uint32(number)))); err != nil && !errors.Is(err, unix.EEXIST) {
		return "", err
	}
	device, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer device.Close()
	image, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer image.Close()
	return name, unix.IoctlSetInt(int(device.Fd()), unix.LOOP_SET_FD, int(image.Fd()))
}

func unloop(file string) {
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, each := range backing {
		text, _ := os.ReadFile(each)
		if !strings.Contains(string(text), filepath.Base(file)) {
			continue
		}
		if device, err := os.OpenFile("/dev/"+strings.Split(each, "/")[3], os.O_RDWR, 0); err == nil {
			unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0)
			device.Close()
		}
	}
}

func (it *driver) NodeUnpublishVolume(_ context.Context, asked *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	found, is := it.volumes[asked.VolumeId]
	if !is || !found.published[asked.TargetPath] {
		return &csi.NodeUnpublishVolumeResponse{}, nil
	}
	if err := unix.Unmount(asked.TargetPath, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if err := os.RemoveAll(asked.TargetPath); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	delete(found.published, asked.TargetPath)
	if found.block && len(found.published) == 0 {
		unloop(it.path(found.id))
	}
	if found.ephemeral {
		return &csi.NodeUnpublishVolumeResponse{}, it.forget(found.id)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (it *driver) NodeGetVolumeStats(_ context.Context, asked *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	found, err := it.find(asked.VolumeId)
	if err != nil {
		return nil, err
	}
	if found.block {
		return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: found.bytes}}}, nil
	}
	var room unix.Statfs_t
	if err := unix.Statfs(asked.VolumePath, &room); err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	size := room.Bsize
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{
			Unit: csi.VolumeUsage_BYTES, Available: int64(room.Bavail) * size, Total: int64(room.Blocks) * size,
			Used: int64(room.Blocks-room.Bfree) * size,
		},
		{Unit: csi.VolumeUsage_INODES, Available: int64(room.Ffree), Total: int64(room.Files), Used: int64(room.Files - room.Ffree)},
	}}, nil
}

func (it *driver) NodeExpandVolume(_ context.Context, asked *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	found, err := it.find(asked.VolumeId)
	if err != nil {
		return nil, err
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: found.bytes}, nil
}
