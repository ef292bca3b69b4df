// One dialogue with client-go: each step prints a line, or the program ends with what was wrong.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

type dialogue struct {
	ctx       context.Context
	config    *rest.Config
	namespace string
	// One client that writes protobuf and would rather read it, one that speaks JSON.
	protobuf, json *kubernetes.Clientset
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func holds(true bool, what string, values ...any) {
	if !true {
		panic(fmt.Sprintf(what, values...))
	}
}

func (d *dialogue) discovery() {
	version, err := d.json.Discovery().ServerVersion()
	must(err)
	holds(version.Major == "1" && version.Minor == "36", "version %v", version)
	groups, lists, err := d.json.Discovery().ServerGroupsAndResources()
	must(err)
	holds(len(groups) > 10, "%d groups", len(groups))
	subresources := []string{}
	for _, list := range lists {
		for _, resource := range list.APIResources {
			if list.GroupVersion == "apps/v1" {
				subresources = append(subresources, resource.Name)
			}
		}
	}
	holds(slices.Contains(subresources, "deployments/scale"), "apps/v1 has %v", subresources)
	preferred, err := d.json.Discovery().ServerPreferredResources()
	must(err)
	holds(len(preferred) > 10, "%d preferred", len(preferred))
	documents, err := d.json.Discovery().OpenAPIV3().Paths()
	must(err)
	holds(documents["apis/apps/v1"] != nil, "no OpenAPI of apps/v1")
}

func (d *dialogue) objects(clients *kubernetes.Clientset, name string) {
	maps := clients.CoreV1().ConfigMaps(d.namespace)
	binary := []byte{0, 1, 254, 255}
	made, err := maps.Create(d.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-", Labels: map[string]string{"by": name}},
		Data:       map[string]string{"a": "1"}, BinaryData: map[string][]byte{"b": binary},
	}, metav1.CreateOptions{})
	must(err)
	holds(len(made.Name) == len(name)+6 && slices.Equal(made.BinaryData["b"], binary), "made %v", made)
	_, err = maps.Create(d.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: made.Name}}, metav1.CreateOptions{})
	holds(apierrors.IsAlreadyExists(err), "a second one: %v", err)
	_, err = maps.Create(d.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "UPPER"}}, metav1.CreateOptions{})
	holds(apierrors.IsInvalid(err), "a bad name: %v", err)

	patched, err := maps.Patch(d.ctx, made.Name, types.MergePatchType, []byte(`{"data":{"c":"3"}}`), metav1.PatchOptions{})
	must(err)
	holds(len(patched.Data) == 2, "patched %v", patched.Data)
	made.Data["a"] = "2"
	_, err = maps.Update(d.ctx, made, metav1.UpdateOptions{})
	holds(apierrors.IsConflict(err), "an old one: %v", err)
	patched.Data["a"] = "2"
	updated, err := maps.Update(d.ctx, patched, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
	must(err)
	holds(updated.ResourceVersion == patched.ResourceVersion && updated.Data["a"] == "2", "a dry run %v", updated)
	current, err := maps.Get(d.ctx, made.Name, metav1.GetOptions{})
	must(err)
	holds(current.Data["a"] == "1", "the dry run was written: %v", current.Data)

	other := types.UID("00000000-0000-0000-0000-000000000000")
	err = maps.Delete(d.ctx, made.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
	holds(apierrors.IsConflict(err), "a precondition: %v", err)
	must(maps.DeleteCollection(d.ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "by=" + name}))
	_, err = maps.Get(d.ctx, made.Name, metav1.GetOptions{})
	holds(apierrors.IsNotFound(err), "deleted: %v", err)
}

func (d *dialogue) apply() {
	maps := d.protobuf.CoreV1().ConfigMaps(d.namespace)
	wanted := coreapply.ConfigMap("applied", d.namespace).WithData(map[string]string{"a": "1"})
	_, err := maps.Apply(d.ctx, wanted, metav1.ApplyOptions{FieldManager: "first"})
	must(err)
	wanted.WithData(map[string]string{"a": "2"})
	_, err = maps.Apply(d.ctx, wanted, metav1.ApplyOptions{FieldManager: "second"})
	holds(apierrors.IsConflict(err), "another manager: %v", err)
	applied, err := maps.Apply(d.ctx, wanted, metav1.ApplyOptions{FieldManager: "second", Force: true})
	must(err)
	holds(applied.Data["a"] == "2", "forced %v", applied.Data)
	extracted, err := coreapply.ExtractConfigMap(applied, "second")
	must(err)
	holds(extracted.Data["a"] == "2", "extracted %v", extracted)
}

func (d *dialogue) kinds() {
	services := d.protobuf.CoreV1().Services(d.namespace)
	service, err := services.Create(d.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}}},
	}, metav1.CreateOptions{})
	must(err)
	holds(service.Spec.ClusterIP != "" && service.Spec.Ports[0].Protocol == corev1.ProtocolTCP, "service %v", service.Spec)
	budgets := d.protobuf.PolicyV1().PodDisruptionBudgets(d.namespace)
	half := intstr.FromString("50%")
	budget, err := budgets.Create(d.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &half},
	}, metav1.CreateOptions{})
	must(err)
	holds(budget.Spec.MinAvailable.StrVal == "50%", "budget %v", budget.Spec)
	secrets := d.protobuf.CoreV1().Secrets(d.namespace)
	secret, err := secrets.Create(d.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "pass"}, StringData: map[string]string{"word": "x"},
	}, metav1.CreateOptions{})
	must(err)
	holds(string(secret.Data["word"]) == "x" && secret.Type == corev1.SecretTypeOpaque, "secret %v", secret)
}

func (d *dialogue) watching() {
	// An informer asks for the list as a watch (sendInitialEvents) and needs its bookmark.
	factory := informers.NewSharedInformerFactoryWithOptions(d.protobuf, 0, informers.WithNamespace(d.namespace))
	informer := factory.Core().V1().ConfigMaps().Informer()
	heard := make(chan string, 100)
	tell := func(kind string) func(any) {
		return func(obj any) {
			if seen, ok := obj.(*corev1.ConfigMap); ok && seen.Name == "watched" {
				heard <- kind + " " + seen.Data["a"]
			}
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: tell("add"), UpdateFunc: func(_, obj any) { tell("update")(obj) }, DeleteFunc: tell("delete"),
	})
	must(err)
	maps := d.json.CoreV1().ConfigMaps(d.namespace)
	_, err = maps.Create(d.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "watched"}, Data: map[string]string{"a": "1"}}, metav1.CreateOptions{})
	must(err)
	factory.Start(d.ctx.Done())
	holds(cache.WaitForCacheSync(d.ctx.Done(), informer.HasSynced), "the informer has not caught up")
	d.next(heard, "add 1")
	_, err = maps.Patch(d.ctx, "watched", types.JSONPatchType, []byte(`[{"op":"replace","path":"/data/a","value":"2"}]`), metav1.PatchOptions{})
	must(err)
	d.next(heard, "update 2")
	must(maps.Delete(d.ctx, "watched", metav1.DeleteOptions{}))
	d.next(heard, "delete 2")

	yes := true
	listed, err := d.protobuf.CoreV1().Namespaces().Watch(d.ctx, metav1.ListOptions{
		SendInitialEvents: &yes, AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
		FieldSelector: "metadata.name=" + d.namespace,
	})
	must(err)
	defer listed.Stop()
	first, second := <-listed.ResultChan(), <-listed.ResultChan()
	holds(first.Type == watch.Added && second.Type == watch.Bookmark, "%v, then %v", first.Type, second.Type)
	mark := second.Object.(*corev1.Namespace)
	holds(mark.Annotations[metav1.InitialEventsAnnotationKey] == "true" && mark.ResourceVersion != "", "the bookmark is %v", mark)
}

func (d *dialogue) next(heard chan string, wanted string) {
	select {
	case got := <-heard:
		holds(got == wanted, "heard %q instead of %q", got, wanted)
	case <-d.ctx.Done():
		panic("nobody said " + wanted)
	}
}

func (d *dialogue) withoutTypes() {
	client, err := dynamic.NewForConfig(d.config)
	must(err)
	accounts := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}).Namespace(d.namespace)
	listed, err := accounts.List(d.ctx, metav1.ListOptions{Limit: 1})
	must(err)
	holds(listed.GetKind() == "ServiceAccountList" && len(listed.Items) == 1, "listed %v", listed.GetKind())
	only, err := metadata.NewForConfig(d.config)
	must(err)
	partial, err := only.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(d.namespace).List(d.ctx, metav1.ListOptions{})
	must(err)
	said, _ := json.Marshal(partial)
	holds(len(partial.Items) == 1 && partial.Items[0].Name == "pass" && !slices.Contains([]string{string(said)}, "word"), "metadata %s", said)
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	binary := rest.CopyConfig(config)
	// As controller-runtime and Kubernetes' own components say it.
	binary.ContentType, binary.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	d := &dialogue{ctx, config, os.Args[1], kubernetes.NewForConfigOrDie(binary), kubernetes.NewForConfigOrDie(config)}
	_, err = d.protobuf.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: d.namespace}}, metav1.CreateOptions{})
	must(err)
	steps := map[string]func(){
		"discovery": d.discovery, "protobuf": func() { d.objects(d.protobuf, "protobuf") }, "json": func() { d.objects(d.json, "json") },
		"apply": d.apply, "kinds": d.kinds, "watching": d.watching, "withoutTypes": d.withoutTypes,
	}
	for _, name := range os.Args[2:] {
		steps[name]()
		fmt.Println(name, "ok")
	}
	must(d.json.CoreV1().Namespaces().Delete(ctx, d.namespace, metav1.DeleteOptions{}))
}
