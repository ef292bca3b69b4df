import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ConfigMapBuilder;
import io.fabric8.kubernetes.api.model.NamespaceBuilder;
import io.fabric8.kubernetes.api.model.PodBuilder;
import io.fabric8.kubernetes.api.model.apps.Deployment;
import io.fabric8.kubernetes.api.model.apps.DeploymentBuilder;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.KubernetesClientException;
import io.fabric8.kubernetes.client.dsl.NonDeletingOperation;
import io.fabric8.kubernetes.client.extended.leaderelection.LeaderCallbacks;
import io.fabric8.kubernetes.client.extended.leaderelection.LeaderElectionConfigBuilder;
import io.fabric8.kubernetes.client.extended.leaderelection.resourcelock.LeaseLock;
import io.fabric8.kubernetes.client.informers.ResourceEventHandler;
import io.fabric8.kubernetes.client.informers.SharedIndexInformer;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** What a program on fabric8's client does, each part in a namespace of its own. Enters: namespace, part. */
class Fabric8 {
  private final KubernetesClient client;
  private final String namespace;

  Fabric8(KubernetesClient client, String namespace) {
    this.client = client;
    this.namespace = namespace;
  }

  public static void main(String[] arguments) throws Exception {
    try (KubernetesClient client = new KubernetesClientBuilder().build()) {
      Fabric8 dialogue = new Fabric8(client, arguments[0]);
      client.resource(new NamespaceBuilder().withNewMetadata().withName(arguments[0]).endMetadata().build()).create();
      switch (arguments[1]) {
        case "objects" -> dialogue.objects();
        case "watching" -> dialogue.watching();
        case "leading" -> dialogue.leading();
        default -> throw new IllegalArgumentException(arguments[1]);
      }
      client.namespaces().withName(arguments[0]).delete();
      System.out.println(arguments[1] + " ok");
    }
  }

  private void objects() {
    var maps = client.configMaps().inNamespace(namespace);
    maps.resource(map("a", "v")).create();
    Expect.equal(Map.of("k", "v", "q", "1"), maps.withName("a").edit(m -> new ConfigMapBuilder(m).addToData("q", "1").build()).getData());
    Expect.equal("fabric8", maps.resource(map("applied", "v")).serverSideApply().getMetadata().getManagedFields().get(0).getManager());
    Expect.equal(Map.of("k", "w"), maps.resource(map("a", "w")).createOr(NonDeletingOperation::update).getData());
    Expect.equal(1, maps.withLabel("from", "fabric8").withField("metadata.name", "a").list().getItems().size());
    Expect.equal(null, maps.withName("nobody").get());

    Deployment made = client.apps().deployments().inNamespace(namespace).resource(deployment()).create();
    Expect.equal(600, made.getSpec().getProgressDeadlineSeconds());
    Expect.equal(0, client.apps().deployments().inNamespace(namespace).withName("d").scale(0).getSpec().getReplicas());
    Expect.equal("d", client.genericKubernetesResources("apps/v1", "Deployment").inNamespace(namespace).withName("d").get().getMetadata().getName());
    try {
      client.apps().deployments().inNamespace(namespace).resource(new DeploymentBuilder(deployment()).editMetadata().withName("No").endMetadata().build()).create();
      throw new AssertionError("a bad name was taken");
    } catch (KubernetesClientException refused) {
      Expect.equal(422, refused.getCode());
      Expect.equal("metadata.name", refused.getStatus().getDetails().getCauses().get(0).getField());
    }

    var pods = client.pods().inNamespace(namespace);
    pods.resource(new PodBuilder().withNewMetadata().withName("p").endMetadata().withNewSpec().addNewContainer().withName("c").withImage("x").endContainer().endSpec().build()).create();
    Expect.equal(true, pods.withName("p").evict());
  }

  /** An informer asks for its watch as a WebSocket. */
  private void watching() throws Exception {
    BlockingQueue<String> seen = new LinkedBlockingQueue<>();
    ResourceEventHandler<ConfigMap> handler = new ResourceEventHandler<>() {
      public void onAdd(ConfigMap added) {
        seen.add("added " + added.getMetadata().getName());
      }

      public void onUpdate(ConfigMap before, ConfigMap now) {
        seen.add("updated " + now.getMetadata().getName());
      }

      public void onDelete(ConfigMap deleted, boolean stateUnknown) {
        seen.add("deleted " + deleted.getMetadata().getName());
      }
    };
    var maps = client.configMaps().inNamespace(namespace);
    maps.resource(map("before", "v")).create();
    try (SharedIndexInformer<ConfigMap> informer = maps.withLabel("from", "fabric8").inform(handler)) {
      Expect.equal("added before", seen.poll(60, TimeUnit.SECONDS));
      maps.resource(map("later", "v")).create();
      Expect.equal("added later", seen.poll(60, TimeUnit.SECONDS));
      maps.withName("later").edit(m -> new ConfigMapBuilder(m).addToData("k", "w").build());
      Expect.equal("updated later", seen.poll(60, TimeUnit.SECONDS));
      maps.withName("later").delete();
      Expect.equal("deleted later", seen.poll(60, TimeUnit.SECONDS));
    }
    maps.withName("before").delete();
    Expect.equal(null, maps.withName("before").waitUntilCondition(Objects::isNull, 60, TimeUnit.SECONDS));
  }

  private void leading() throws Exception {
    CompletableFuture<String> leads = new CompletableFuture<>();
    var config = new LeaderElectionConfigBuilder()
        .withName("leader")
        .withLeaseDuration(Duration.ofSeconds(60))
        .withRenewDeadline(Duration.ofSeconds(50))
        .withRetryPeriod(Duration.ofMillis(200))
        .withReleaseOnCancel(true)
        .withLock(new LeaseLock(namespace, "leader", "me"))
        .withLeaderCallbacks(new LeaderCallbacks(() -> leads.complete("me"), () -> {}, identity -> {}))
        .build();
    CompletableFuture<?> election = client.leaderElector().withConfig(config).build().start();
    Expect.equal("me", leads.get(60, TimeUnit.SECONDS));
    Expect.equal("me", client.leases().inNamespace(namespace).withName("leader").get().getSpec().getHolderIdentity());
    election.cancel(true);
  }

  private static ConfigMap map(String name, String value) {
    return new ConfigMapBuilder().withNewMetadata().withName(name).addToLabels("from", "fabric8").endMetadata().addToData("k", value).build();
  }

  private static Deployment deployment() {
    return new DeploymentBuilder()
        .withNewMetadata().withName("d").endMetadata()
        .withNewSpec().withReplicas(1)
        .withNewSelector().addToMatchLabels("app", "d").endSelector()
        .withNewTemplate().withNewMetadata().addToLabels("app", "d").endMetadata()
        .withNewSpec().addNewContainer().withName("c").withImage("x").endContainer().endSpec()
        .endTemplate().endSpec().build();
  }
}
