"""How Go's types are named where a refusal to decode names them: what the published schemas do not tell.

Enters: a definition and a field of it.
Leaves: the structs that the field is embedded by, as a path, and the name of its type.
Holds: what is not here is as api.strict derives it from the schema. Loaded when a value of a wrong type is met, and not before.
Source: the types of k8s.io/api, apimachinery and apiextensions-apiserver v0.36.2; encoding/json (UnmarshalTypeError).
Next: api.strict.
"""

from __future__ import annotations

from typing import Final

#: Structs that are written as if their fields were the outer one's. ``*``: all fields but those that are named after it.
_EMBEDDED: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "admissionregistration.v1.NamedRuleWithOperations": (
        ("RuleWithOperations.Rule", "apiGroups apiVersions resources scope"),
        ("RuleWithOperations", "operations"),
    ),
    "admissionregistration.v1.RuleWithOperations": (("Rule", "apiGroups apiVersions resources scope"),),
    "core.v1.ConfigMapEnvSource": (("LocalObjectReference", "name"),),
    "core.v1.ConfigMapKeySelector": (("LocalObjectReference", "name"),),
    "core.v1.ConfigMapProjection": (("LocalObjectReference", "name"),),
    "core.v1.ConfigMapVolumeSource": (("LocalObjectReference", "name"),),
    "core.v1.EphemeralContainer": (("EphemeralContainerCommon", "* targetContainerName"),),
    "core.v1.PersistentVolumeSpec": (
        ("PersistentVolumeSource",
         "* accessModes capacity claimRef mountOptions nodeAffinity persistentVolumeReclaimPolicy "
         "storageClassName volumeAttributesClassName volumeMode"),
    ),
    "core.v1.Probe": (("ProbeHandler", "exec grpc httpGet tcpSocket"),),
    "core.v1.SecretEnvSource": (("LocalObjectReference", "name"),),
    "core.v1.SecretKeySelector": (("LocalObjectReference", "name"),),
    "core.v1.SecretProjection": (("LocalObjectReference", "name"),),
    "core.v1.Volume": (("VolumeSource", "* name"),),
    "networking.v1.IngressRule": (("IngressRuleValue", "http"),),
    "resource.v1.DeviceAllocationConfiguration": (("DeviceConfiguration", "opaque"),),
    "resource.v1.DeviceClaimConfiguration": (("DeviceConfiguration", "opaque"),),
    "resource.v1.DeviceClassConfiguration": (("DeviceConfiguration", "opaque"),),
}  # fmt: skip

#: Definition -> ``field:type``. A type without a package is of the definition's own.
_NAMED: Final[dict[str, str]] = {
    "admissionregistration.v1.MatchResources": "matchPolicy:MatchPolicyType",
    "admissionregistration.v1.MutatingAdmissionPolicySpec":
        "failurePolicy:FailurePolicyType reinvocationPolicy:ReinvocationPolicyType",
    "admissionregistration.v1.MutatingWebhook":
        "failurePolicy:FailurePolicyType matchPolicy:MatchPolicyType reinvocationPolicy:ReinvocationPolicyType "
        "sideEffects:SideEffectClass",
    "admissionregistration.v1.Mutation": "patchType:PatchType",
    "admissionregistration.v1.NamedRuleWithOperations": "operations:[]OperationType scope:ScopeType",
    "admissionregistration.v1.ParamRef": "parameterNotFoundAction:ParameterNotFoundActionType",
    "admissionregistration.v1.RuleWithOperations": "operations:[]OperationType scope:ScopeType",
    "admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec": "validationActions:[]ValidationAction",
    "admissionregistration.v1.ValidatingAdmissionPolicySpec": "failurePolicy:FailurePolicyType",
    "admissionregistration.v1.ValidatingWebhook":
        "failurePolicy:FailurePolicyType matchPolicy:MatchPolicyType sideEffects:SideEffectClass",
    "admissionregistration.v1.Validation": "reason:StatusReason",
    "apps.v1.DaemonSetCondition": "status:ConditionStatus type:DaemonSetConditionType",
    "apps.v1.DaemonSetUpdateStrategy": "type:DaemonSetUpdateStrategyType",
    "apps.v1.DeploymentCondition": "status:ConditionStatus type:DeploymentConditionType",
    "apps.v1.DeploymentStrategy": "type:DeploymentStrategyType",
    "apps.v1.ReplicaSetCondition": "status:ConditionStatus type:ReplicaSetConditionType",
    "apps.v1.StatefulSetCondition": "status:ConditionStatus type:StatefulSetConditionType",
    "apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy":
        "whenDeleted:PersistentVolumeClaimRetentionPolicyType whenScaled:PersistentVolumeClaimRetentionPolicyType",
    "apps.v1.StatefulSetSpec": "podManagementPolicy:PodManagementPolicyType",
    "apps.v1.StatefulSetUpdateStrategy": "type:StatefulSetUpdateStrategyType",
    "authentication.v1.BoundObjectReference": "uid:types.UID",
    "authentication.v1.UserInfo": "extra:map[string]v1.ExtraValue",
    "authorization.v1.SubjectAccessReviewSpec": "extra:map[string]v1.ExtraValue",
    "autoscaling.v2.ContainerResourceMetricSource": "name:v1.ResourceName",
    "autoscaling.v2.ContainerResourceMetricStatus": "name:v1.ResourceName",
    "autoscaling.v2.HPAScalingPolicy": "type:HPAScalingPolicyType",
    "autoscaling.v2.HPAScalingRules": "selectPolicy:ScalingPolicySelect",
    "autoscaling.v2.HorizontalPodAutoscalerCondition": "status:v1.ConditionStatus type:HorizontalPodAutoscalerConditionType",
    "autoscaling.v2.MetricSpec": "type:MetricSourceType",
    "autoscaling.v2.MetricStatus": "type:MetricSourceType",
    "autoscaling.v2.MetricTarget": "type:MetricTargetType",
    "autoscaling.v2.ResourceMetricSource": "name:v1.ResourceName",
    "autoscaling.v2.ResourceMetricStatus": "name:v1.ResourceName",
    "batch.v1.CronJobSpec": "concurrencyPolicy:ConcurrencyPolicy",
    "batch.v1.JobCondition": "status:ConditionStatus type:JobConditionType",
    "batch.v1.JobSpec": "completionMode:CompletionMode podReplacementPolicy:PodReplacementPolicy",
    "batch.v1.PodFailurePolicyOnExitCodesRequirement": "operator:PodFailurePolicyOnExitCodesOperator",
    "batch.v1.PodFailurePolicyOnPodConditionsPattern": "status:ConditionStatus type:PodConditionType",
    "batch.v1.PodFailurePolicyRule": "action:PodFailurePolicyAction",
    "batch.v1.UncountedTerminatedPods": "failed:[]types.UID succeeded:[]types.UID",
    "certificates.v1.CertificateSigningRequestCondition": "status:ConditionStatus type:RequestConditionType",
    "certificates.v1.CertificateSigningRequestSpec": "extra:map[string]v1.ExtraValue usages:[]KeyUsage",
    "coordination.v1.LeaseSpec": "strategy:CoordinatedLeaseStrategy",
    "core.v1.AppArmorProfile": "type:AppArmorProfileType",
    "core.v1.AttachedVolume": "name:UniqueVolumeName",
    "core.v1.AzureDiskVolumeSource": "cachingMode:AzureDataDiskCachingMode kind:AzureDataDiskKind",
    "core.v1.Capabilities": "add:[]Capability drop:[]Capability",
    "core.v1.ComponentCondition": "status:ConditionStatus type:ComponentConditionType",
    "core.v1.ConfigMapNodeConfigSource": "uid:types.UID",
    "core.v1.Container":
        "imagePullPolicy:PullPolicy restartPolicy:ContainerRestartPolicy "
        "terminationMessagePolicy:TerminationMessagePolicy",
    "core.v1.ContainerPort": "protocol:Protocol",
    "core.v1.ContainerResizePolicy": "resourceName:ResourceName restartPolicy:ResourceResizeRestartPolicy",
    "core.v1.ContainerRestartRule": "action:ContainerRestartRuleAction",
    "core.v1.ContainerRestartRuleOnExitCodes": "operator:ContainerRestartRuleOnExitCodesOperator",
    "core.v1.ContainerStatus": "allocatedResources:ResourceList stopSignal:Signal",
    "core.v1.EmptyDirVolumeSource": "medium:StorageMedium",
    "core.v1.EndpointPort": "protocol:Protocol",
    "core.v1.EphemeralContainer":
        "imagePullPolicy:PullPolicy restartPolicy:ContainerRestartPolicy "
        "terminationMessagePolicy:TerminationMessagePolicy",
    "core.v1.HTTPGetAction": "scheme:URIScheme",
    "core.v1.HostPathVolumeSource": "type:HostPathType",
    "core.v1.ImageVolumeSource": "pullPolicy:PullPolicy",
    "core.v1.Lifecycle": "stopSignal:Signal",
    "core.v1.LimitRangeItem":
        "default:ResourceList defaultRequest:ResourceList max:ResourceList maxLimitRequestRatio:ResourceList "
        "min:ResourceList type:LimitType",
    "core.v1.LoadBalancerIngress": "ipMode:LoadBalancerIPMode",
    "core.v1.ModifyVolumeStatus": "status:PersistentVolumeClaimModifyVolumeStatus",
    "core.v1.NamespaceCondition": "status:ConditionStatus type:NamespaceConditionType",
    "core.v1.NamespaceSpec": "finalizers:[]FinalizerName",
    "core.v1.NamespaceStatus": "phase:NamespacePhase",
    "core.v1.NodeAddress": "type:NodeAddressType",
    "core.v1.NodeAllocatableResourceClaimStatus": "resources:map[v1.ResourceName]resource.Quantity",
    "core.v1.NodeCondition": "status:ConditionStatus type:NodeConditionType",
    "core.v1.NodeSelectorRequirement": "operator:NodeSelectorOperator",
    "core.v1.NodeStatus": "allocatable:ResourceList capacity:ResourceList phase:NodePhase volumesInUse:[]UniqueVolumeName",
    "core.v1.ObjectReference": "uid:types.UID",
    "core.v1.PersistentVolumeClaimCondition": "status:ConditionStatus type:PersistentVolumeClaimConditionType",
    "core.v1.PersistentVolumeClaimSpec": "accessModes:[]PersistentVolumeAccessMode volumeMode:PersistentVolumeMode",
    "core.v1.PersistentVolumeClaimStatus":
        "accessModes:[]PersistentVolumeAccessMode allocatedResourceStatuses:map[v1.ResourceName]v1.ClaimResourceStatus "
        "allocatedResources:ResourceList capacity:ResourceList phase:PersistentVolumeClaimPhase",
    "core.v1.PersistentVolumeSpec":
        "accessModes:[]PersistentVolumeAccessMode capacity:ResourceList "
        "persistentVolumeReclaimPolicy:PersistentVolumeReclaimPolicy volumeMode:PersistentVolumeMode",
    "core.v1.PersistentVolumeStatus": "phase:PersistentVolumePhase",
    "core.v1.PodCondition": "status:ConditionStatus type:PodConditionType",
    "core.v1.PodOS": "name:OSName",
    "core.v1.PodReadinessGate": "conditionType:PodConditionType",
    "core.v1.PodSecurityContext":
        "fsGroupChangePolicy:PodFSGroupChangePolicy seLinuxChangePolicy:PodSELinuxChangePolicy "
        "supplementalGroupsPolicy:SupplementalGroupsPolicy",
    "core.v1.PodSpec":
        "dnsPolicy:DNSPolicy overhead:ResourceList preemptionPolicy:PreemptionPolicy restartPolicy:RestartPolicy",
    "core.v1.PodStatus": "allocatedResources:ResourceList phase:PodPhase qosClass:PodQOSClass resize:PodResizeStatus",
    "core.v1.PortStatus": "protocol:Protocol",
    "core.v1.ReplicationControllerCondition": "status:ConditionStatus type:ReplicationControllerConditionType",
    "core.v1.ResourceHealth": "health:ResourceHealthStatus resourceID:ResourceID",
    "core.v1.ResourceQuotaSpec": "hard:ResourceList scopes:[]ResourceQuotaScope",
    "core.v1.ResourceQuotaStatus": "hard:ResourceList used:ResourceList",
    "core.v1.ResourceRequirements": "limits:ResourceList requests:ResourceList",
    "core.v1.ResourceStatus": "name:ResourceName",
    "core.v1.ScopedResourceSelectorRequirement": "operator:ScopeSelectorOperator scopeName:ResourceQuotaScope",
    "core.v1.SeccompProfile": "type:SeccompProfileType",
    "core.v1.Secret": "type:SecretType",
    "core.v1.SecurityContext": "procMount:ProcMountType",
    "core.v1.ServicePort": "protocol:Protocol",
    "core.v1.ServiceSpec":
        "externalTrafficPolicy:ServiceExternalTrafficPolicy internalTrafficPolicy:ServiceInternalTrafficPolicy "
        "ipFamilies:[]IPFamily ipFamilyPolicy:IPFamilyPolicy sessionAffinity:ServiceAffinity type:ServiceType",
    "core.v1.Taint": "effect:TaintEffect",
    "core.v1.Toleration": "effect:TaintEffect operator:TolerationOperator",
    "core.v1.TopologySpreadConstraint":
        "nodeAffinityPolicy:NodeInclusionPolicy nodeTaintsPolicy:NodeInclusionPolicy "
        "whenUnsatisfiable:UnsatisfiableConstraintAction",
    "core.v1.VolumeMount": "mountPropagation:MountPropagationMode recursiveReadOnly:RecursiveReadOnlyMode",
    "core.v1.VolumeMountStatus": "recursiveReadOnly:RecursiveReadOnlyMode",
    "core.v1.VolumeResourceRequirements": "limits:ResourceList requests:ResourceList",
    "discovery.v1.EndpointPort": "protocol:Protocol",
    "discovery.v1.EndpointSlice": "addressType:AddressType",
    "flowcontrol.v1.FlowDistinguisherMethod": "type:FlowDistinguisherMethodType",
    "flowcontrol.v1.FlowSchemaCondition": "status:ConditionStatus type:FlowSchemaConditionType",
    "flowcontrol.v1.LimitResponse": "type:LimitResponseType",
    "flowcontrol.v1.PriorityLevelConfigurationCondition": "status:ConditionStatus type:PriorityLevelConfigurationConditionType",
    "flowcontrol.v1.PriorityLevelConfigurationSpec": "type:PriorityLevelEnablement",
    "flowcontrol.v1.Subject": "kind:SubjectKind",
    "networking.v1.HTTPIngressPath": "pathType:PathType",
    "networking.v1.IngressPortStatus": "protocol:Protocol",
    "networking.v1.NetworkPolicyPort": "protocol:Protocol",
    "networking.v1.NetworkPolicySpec": "policyTypes:[]PolicyType",
    "node.v1.Overhead": "podFixed:ResourceList",
    "policy.v1.PodDisruptionBudgetSpec": "unhealthyPodEvictionPolicy:UnhealthyPodEvictionPolicyType",
    "resource.v1.CapacityRequirements": "requests:map[v1.QualifiedName]resource.Quantity",
    "resource.v1.Device":
        "attributes:map[v1.QualifiedName]v1.DeviceAttribute capacity:map[v1.QualifiedName]v1.DeviceCapacity "
        "nodeAllocatableResourceMappings:map[v1.ResourceName]v1.NodeAllocatableResourceMapping",
    "resource.v1.DeviceAllocationConfiguration": "source:AllocationConfigSource",
    "resource.v1.DeviceConstraint": "distinctAttribute:FullyQualifiedName matchAttribute:FullyQualifiedName",
    "resource.v1.DeviceRequestAllocationResult": "consumedCapacity:map[v1.QualifiedName]resource.Quantity shareID:types.UID",
    "resource.v1.DeviceSubRequest": "allocationMode:DeviceAllocationMode",
    "resource.v1.DeviceTaint": "effect:DeviceTaintEffect",
    "resource.v1.DeviceToleration": "effect:DeviceTaintEffect operator:DeviceTolerationOperator",
    "resource.v1.ExactDeviceRequest": "allocationMode:DeviceAllocationMode",
    "resource.v1.NodeAllocatableResourceMapping": "capacityKey:QualifiedName",
    "resource.v1.ResourceClaimConsumerReference": "uid:types.UID",
    "scheduling.v1.PriorityClass": "preemptionPolicy:PreemptionPolicy",
    "storage.v1.CSIDriverSpec": "fsGroupPolicy:FSGroupPolicy volumeLifecycleModes:[]VolumeLifecycleMode",
    "storage.v1.StorageClass": "reclaimPolicy:PersistentVolumeReclaimPolicy volumeBindingMode:VolumeBindingMode",
    "apiextensions.v1.CustomResourceConversion": "strategy:ConversionStrategyType",
    "apiextensions.v1.CustomResourceDefinitionCondition": "status:ConditionStatus type:CustomResourceDefinitionConditionType",
    "apiextensions.v1.CustomResourceDefinitionSpec": "scope:ResourceScope",
    "apiextensions.v1.JSONSchemaProps":
        "$schema:JSONSchemaURL definitions:JSONSchemaDefinitions dependencies:JSONSchemaDependencies "
        "x-kubernetes-validations:ValidationRules",
    "apiextensions.v1.ValidationRule": "reason:FieldValueErrorReason",
    "meta.v1.APIResource": "verbs:Verbs",
    "meta.v1.Condition": "status:ConditionStatus",
    "meta.v1.DeleteOptions": "propagationPolicy:DeletionPropagation",
    "meta.v1.FieldSelectorRequirement": "operator:FieldSelectorOperator",
    "meta.v1.LabelSelectorRequirement": "operator:LabelSelectorOperator",
    "meta.v1.ManagedFieldsEntry": "operation:ManagedFieldsOperationType",
    "meta.v1.ObjectMeta": "uid:types.UID",
    "meta.v1.OwnerReference": "uid:types.UID",
    "meta.v1.Preconditions": "uid:types.UID",
    "meta.v1.Status": "reason:StatusReason",
    "meta.v1.StatusCause": "reason:CauseType",
    "meta.v1.StatusDetails": "uid:types.UID",
    "apiregistration.v1.APIServiceCondition": "status:ConditionStatus type:APIServiceConditionType",
}  # fmt: skip


def embedding(definition: str, field: str) -> str:
    """``VolumeSource.`` of a volume's configMap; "" for most fields."""
    for path, fields in _EMBEDDED.get(_short(definition), ()):
        names = fields.split()
        if (field in names) != (names[0] == "*"):
            return f"{path}."
    return ""


def named(definition: str, field: str) -> str:
    """``v1.RestartPolicy`` of a pod's restartPolicy; "" where the type is as the schema has it."""
    short = _short(definition)
    for word in _NAMED.get(short, "").split():
        name, _, go_type = word.partition(":")
        if name == field:
            listed, bare = go_type.startswith("[]"), go_type.removeprefix("[]")
            whole = bare if "." in bare or "[" in bare else f"{short.split('.')[1]}.{bare}"
            return f"[]{whole}" if listed else whole
    return ""


def as_named(definition: str, field: str, whole: str, wanted: str) -> str:
    """``wanted``, met in a field of type ``whole``, as the field's own type has it: both are opened as far as that."""
    name = named(definition, field)
    while name and whole and whole != wanted:
        name, whole = _held(name), _held(whole)
    return name or wanted


def _held(go_type: str) -> str:
    """The type of what a list or a map holds; "" of others."""
    if go_type.startswith("[]"):
        return go_type.removeprefix("[]")
    return go_type.partition("]")[2] if go_type.startswith("map[") else ""


def _short(definition: str) -> str:
    """``core.v1.Volume`` of ``io.k8s.api.core.v1.Volume``."""
    return ".".join(definition.rsplit(".", 3)[-3:])
