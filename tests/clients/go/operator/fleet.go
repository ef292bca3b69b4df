package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var groupVersion = schema.GroupVersion{Group: "clients.edgekube.test", Version: "v1"}

// Fleet asks for so many boards; each becomes a ConfigMap, and one Deployment watches over them.
type Fleet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              FleetSpec   `json:"spec"`
	Status            FleetStatus `json:"status,omitempty"`
}

type FleetSpec struct {
	Boards int32  `json:"boards"`
	Image  string `json:"image,omitempty"`
}

type FleetStatus struct {
	Boards             int32              `json:"boards"`
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

type FleetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Fleet `json:"items"`
}

func (fleet *Fleet) DeepCopyObject() runtime.Object {
	made := *fleet
	fleet.ObjectMeta.DeepCopyInto(&made.ObjectMeta)
	made.Status.Conditions = append([]metav1.Condition(nil), fleet.Status.Conditions...)
	return &made
}

func (list *FleetList) DeepCopyObject() runtime.Object {
	made := *list
	made.Items = nil
	for index := range list.Items {
		made.Items = append(made.Items, *list.Items[index].DeepCopyObject().(*Fleet))
	}
	return &made
}

func addTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(groupVersion, &Fleet{}, &FleetList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	return nil
}
