// An operator as people write them: controller-runtime, informers, a finalizer, leader election, all with its defaults.
//
// It speaks protobuf about built-in kinds and JSON about its own, as controller-runtime chooses by itself.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const finalizer = "clients.edgekube.test/boards"

type reconciler struct {
	client.Client
	events events.EventRecorder
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	fleet := &Fleet{}
	if err := r.Get(ctx, request.NamespacedName, fleet); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !fleet.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.farewell(ctx, fleet)
	}
	if controllerutil.AddFinalizer(fleet, finalizer) {
		return ctrl.Result{}, r.Update(ctx, fleet)
	}
	for number := range fleet.Spec.Boards {
		board := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: fleet.Namespace, Name: fmt.Sprintf("%s-%d", fleet.Name, number)}}
		result, err := controllerutil.CreateOrUpdate(ctx, r.Client, board, func() error {
			board.Labels = map[string]string{"fleet": fleet.Name}
			board.Data = map[string]string{"number": fmt.Sprint(number)}
			return controllerutil.SetControllerReference(fleet, board, r.Scheme())
		})
		if err != nil {
			return ctrl.Result{}, err
		}
		if result == controllerutil.OperationResultCreated {
			r.events.Eventf(fleet, board, corev1.EventTypeNormal, "BoardMade", "Make", "made board %s", board.Name)
		}
	}
	boards := &corev1.ConfigMapList{}
	if err := r.List(ctx, boards, client.InNamespace(fleet.Namespace), client.MatchingLabels{"fleet": fleet.Name}); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.watcher(ctx, fleet); err != nil {
		return ctrl.Result{}, err
	}
	fleet.Status.Boards = int32(len(boards.Items))
	fleet.Status.ObservedGeneration = fleet.Generation
	meta.SetStatusCondition(&fleet.Status.Conditions, metav1.Condition{
		Type: "Ready", Status: metav1.ConditionTrue, Reason: "Made", Message: "all boards are made", ObservedGeneration: fleet.Generation,
	})
	return ctrl.Result{}, r.Status().Update(ctx, fleet)
}

// watcher keeps a Deployment by server-side apply: fields that others set stay theirs.
func (r *reconciler) watcher(ctx context.Context, fleet *Fleet) error {
	labels := map[string]string{"fleet": fleet.Name}
	container := coreapply.Container().WithName("watch").WithImage(fleet.Spec.Image)
	wanted := appsapply.Deployment(fleet.Name, fleet.Namespace).
		WithOwnerReferences(metaapply.OwnerReference().WithAPIVersion(groupVersion.String()).WithKind("Fleet").
			WithName(fleet.Name).WithUID(fleet.UID).WithController(true).WithBlockOwnerDeletion(true)).
		WithSpec(appsapply.DeploymentSpec().
			WithSelector(metaapply.LabelSelector().WithMatchLabels(labels)).
			WithTemplate(coreapply.PodTemplateSpec().WithLabels(labels).WithSpec(coreapply.PodSpec().WithContainers(container))))
	return r.Apply(ctx, wanted, client.FieldOwner("fleets"), client.ForceOwnership)
}

// farewell leaves a word behind before the object may go.
func (r *reconciler) farewell(ctx context.Context, fleet *Fleet) error {
	if !controllerutil.ContainsFinalizer(fleet, finalizer) {
		return nil
	}
	word := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: fleet.Namespace, Name: fleet.Name + "-farewell"}}
	if err := client.IgnoreAlreadyExists(r.Create(ctx, word)); err != nil {
		return err
	}
	patch := client.MergeFromWithOptions(fleet.DeepCopyObject().(client.Object), client.MergeFromWithOptimisticLock{})
	controllerutil.RemoveFinalizer(fleet, finalizer)
	return r.Patch(ctx, fleet, patch)
}

func run() error {
	namespace := flag.String("namespace", "", "the namespace of fleets")
	identity := flag.Bool("leader-elect", true, "wait to be the leader")
	flag.Parse()
	log.SetLogger(zap.New())
	known := runtime.NewScheme()
	if err := scheme.AddToScheme(known); err != nil {
		return err
	}
	if err := addTypes(known); err != nil {
		return err
	}
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme: known, Metrics: server.Options{BindAddress: "0"},
		Cache:          cache.Options{DefaultNamespaces: map[string]cache.Config{*namespace: {}}},
		LeaderElection: *identity, LeaderElectionID: "fleets", LeaderElectionNamespace: *namespace, LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return err
	}
	fleets := &reconciler{manager.GetClient(), manager.GetEventRecorder("fleets")}
	err = ctrl.NewControllerManagedBy(manager).For(&Fleet{}).Owns(&corev1.ConfigMap{}).Owns(&appsv1.Deployment{}).Complete(fleets)
	if err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
