import com.google.gson.reflect.TypeToken;
import io.kubernetes.client.ProtoClient;
import io.kubernetes.client.custom.V1Patch;
import io.kubernetes.client.informer.ResourceEventHandler;
import io.kubernetes.client.informer.SharedIndexInformer;
import io.kubernetes.client.informer.SharedInformerFactory;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1ConfigMap;
import io.kubernetes.client.openapi.models.V1ConfigMapList;
import io.kubernetes.client.openapi.models.V1Namespace;
import io.kubernetes.client.openapi.models.V1ObjectMeta;
import io.kubernetes.client.proto.Meta;
import io.kubernetes.client.proto.V1;
import io.kubernetes.client.util.ClientBuilder;
import io.kubernetes.client.util.KubeConfig;
import io.kubernetes.client.util.PatchUtils;
import io.kubernetes.client.util.Watch;
import io.kubernetes.client.util.generic.GenericKubernetesApi;
import java.io.FileReader;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** What a program on the official Java client does, each part in a namespace of its own. Enters: namespace, part. */
class Official {
  private final ApiClient client;
  private final CoreV1Api core;
  private final String namespace;

  Official(ApiClient client, String namespace) {
    this.client = client;
    this.core = new CoreV1Api(client);
    this.namespace = namespace;
  }

  public static void main(String[] arguments) throws Exception {
    ApiClient client = ClientBuilder.kubeconfig(KubeConfig.loadKubeConfig(new FileReader(System.getenv("KUBECONFIG")))).build();
    client.setReadTimeout(0);
    Official dialogue = new Official(client, arguments[0]);
    dialogue.core.createNamespace(new V1Namespace().metadata(new V1ObjectMeta().name(arguments[0]))).execute();
    switch (arguments[1]) {
      case "objects" -> dialogue.objects();
      case "watching" -> dialogue.watching();
      case "protobuf" -> dialogue.protobuf();
      default -> throw new IllegalArgumentException(arguments[1]);
    }
    dialogue.core.deleteNamespace(arguments[0]).execute();
    System.out.println(arguments[1] + " ok");
    System.exit(0); // the client's threads stay
  }

  private void objects() throws Exception {
    core.createNamespacedConfigMap(namespace, map("a")).execute();
    Expect.equal(Map.of("k", "v", "z", "1"), patched("a", "{\"data\":{\"z\":\"1\"}}", V1Patch.PATCH_FORMAT_STRATEGIC_MERGE_PATCH));
    Expect.equal(Map.of("k", "v", "z", "2"), patched("a", "[{\"op\":\"replace\",\"path\":\"/data/z\",\"value\":\"2\"}]", V1Patch.PATCH_FORMAT_JSON_PATCH));
    String applied = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"s\"},\"data\":{\"z\":\"1\"}}";
    Expect.equal(Map.of("z", "1"), patched("s", applied, V1Patch.PATCH_FORMAT_APPLY_YAML));
    Expect.equal(1, core.listNamespacedConfigMap(namespace).fieldSelector("metadata.name=a").execute().getItems().size());
    try {
      core.readNamespacedConfigMap("nobody", namespace).execute();
      throw new AssertionError("nobody is there");
    } catch (ApiException missing) {
      Expect.equal(404, missing.getCode());
    }
  }

  private Map<String, String> patched(String name, String patch, String format) throws ApiException {
    return PatchUtils.patch(
            V1ConfigMap.class,
            () -> {
              var asked = core.patchNamespacedConfigMap(name, namespace, new V1Patch(patch));
              return (format.equals(V1Patch.PATCH_FORMAT_APPLY_YAML) ? asked.fieldManager("java").force(true) : asked).buildCall(null);
            },
            format,
            client)
        .getData();
  }

  private void watching() throws Exception {
    BlockingQueue<String> seen = new LinkedBlockingQueue<>();
    SharedInformerFactory factory = new SharedInformerFactory(client);
    SharedIndexInformer<V1ConfigMap> informer = factory.sharedIndexInformerFor(
        new GenericKubernetesApi<>(V1ConfigMap.class, V1ConfigMapList.class, "", "v1", "configmaps", client), V1ConfigMap.class, 0, namespace);
    informer.addEventHandler(new ResourceEventHandler<V1ConfigMap>() {
      public void onAdd(V1ConfigMap added) {
        note("added ", added);
      }

      public void onUpdate(V1ConfigMap before, V1ConfigMap now) {
        note("updated ", now);
      }

      public void onDelete(V1ConfigMap deleted, boolean stateUnknown) {
        note("deleted ", deleted);
      }

      private void note(String what, V1ConfigMap map) {
        if (map.getMetadata().getName().equals("a")) {
          seen.add(what + "a");
        }
      }
    });
    core.createNamespacedConfigMap(namespace, map("a")).execute();
    factory.startAllRegisteredInformers();
    Expect.equal("added a", seen.poll(60, TimeUnit.SECONDS));
    core.deleteNamespacedConfigMap("a", namespace).execute();
    Expect.equal("deleted a", seen.poll(60, TimeUnit.SECONDS));
    factory.stopAllRegisteredInformers();

    core.createNamespacedConfigMap(namespace, map("b")).execute();
    var call = core.listNamespacedConfigMap(namespace).fieldSelector("metadata.name=b").watch(true).timeoutSeconds(1).buildCall(null);
    try (Watch<V1ConfigMap> watch = Watch.createWatch(client, call, new TypeToken<Watch.Response<V1ConfigMap>>() {}.getType())) {
      Expect.equal("ADDED", watch.next().type);
      Expect.equal(false, watch.hasNext());
    }
  }

  private void protobuf() throws Exception {
    ProtoClient speaking = new ProtoClient(client);
    V1.ConfigMap map = V1.ConfigMap.newBuilder().setMetadata(Meta.ObjectMeta.newBuilder().setName("p")).putData("k", "v").build();
    String path = "/api/v1/namespaces/" + namespace + "/configmaps";
    Expect.equal("v", speaking.create(map, path, "v1", "ConfigMap").object.getDataOrThrow("k"));
    ProtoClient.ObjectOrStatus<V1.ConfigMap> read = speaking.get(V1.ConfigMap.newBuilder(), path + "/p");
    Expect.equal("p", read.object.getMetadata().getName());
    Expect.equal(404, speaking.get(V1.ConfigMap.newBuilder(), path + "/nobody").status.getCode());
  }

  private static V1ConfigMap map(String name) {
    return new V1ConfigMap().metadata(new V1ObjectMeta().name(name)).putDataItem("k", "v");
  }
}
