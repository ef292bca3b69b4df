"""Every bound in one place: the unit is the last word of the name, the reason stands beside it.

A bound that only one function can ever meet may stay there; whatever a client, a pod or a peer can push against is here.
One section per package, in the order of the map.
"""

# --- api -------------------------------------------------------------------------------------------------------------

#: Largest request body: kube-apiserver's own limit, so that what upstream takes we take.
REQUEST_BODY_BYTES_MAX = 3 * 1024 * 1024
#: Largest stored object, as etcd's default request limit makes it upstream (1.5 MiB).
OBJECT_BYTES_MAX = 1536 * 1024
#: Decoded type definitions held at once: a pod needs 120 at most, and each is compiled once and then rarely looked at.
SCHEMA_DEFINITIONS_HELD_MAX = 64
#: JSON patch operations in one request, as kube-apiserver bounds them.
JSON_PATCH_OPERATIONS_MAX = 10_000
#: Nesting of an object; manifests need about 20 levels, orjson writes 254, and Python's stack ends soon after.
BODY_DEPTH_MAX = 200
#: Unknown and repeated fields named in one answer; kube-apiserver stops there too, and each becomes a header.
STRICT_MESSAGES_MAX = 100
#: Longest path of a field that is told of, and all paths remembered while one text is read: each field below a long name repeats
#: that name, so that without a bound a body of 1 MB with 1,000 fields would take a gigabyte.
STRICT_PATH_CHARACTERS_MAX = 4096
STRICT_PLACES_CHARACTERS_MAX = 8 * 1024 * 1024
#: Values in one YAML body, aliases counted each time they are used: a 3 MB body cannot honestly hold more.
YAML_VALUES_MAX = 500_000

#: Answers that each name check of api.validation remembers: more than the distinct names of a small cluster's daily traffic.
VALIDATION_NAMES_KEPT_MAX = 512
#: Names longer than any good one (253) are not remembered, so that a client cannot park megabytes in the caches.
VALIDATION_NAME_KEPT_CHARACTERS_MAX = 256
#: All annotations of one object, as upstream's TotalAnnotationSizeLimitB.
ANNOTATIONS_BYTES_MAX = 256 * 1024
#: Causes in one refusal: a person reads a few, and each one is repeated in the message.
VALIDATION_CAUSES_MAX = 256
#: Their fields and messages together: each of them can repeat a name as long as the body.
VALIDATION_CAUSES_CHARACTERS_MAX = 1024 * 1024

# --- pki -------------------------------------------------------------------------------------------------------------

#: A bound token is about 1.2 KB; whatever is far above is not one of ours, and hashing it is wasted work.
TOKEN_BYTES_MAX = 16 * 1024
#: Verified tokens remembered: one per pod and then some; about 1 KB each.
TOKEN_CACHE_ENTRIES_MAX = 512
#: How far a peer's clock may be ahead of ours.
TOKEN_CLOCK_LEEWAY_SECONDS = 60
#: Clocks of nodes may differ by so much; a time that is further ahead was written before the clock was set back.
CLOCK_SKEW_SECONDS = 60.0
#: Parsed client certificates remembered, one per identity in use.
CERTIFICATE_CACHE_ENTRIES_MAX = 256
#: Pause before a failed watch of the roles is tried again.
ACCESS_RETRY_SECONDS = 1.0

# --- agent -----------------------------------------------------------------------------------------------------------

#: Restarts and pulls: Kubernetes documents 10 s doubling to 5 min, forgotten after 10 quiet minutes.
BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_SECONDS_MAX = 300.0
#: Seconds between looks at containerd: with its event stream, and without.
RELIST_SECONDS = 10.0
RELIST_WITHOUT_EVENTS_SECONDS = 1.0
#: How late the API may hear of the steps of a pod's start; two writes less for a pod that starts faster, also on the SD card.
POD_STATUS_DELAY_SECONDS = 0.5
#: ...and of many that come up at once: so much for each, for that is what one more takes on two cores, up to this.
POD_STATUS_DELAY_EACH_SECONDS = 0.2
POD_STATUS_DELAY_SECONDS_MAX = 3.0
#: A pull ends by then, so that a registry that fell silent does not hold up the others for ever: 1 GB at
#: 2.5 Mbit/s.
IMAGE_PULL_SECONDS_MAX = 3600
#: An image that was there so long ago is taken to be there: twenty pods of one image that start at once ask once.
IMAGE_REMEMBERED_SECONDS = 2.0
#: Questions to containerd about single sandboxes and containers at a time, when a listing shows many new ones (a start).
RUNTIME_LOOKS_AT_ONCE_MAX = 8
#: Container logs: kubelet's containerLogMaxSize and containerLogMaxFiles, sized for an SD card.
LOG_FILE_BYTES_MAX = 10 * 1024 * 1024
LOG_FILES_MAX = 5
LOG_ROTATION_CHECK_SECONDS = 10.0
#: A longer line in a log file is read in pieces.
LOG_LINE_BYTES_MAX = 256 * 1024
#: Termination message as the API holds it (kubelet's own limits).
TERMINATION_MESSAGE_BYTES_MAX = 4096
TERMINATION_LOG_LINES_MAX = 80
#: containerd reports a container's end before the last lines are in its log; they are waited for, in looks of one fcntl each.
LOG_COMPLETE_SECONDS_MAX = 5.0
LOG_LOOK_SECONDS = 0.02
#: Requests the agent answers at once; each log follower and exec session holds one.
AGENT_STREAMS_MAX = 256
#: Whom the API let in at the agent's port is remembered so long, in so many answers (the kubelet's webhook cache TTLs).
AGENT_TOKEN_KEPT_SECONDS = 120.0
AGENT_ALLOWED_KEPT_SECONDS = 300.0
AGENT_REFUSED_KEPT_SECONDS = 30.0
AGENT_ACCESS_KEPT_MAX = 256
#: Images listed in node.status (kubelet's nodeStatusMaxImages).
NODE_IMAGES_MAX = 50
NODE_STATUS_REPORT_SECONDS = 300.0
NODE_STATUS_CHECK_SECONDS = 10.0
LEASE_RENEW_SECONDS = 10.0
LEASE_DURATION_SECONDS = 40
#: What an operator may choose for a node's silence: one heartbeat may come late without the node being taken for lost.
NODE_MONITOR_GRACE_SECONDS_MIN = 15
NODE_MONITOR_GRACE_SECONDS_MAX = 3600
#: Bytes of a probe's answer that are read (kubelet: 10 KiB).
PROBE_BODY_BYTES_MAX = 10 * 1024
#: Archives are looked for this often when no event told of them.
IMAGE_DIR_CHECK_SECONDS = 5.0

# --- wire ------------------------------------------------------------------------------------------------------------

#: TLS has to come up within this: a handshake takes two round trips, a half-open one holds a descriptor. A JVM that loads its
#: classes meanwhile takes 10 s on a busy board; as long as kube-apiserver's.
WIRE_HANDSHAKE_SECONDS = 32.0
#: Our own connects, name look-up and TLS included.
WIRE_CONNECT_SECONDS = 10.0
#: From the first byte of a request head to its end (slowloris), or to an HTTP/2 client's first words; kube-apiserver's.
WIRE_HEAD_SECONDS = 32.0
#: A kept-alive connection without a request. Longer than Go's and most proxies' 90 s, so that the client closes first.
WIRE_IDLE_SECONDS = 120.0
#: A body may take this long, plus one second for each WIRE_BODY_BYTES_PER_SECOND_MIN that came.
WIRE_BODY_SECONDS = 30.0
WIRE_BODY_BYTES_PER_SECOND_MIN = 4096
#: Pieces of a stream that are sent before others get their turn; whoever makes them has mostly waited for each.
WIRE_WRITES_IN_A_ROW_MAX = 16
#: Data is waiting and the peer takes none of it: cut. Silence without data waiting (a quiet watch) is no stall.
WIRE_WRITE_STALL_SECONDS = 30.0
#: After an early answer (413, 400) what the peer still sends is thrown away so long, so that it gets to read the answer.
WIRE_LINGER_SECONDS = 2.0
WIRE_LINGER_BYTES_MAX = 8 * 1024 * 1024
#: A vanished peer is noticed after interval x (probes + 1).
WIRE_KEEPALIVE_SECONDS = 15
WIRE_KEEPALIVE_PROBES = 3
#: What a client has sent must be acknowledged by then, or the connection is dead: a node that renews its lease every 10 s gets
#: through by another connection within its grace. TCP tries about seven times until then, which is enough on a bad line.
WIRE_UNACKNOWLEDGED_SECONDS = 15
#: Request head: line and headers. Service account tokens take 1-2 KB, impersonation a few more.
WIRE_HEAD_BYTES_MAX = 64 * 1024
WIRE_HEADERS_COUNT_MAX = 128
#: Request target: selectors may be long, and a command to execute in a container is all of it here.
WIRE_TARGET_BYTES_MAX = 48 * 1024
#: Connections, all and from one address (an IPv6 /64 counts as one). 1,000 simulated nodes come from one address.
WIRE_CONNECTIONS_MAX = 4096
WIRE_CONNECTIONS_PER_PEER_MAX = 1536
#: Bytes read ahead of a handler on one HTTP/1.1 connection.
WIRE_READ_AHEAD_BYTES_MAX = 64 * 1024
#: A handler that runs so long without writing gets a watch on its peer, which cancels it when the peer goes.
WIRE_DISCONNECT_WATCH_SECONDS = 1.0
#: HTTP/2 streams with a live handler, on one connection: upstream's default, so that Go clients spread as they are used to.
WIRE_STREAMS_MAX = 256
#: What a peer may send on one stream, and on one connection, before a handler has read it.
WIRE_STREAM_WINDOW_BYTES = 256 * 1024
WIRE_CONNECTION_WINDOW_BYTES = 1024 * 1024
#: Queued for one HTTP/2 connection before its streams wait.
WIRE_UNSENT_BYTES_MAX = 256 * 1024
#: Streams reset by the peer (CVE-2023-44487): a client that drops all its watches stays below, a flood does not.
WIRE_RESETS_BURST = 1024
WIRE_RESETS_PER_SECOND = 100.0
#: PING, SETTINGS (ten each), PRIORITY, empty DATA, WINDOW_UPDATE beyond what our own data explains.
WIRE_CONTROL_FRAMES_BURST = 2048
WIRE_CONTROL_FRAMES_PER_SECOND = 200.0
#: Client: head of a response.
WIRE_RESPONSE_HEAD_BYTES_MAX = 256 * 1024
#: Client: idle connections kept for reuse to one authority, and how long (shorter than WIRE_IDLE_SECONDS).
WIRE_POOL_IDLE_MAX = 8
WIRE_POOL_IDLE_SECONDS = 60.0

# --- reconcile -------------------------------------------------------------------------------------------------------

#: Keys worked on at once over all controllers: enough for group commit to gather writes, few enough for a short queue.
RECONCILE_WORKERS = 16
#: Autoscalers that wait for answers at once (metrics of others may take METRICS_TIMEOUT_SECONDS), and budgets.
GATHER_WORKERS = 4
#: A plan that takes so long lets its key rest for four times that before the next one, at most so long: changes gather meanwhile.
PLAN_LONG_SECONDS = 0.001
PLAN_REST_SECONDS_MAX = 1.0
#: So many more dicts, lists and the like make the garbage collector look; Python's 700 cost a fifth of the time while 10,000 pods
#: came, for it looks through what stays. Almost everything is freed without it.
GC_YOUNG_OBJECTS_MAX = 5000
#: First and last pause before a failed key is planned again (upstream: 5 ms doubling to 1000 s; a board's owner waits less).
RETRY_FIRST_SECONDS = 0.005
RETRY_LAST_SECONDS = 60.0
#: How long a worked-on key waits to see its own writes in the view before it is planned from what there is.
VIEW_CATCH_UP_SECONDS = 30.0
#: Objects a page when a view fills itself: bounds the bytes in flight.
VIEW_PAGE_ITEMS = 500
#: Removed objects whose end a view remembers: long enough for the grace that pods of a vanished node have.
VIEW_ENDED_MAX = 256
#: First and last pause before a failed list or watch is tried again.
WATCH_RETRY_FIRST_SECONDS = 0.1
WATCH_RETRY_LAST_SECONDS = 10.0
#: Creations or deletions of one plan that are in flight at once (upstream's slow start doubles up to the whole burst).
CALLS_IN_FLIGHT_MAX = 32
#: Pods being bound at once: enough for group commit to gather twenty pods of one rollout.
BINDINGS_IN_FLIGHT_MAX = 64
#: A pod that waits for a node says so again after this: each attempt would use up what may be recorded about the pod.
UNSCHEDULABLE_EVENT_SECONDS = 60.0
#: Events are written side by side, those about one object in order: of 1,000 pods placed at once, one writer told of 400.
EVENT_WRITER_TASKS_MAX = 4
#: Events waiting for each of them; more are dropped, for an Event must never hold up the work that it tells of.
EVENTS_WAITING_MAX = 1000
#: Series remembered, to count repeats (upstream's event correlator keeps 4096).
EVENT_SERIES_MAX = 1024
#: Spam bound per source and object (upstream: a burst of 25, then one in 300 s).
EVENT_BURST = 25
EVENT_REFILL_SECONDS = 300.0
#: Similar events within the interval before they are combined into one (upstream: 10 in 600 s).
EVENT_SIMILAR_MAX = 10
EVENT_SIMILAR_SECONDS = 600.0
#: Owner uids known to be absent (garbage collection): a cache that saves look-ups, as large as upstream's.
ABSENT_OWNERS_MAX = 500

# --- controllers -----------------------------------------------------------------------------------------------------

#: Pods made or deleted by one plan of a ReplicaSet (upstream's BurstReplicas), made by one of a Job or StatefulSet.
BURST_REPLICAS = 500
#: The Leases of the control loops: for how long they hold, and how often they are renewed. Upstream's 15 and 2 s would wake an
#: idle board for nothing: nobody waits to take over.
LEADER_LEASE_SECONDS = 60
LEADER_RENEW_SECONDS = 30.0
#: Pods made, and pods deleted, by one plan of a DaemonSet (upstream's).
DAEMON_BURST_PODS_MAX = 250
#: Pause before another pod of a DaemonSet is tried on a node where one failed; it doubles up to the last (upstream's).
DAEMON_BACKOFF_FIRST_SECONDS = 1.0
DAEMON_BACKOFF_LAST_SECONDS = 900.0
#: Nodes with such a pause that are remembered, of all DaemonSets: 200 bytes each.
DAEMON_BACKOFFS_MAX = 4096
#: Addresses in one EndpointSlice (upstream's default).
ENDPOINTS_PER_SLICE_MAX = 100
#: Addresses in a legacy Endpoints object (upstream truncates there and says so in an annotation).
ENDPOINTS_ADDRESSES_MAX = 1000
#: Finished pods kept in the cluster before the oldest are removed. Upstream keeps 12,500, a data centre's figure.
TERMINATED_PODS_MAX = 1000

# --- batch and autoscaling -------------------------------------------------------------------------------------------

#: Pods named in a Job's status while they are being counted (upstream's 500: below 20 KB).
JOB_UNCOUNTED_PODS_MAX = 500
#: Changes of a Job's pods within this time are looked at together (upstream waits a second): each look may write the status.
JOB_SETTLE_SECONDS = 0.3
#: Jobs whose failures are remembered for their pauses: about 1 KB each. What is forgotten is told again by the pods.
JOB_BACKOFFS_MAX = 500
#: Failures remembered of one Job: with seven the pause has its longest.
JOB_FAILURES_NOTED_MAX = 8

#: How far a schedule's next time is looked for (robfig/cron: five years).
SCHEDULE_SEARCH_YEARS_MAX = 5
#: How often an autoscaler looks at its metrics (upstream's --horizontal-pod-autoscaler-sync-period).
AUTOSCALER_SYNC_SECONDS = 15.0
#: Figures in an autoscaler's status are written when one is a tenth off, else only after this: an SD card lives longer.
AUTOSCALER_FIGURES_SECONDS = 60.0
AUTOSCALER_FIGURES_RATIO_MAX = 0.1
#: Autoscalers whose last recommendations are remembered: about 4 KB each with a window of five minutes.
AUTOSCALERS_REMEMBERED_MAX = 500
#: Longest answer of a metrics API, and how long one is waited for (upstream's client has no time limit; a worker must not hang).
METRICS_BYTES_MAX = 4 * 1024 * 1024
METRICS_TIMEOUT_SECONDS = 10.0
#: How long what a node uses stays true: who asks again before gets the same answer (metrics-server measures every 15 s).
METRICS_FRESH_SECONDS = 10.0
#: CPU is measured since the last answer if it is no older than this, else over a short while: people wait for it.
METRICS_WINDOW_SECONDS_MAX = 300.0
METRICS_FIRST_WINDOW_SECONDS = 1.0
#: A node that does not answer in this time is left out.
METRICS_SCRAPE_SECONDS_MAX = 8.0
METRICS_SCRAPES_AT_ONCE_MAX = 32
#: It is then left out for so long: who asks must not hang each time.
METRICS_SILENT_SECONDS = 30.0
#: Nodes of which the last figures are kept: about 30 KB each with 100 pods; further ones are measured anew each time.
METRICS_NODES_REMEMBERED_MAX = 256
#: What an agent may tell: 110 pods of ten containers take 0.4 MB.
METRICS_NODE_BYTES_MAX = 4 * 1024 * 1024

# --- store -----------------------------------------------------------------------------------------------------------

#: Changes kept for watchers that resume and pages that continue. At one change a second, more than two hours.
WATCH_RING_EVENTS_MAX = 8192
#: Bytes of documents in that history (before and after each change); it is most of what the store holds in RAM.
WATCH_RING_BYTES_MAX = 8 * 1024 * 1024
#: Documents that were read or written last, so that the next read of one takes no query; most are in the history above as well.
RECENT_BYTES_MAX = 1024 * 1024
#: A larger one would drive too many others out.
RECENT_RECORD_BYTES_MAX = 32 * 1024
#: Changes that one watcher may leave unread: a burst of several full commits, then it is closed and lists again.
WATCH_BACKLOG_EVENTS_MAX = 2048
#: Bytes of the same; they are shared with the ring until the ring moves on.
WATCH_BACKLOG_BYTES_MAX = 8 * 1024 * 1024
#: Initial states that are being handed to watchers: the bytes of objects that all of them together hold, as long as that leaves
#: each the second, below which reading costs more than it saves; and what a page has at least.
WATCH_INITIAL_BYTES = 8 * 1024 * 1024
WATCH_INITIAL_READER_BYTES = 64 * 1024
WATCH_INITIAL_OBJECTS_MIN = 16
#: How long a list stays at its revision between pages. Upstream compacts every 5 minutes; clients expect 410 after that.
LIST_REVISION_AGE_SECONDS_MAX = 300
#: Rows read from disk before other tasks get their turn (about 2 ms).
LIST_CHUNK_ROWS_MAX = 256
#: Writes in one transaction: bounds the memory of a commit and how long one writer waits for strangers.
COMMIT_WRITES_MAX = 512
#: Writes that may wait for the disk; beyond it the caller is told to come back.
WRITE_QUEUE_WRITES_MAX = 8192
#: Bytes of the same.
WRITE_QUEUE_BYTES_MAX = 32 * 1024 * 1024
#: Revisions reserved at a time: one small write for so many volatile changes, and the most that a power cut skips.
REVISION_BLOCK = 10_000
#: Volatile objects (Lease, Event) held in RAM; the oldest that may expire gives way first.
VOLATILE_OBJECTS_MAX = 5000
#: Bytes of the same.
VOLATILE_BYTES_MAX = 6 * 1024 * 1024
#: Volatile rows reach the disk this often (and at shutdown): 6 small commits an hour keep idle writes far below 1 MB an hour.
VOLATILE_FLUSH_SECONDS = 600
#: The write-ahead log is folded into the database at this many pages (4 KiB each) ...
WAL_PAGES_MAX = 1000
#: ... and cut back to this size afterwards.
WAL_BYTES_KEPT_MAX = 8 * 1024 * 1024

# --- containerd ------------------------------------------------------------------------------------------------------

#: Events waiting for the agent; each is a hint to look again, so a full queue already says "look at everything".
RUNTIME_EVENT_BACKLOG_MAX = 256
#: containerd's own log, kept once more after it was rotated: two of these at most on the SD card.
CONTAINERD_LOG_BYTES_MAX = 4 * 1024 * 1024
#: One manifest, index or config inside an image archive; registries refuse larger manifests, and we hold these in memory.
IMAGE_METADATA_BYTES_MAX = 4 * 1024 * 1024
#: Members of an image archive: 127 layers are the most that overlayfs stacks, an archive may hold many images.
IMAGE_ARCHIVE_MEMBERS_MAX = 20_000

# --- network ---------------------------------------------------------------------------------------------------------

#: Pause before a table that nft refused is made anew.
NFT_RETRY_SECONDS = 1.0
#: Larger scripts are given to a process of its own: the library would keep their memory, and they would hold up the event loop.
#: A Service's change is about 1 KB.
NFT_IN_PROCESS_BYTES_MAX = 16 * 1024
#: Chains that choose among up to so many endpoints are there from the start; a Service with more makes the table anew, doubled.
PROXY_TARGETS_FIRST = 64
#: How long changes are collected before a script is made: a rollout changes a Service several times in a row.
PROXY_SETTLE_SECONDS = 0.01
#: Addresses whose parsed form is remembered (about 200 bytes each): parsing them is half of what a Service's plan costs.
ADDRESSES_PARSED_MAX = 2048
#: Services planned before other tasks get their turn (about 10 ms).
PROXY_PLANS_A_TURN_MAX = 64
#: Sticky clients put back in one command when a table is made anew: nft's parser is linear, its error messages are not.
PROXY_BATCH_CLIENTS_MAX = 2000
#: Connections to one health check node port, all and from one address: a load balancer has a few probes, whoever opens more
#: is none and must not keep it from asking.
HEALTH_CONNECTIONS_MAX = 256
HEALTH_CONNECTIONS_PER_PEER_MAX = 16
#: Pause before a health check node port that another program holds is tried again.
HEALTH_RETRY_SECONDS = 10.0

# --- client ----------------------------------------------------------------------------------------------------------

#: One call, with all its attempts. client-go has none; an agent must notice a server that does not answer.
CLIENT_REQUEST_SECONDS = 30.0
CLIENT_ATTEMPTS_MAX = 4
CLIENT_BACKOFF_SECONDS = 0.2
CLIENT_RETRY_AFTER_SECONDS_MAX = 10.0
#: client-go's page size: bounds what server and client hold of a list at once.
CLIENT_LIST_PAGE_ITEMS = 500
CLIENT_RESPONSE_BYTES_MAX = 128 * 1024 * 1024
CLIENT_ERROR_BYTES_MAX = 256 * 1024
#: An object twice over: an event is one object and a few bytes.
CLIENT_WATCH_EVENT_BYTES_MAX = 2 * OBJECT_BYTES_MAX
#: Largest UDP reply: below what fits one Ethernet frame, so that nothing is fragmented (DNS flag day 2020).
DNS_UDP_BYTES_MAX = 1232
#: Replies remembered, about 300 bytes each.
DNS_CACHE_ENTRIES_MAX = 2000
#: What those, and our own answers, may weigh in all, each: a pod that spells the name of a long answer in a thousand ways shall
#: not cost the node its memory.
DNS_REMEMBERED_BYTES_MAX = 4 * 1024 * 1024
#: A question with all that resolvers add to it; longer ones are not looked into.
DNS_QUESTION_BYTES_MAX = 1232
#: Longest that a forwarded reply is remembered, whatever its TTL says (CoreDNS' default).
DNS_CACHE_SECONDS_MAX = 30
#: How long an answer that is out of date may stand in when no server answers; RFC 8767 allows days, a cluster changes faster.
DNS_STALE_SECONDS_MAX = 3600.0
#: Servers of one list, as resolv.conf(5) allows, and stub domains of a cluster.
DNS_SERVERS_MAX = 3
DNS_STUB_DOMAINS_MAX = 64
#: Replies with several addresses are kept in so many orders.
DNS_ROTATIONS_MAX = 8
#: Questions to other servers under way; each holds a socket.
DNS_FORWARDS_MAX = 256
#: How long a question to other servers may take in all, when it is repeated (and the next server asked, too), and how long
#: servers that all were silent are left alone.
DNS_FORWARD_SECONDS = 2.0
DNS_REPEAT_SECONDS = 0.4
DNS_SILENT_SECONDS = 5.0
#: Questions that wait for a forwarder, each in a task of its own; beyond that packets are dropped, as UDP allows.
DNS_TASKS_MAX = 512
DNS_TCP_CONNECTIONS_MAX = 128
DNS_TCP_IDLE_SECONDS = 10.0

# --- doors and joining -----------------------------------------------------------------------------------------------

#: Requests of machines without an identity under way at once, in each row of the table of doors.
DOOR_REQUESTS_MAX = 32
#: Two certificate requests and a few names are 3 KB.
DOOR_BODY_BYTES_MAX = 32 * 1024
#: How long a stranger may take to send its body.
DOOR_BODY_SECONDS = 10.0
#: How often kube-system/edgekube-cluster is looked after, as often as the kubernetes Service.
CLUSTER_FACTS_SECONDS = 10.0
#: "system:node:" and a node's name make a common name, which X.509 bounds to 64 characters.
NODE_NAME_CHARACTERS_MAX = 52
#: Nodes that may join: twice what is measured. A token that was stolen shall not fill the database.
NODES_MAX = 2000
#: Wrong tokens that an address may show at once (a rack that was given a stale one), and how fast that is forgotten.
JOIN_FAILURES_MAX = 20
JOIN_FAILURE_SECONDS = 15.0
#: Addresses whose failures are remembered, about 200 bytes each; a LAN has a few hundred.
ATTEMPTS_PEERS_MAX = 4096
#: Approving and signing a node's certificate takes milliseconds; a board that is busy may take its time.
ISSUE_SECONDS = 20.0
#: An answer to a machine that joins: certificates and a CA bundle are 6 KB. Signing may take ISSUE_SECONDS.
DOOR_ANSWER_BYTES_MAX = 256 * 1024
DOOR_ANSWER_SECONDS = 45.0
#: Of what somebody says who may be anybody: how much is repeated, and how long a machine waits because he says so (a name that
#: was tried too often is to rest for ten minutes).
DOOR_MESSAGE_CHARACTERS_MAX = 500
DOOR_RETRY_SECONDS_MAX = 600
#: Pauses of an agent that cannot join yet: a server that boots is up in seconds, one that is off is not worth a packet a second.
JOIN_RETRY_FIRST_SECONDS = 1.0
JOIN_RETRY_LAST_SECONDS = 30.0
#: How often a node that was removed tries to come back: no more often than its failures are forgotten (JOIN_FAILURE_SECONDS).
REJOIN_SECONDS = 15.0
#: ... unless another token is put into its file, which is looked at this often meanwhile.
TOKEN_FILE_LOOK_SECONDS = 1.0
#: Places where a server may be: three servers with two addresses each, their former ones, and what strangers announce.
SERVER_ADDRESSES_MAX = 24
#: How long an agent that has to wait keeps its service manager waiting (systemd's TimeoutStartSec is longer).
AGENT_START_SECONDS = 90.0
#: Longest serial number of a board that is believed to be one.
SERIAL_CHARACTERS_MAX = 128
#: How often expired join tokens are looked for; the longest wait for a bootstrap token to expire, for the clock may be set.
TOKEN_SWEEP_SECONDS = 300.0

# --- server ----------------------------------------------------------------------------------------------------------

#: Requests that only read and run at once; kube-apiserver's --max-requests-inflight.
REQUESTS_READING_MAX = 400
#: Requests that write and run at once; kube-apiserver's --max-mutating-requests-inflight.
REQUESTS_WRITING_MAX = 200
#: Watches open at once: a thousand nodes with eight each, and some people.
WATCHES_MAX = 10_000
#: Of one user, administrators apart: a stolen board or one pod's token shall not take everybody's places, nor the memory.
WATCHES_PER_USER_MAX = 1000
#: A body up to this size is compressed in the event loop (about 5 ms); larger ones go to a thread.
GZIP_INLINE_BYTES_MAX = 512 * 1024
#: A larger limit of a list means as much: more objects than any store of ours holds.
LIST_LIMIT_MAX = 1 << 31
#: YAML up to this size is read and written in the event loop (about 20 ms); more goes to a thread.
YAML_INLINE_BYTES_MAX = 16 * 1024
#: Shortest and longest life of a watch whose client names none (upstream: 30 to 60 minutes).
WATCH_SECONDS_MIN = 1800
WATCH_SECONDS_MAX = 3600
#: Connecting to a node's agent for logs, exec and the like.
AGENT_CONNECT_SECONDS = 10
#: A page whose links the proxy rewrites is held whole (about 20 ms); larger ones pass as they are.
PROXY_PAGE_BYTES_MAX = 1024 * 1024

# --- daemon ----------------------------------------------------------------------------------------------------------

#: Pause after the start before what it left is given back, and between later looks: each costs a few microseconds.
MEMORY_SETTLE_SECONDS = 5.0
MEMORY_CHECK_SECONDS = 30.0

#: How long running requests may take to end after SIGTERM; systemd's default kills after 90 s.
DRAIN_SECONDS = 5.0
#: Events are kept for an hour, as kube-apiserver's --event-ttl has it.
EVENT_TTL_SECONDS = 3600.0

# --- certificates and time -------------------------------------------------------------------------------------------

#: A clock that is behind by no more than this is left to itself: NTP slews so much, and logs stay readable.
CLOCK_BEHIND_SECONDS_MAX = 60.0
#: A clock that is behind the release by no more than this is believed rather than the date of the release.
RELEASE_DOUBT_SECONDS = 180 * 24 * 3600.0
#: The time floor is written this often: 24 small writes a day, and a board that lost its power is wrong by an hour at most.
TIME_FLOOR_SAVE_SECONDS = 3600.0
#: Pods' tokens live for a year (pki.tokens); a retired key is believed for as long after it signed its last one.
TOKEN_LIFE_SECONDS_MAX = 366 * 24 * 3600.0
#: How often a server looks at the age of its certificates, and an agent at its own: a few file reads.
CERTIFICATE_LOOK_SECONDS = 3600.0
#: While nodes are waited for that do not trust a new authority yet, which they say of themselves within seconds.
ROTATION_LOOK_SECONDS = 2.0
#: A node's former key stays good for so long after its new one was used: what was under way with it may end.
FORMER_KEY_GRACE_SECONDS = 60.0
#: Pause after a renewal that failed, doubled up to a look's.
RENEWAL_RETRY_SECONDS = 10.0

# --- manifests -------------------------------------------------------------------------------------------------------

#: How often the manifests directory is looked at, and when a file that failed is tried again.
MANIFESTS_LOOK_SECONDS = 3.0
MANIFEST_RETRY_SECONDS = 15.0
#: Largest manifest file: parsing YAML costs twenty times its size in memory.
MANIFEST_BYTES_MAX = 4 * 1024 * 1024
#: Pause before a machine without a usable container runtime is tried again, and a DNS port that another program holds.
NODE_RETRY_SECONDS = 10.0
DNS_RETRY_SECONDS = 10.0

# --- discovery and pairing -------------------------------------------------------------------------------------------

#: Quiet after a change of links or addresses before it is told of (a cable plugged in is five messages), and at the latest.
ADDRESS_SETTLE_SECONDS = 0.3
ADDRESS_BURST_SECONDS_MAX = 3.0
#: Announcements kept by one who browses, all and of one cluster: ten times any LAN that fits one segment; about 1 KB each.
DISCOVERED_INSTANCES_MAX = 1024
DISCOVERED_PER_CLUSTER_MAX = 512
#: Addresses of one announcement: two families on a few interfaces.
ANNOUNCED_ADDRESSES_MAX = 8
#: Announcements whose address or text did not come along and is being asked for; more are left for a later answer.
MDNS_ASKED_MAX = 32
MDNS_ASK_SECONDS = 2.0
#: Records heard in one window, and the share of a core that hearing them may cost there, before it counts as a flood: a thousand
#: honest nodes that all answer at once stay below (a response has four records and costs 0.2 ms here).
MDNS_WINDOW_SECONDS = 3.0
MDNS_WINDOW_RECORDS_MAX = 9000
MDNS_CORE_SHARE_MAX = 0.5
#: Silence after a flood, doubling with each in a row: what is left of the flood's cost is the window over the pause.
MDNS_PAUSE_FIRST_SECONDS = 5.0
MDNS_PAUSE_LAST_SECONDS = 120.0
#: How often it is looked whether a cluster's name or CA is another than what is announced.
ANNOUNCEMENT_LOOK_SECONDS = 30.0
#: Pause before mDNS is tried again after it could not be opened (no address yet, port taken).
MDNS_RETRY_SECONDS = 10.0
#: Pairings under way, all, from one address, of one serial and under one name; about 8 KB each (two signing requests).
PAIRINGS_MAX = 64
PAIRINGS_PER_PEER_MAX = 16
PAIRINGS_PER_SERIAL_MAX = 2
PAIRINGS_PER_NAME_MAX = 3
#: A node answers in milliseconds; a person walks to the machine and back.
PAIRING_REVEAL_SECONDS = 20.0
PAIRING_SECONDS = 600.0
#: Exchanges begun under one name in PAIRING_SECONDS: each is one guess of a code in a million (pki.pairing), so that whoever
#: sits between node and server has ten in a million while a code is shown.
PAIRING_GUESSES_PER_NAME_MAX = 10
#: Names whose guesses are remembered, and commitments, so that none is used twice.
PAIRING_NAMES_MAX = 1024
PAIRING_COMMITMENTS_MAX = 4096
#: Exchanges begun from one address at once (a rack that is switched on), and one more each so many seconds.
PAIRING_STARTS_BURST = 32
PAIRING_STARTS_SECONDS = 5.0
#: How long a node's question "and now?" may wait for news, and how many may wait: one for each pairing, and their first steps.
PAIRING_WAIT_SECONDS = 25.0
PAIRING_REQUESTS_MAX = 2 * PAIRINGS_MAX
#: Of these from one address: its waiting questions and as many first steps.
PAIRING_REQUESTS_PER_PEER_MAX = 2 * PAIRINGS_PER_PEER_MAX
#: An agent that looks for servers by mDNS: how long it listens, and how long nothing new may be heard before it stops earlier;
#: answers come within 0.12 s, and a browser asks three times in the first seconds. On a busy machine or a bad radio one answer of
#: two clusters may be lost, and the other would be taken for the only one: a second question fits in.
FIND_LISTEN_SECONDS = 10.0
FIND_SETTLE_SECONDS = 2.5
#: Of many addresses that strangers announced, one is good: how many are tried at once, how long each, all, and how much sooner
#: than the next (a handshake on a LAN takes 20 ms). 512 lies that keep silent are gone through in 80 s.
TRY_AT_ONCE_MAX = 32
TRY_SECONDS = 5.0
TRY_ALL_SECONDS = 120.0
TRY_HEAD_START_SECONDS = 0.05
#: A member looks once known addresses have failed for so long (a server that restarts is back by then), then at most so often.
FIND_GRACE_SECONDS = 5.0
FIND_PAUSE_FIRST_SECONDS = 20.0
FIND_PAUSE_LAST_SECONDS = 300.0
#: Failures that count together, and how many are remembered.
FIND_MEMORY_SECONDS = 120.0
FIND_FAILURES_MAX = 16
#: Pauses of a machine that nobody let in: after it was rejected it asks again, but not every second.
PAIRING_AGAIN_FIRST_SECONDS = 15.0
PAIRING_AGAIN_LAST_SECONDS = 600.0
#: Serial numbers that may be allowed ahead; a Secret holds a megabyte.
ALLOWED_SERIALS_MAX = 2000

# --- network policies ------------------------------------------------------------------------------------------------

#: Pods whose PodAddress is remembered while it goes out to every node that watches: about 10 kB each, made in 10 µs.
POD_ADDRESS_CACHE_ENTRIES_MAX = 64
#: From one script to the next: a rollout's changes come closely one after the other, a pod that starts alone waits for nothing.
POLICY_SETTLE_SECONDS = 0.01
#: How long a start waits for the API before it goes by what it knew of policies before (as the agent does with pods).
POLICY_SILENCE_SECONDS = 5.0
#: From one writing of that to the next, and only when it changed: a busy cluster shall not wear out a card.
POLICY_MEMORY_SECONDS = 60.0
#: How long after a change it is looked whether there is something to write: with many pods a look takes ten milliseconds.
POLICY_LOOK_SECONDS = 2.0
#: Lists of named ports that pods share in memory, about 0.3 kB each.
POLICY_PORT_LISTS_MAX = 1024

# --- pod network between nodes ---------------------------------------------------------------------------------------

#: A look at routes that nobody told of a change, in case somebody removed a neighbour entry: six short processes.
ROUTES_LOOK_SECONDS = 60.0
#: Pause before what the kernel refused is tried again, and before a burst of changes is answered.
ROUTES_RETRY_SECONDS = 5.0
ROUTES_SETTLE_SECONDS = 0.05
#: A machine whose address went keeps its name for it so long: a lease that is renewed badly is back by then.
ADDRESS_MISSED_SECONDS = 10.0

# --- load balancer addresses -----------------------------------------------------------------------------------------

#: Addresses of a pool: a LAN has no more to give, and one plan may walk through all of them.
LOAD_BALANCER_POOL_ADDRESSES_MAX = 4096
#: Names of Services on the LAN: each costs packets of everybody's.
LAN_NAMES_MAX = 256
#: A new place of an address is told so often, and so far apart (RFC 5227: twice, two seconds; a lossy link wants more).
LAN_ANNOUNCEMENTS_MAX = 4
LAN_ANNOUNCE_SECONDS = 1.0
#: Questions about addresses taken in one turn of the loop.
LAN_PACKETS_PER_TURN_MAX = 64
#: An address that somebody else claims is defended at most so often (RFC 5227: DEFEND_INTERVAL), if the API answers in time.
LAN_DEFEND_SECONDS = 10.0
LAN_API_ANSWER_SECONDS = 3.0
#: Changes are collected so long before it is decided anew who answers.
LAN_SETTLE_SECONDS = 0.2

# --- tunnels: agents' connections that lie ready at the API server ----------------------------------------------------

#: A vanished peer on a connection that lies idle is noticed after this, by the kernel's probes: nobody may wait on a dead one.
WIRE_CLOSE_WATCH_SECONDS = 15
#: Connections that an agent keeps ready. The second serves whoever comes while the first is being replaced.
TUNNELS_IDLE_MAX = 2
#: What the server lets one node leave there: a node that restarts has its old ones for WIRE_CLOSE_WATCH_SECONDS besides.
TUNNELS_PARKED_PER_NODE_MAX = 6
#: Parked and in use, of one node; each follower of a log and each exec session holds one.
TUNNELS_PER_NODE_MAX = 128
#: Of all nodes: below WIRE_CONNECTIONS_MAX, so that people still get in.
TUNNELS_MAX = 3072
#: Before a parked connection is trusted with a request it must answer one of ours in this time.
TUNNEL_ALIVE_SECONDS = 2.0
#: How long a node that has tunnels is waited for to leave a new one, before its address is tried instead.
TUNNEL_WAIT_SECONDS = 3.0
#: Pause before an agent tries again, doubling, drawn between half and all of it: a thousand agents lose their server at once.
TUNNEL_RETRY_FIRST_SECONDS = 0.5
TUNNEL_RETRY_LAST_SECONDS = 15.0
#: An agent's connect to a port of a pod beside it, for the API server's proxy.
POD_DIAL_SECONDS = 5.0
#: Refused requests that are logged one by one, and afterwards one line in so many seconds: a flood must not fill the card.
REFUSALS_LOGGED_BURST = 20
REFUSALS_LOGGED_SECONDS = 10.0
#: Of what a peer sent, in such a line.
REFUSAL_TEXT_BYTES_MAX = 300

# --- Server-side apply

#: metadata.managedFields[].manager and the parameter fieldManager, as upstream's FieldManagerMaxLength.
FIELD_MANAGER_BYTES_MAX = 128
#: metadata.managedFields[].subresource, as upstream's MaxSubresourceNameLength.
MANAGED_SUBRESOURCE_BYTES_MAX = 256

# --- custom resources ------------------------------------------------------------------------------------------------

#: Definitions that the server holds: each costs its compressed schemas, and its rows in every discovery document.
DEFINITIONS_MAX = 1000
#: Read at once when the server starts: each may be as large as a request.
DEFINITIONS_PAGE_ITEMS = 8
#: Rules of writing that are kept, one small object for each kind; custom kinds come and go.
STRATEGIES_HELD_MAX = 512

# --- admission: quotas and the pod security standards -----------------------------------------------------------------

#: Pods that are looked at when a namespace is held to another standard; upstream's bound.
POD_SECURITY_PODS_MAX = 3000

# --- what is counted, logged and described ---------------------------------------------------------------------------

#: Series of one family of metrics, about 0.3 kB each: every verb on every built-in resource is below a thousand.
METRICS_SERIES_MAX = 4000
#: A request that took longer has its line in the log whatever is set; a flash card that erases takes this long now and then.
REQUEST_SLOW_SECONDS = 1.0
#: Compiled schemas of custom kinds that are held: those in use. One of 1 MB of JSON takes about 3 MB.
CUSTOM_SCHEMAS_HELD_MAX = 16
#: One call of a conversion webhook, as upstream; and the objects that one call carries: a long list is converted in parts.
CONVERSION_SECONDS_MAX = 30.0
CONVERSION_BYTES_MAX = 4 << 20
#: Rules (x-kubernetes-validations) of one schema: each is parsed, checked and estimated while nobody else is answered.
CUSTOM_RULES_MAX = 1000
#: Parsed printer columns of custom kinds, each a few kB.
CUSTOM_TABLES_HELD_MAX = 32
#: Values that one JSONPath of a column may look at: a cell shows one of them.
JSONPATH_VALUES_MAX = 10_000
#: Deletions come in bursts: what is used is counted once, so long after the first.
QUOTA_SETTLE_SECONDS = 0.1
#: Of the time that may go into counting one namespace over and over, while things go away there.
QUOTA_COUNTING_PERCENT_MAX = 10
#: Every namespace with quotas is counted so often even if nothing seems to have changed; upstream's interval.
QUOTA_RESYNC_SECONDS = 300.0
#: An identity provider's answers; its keys; how long it is waited for; how soon it is asked again for an unknown key.
OIDC_ANSWER_BYTES_MAX = 256 * 1024
OIDC_KEYS_MAX = 64
OIDC_SECONDS_MAX = 10.0
OIDC_REFRESH_SECONDS = 10.0
#: An AuthenticationConfiguration is looked at this often where the kernel does not tell of its changes (upstream: a minute).
AUTHENTICATION_RELOAD_SECONDS = 60.0
#: Bootstrap tokens that cluster-info is signed for: each is a line in an object of at most 1 MiB.
BOOTSTRAP_TOKENS_MAX = 1000
#: In an AuthenticationConfiguration, as upstream's.
IDENTITY_PROVIDERS_MAX = 64
#: Objects that are decoded at once while a namespace is counted.
QUOTA_PAGE_OBJECTS_MAX = 200
# --- Admission policies

#: A messageExpression that says more is not told, as upstream's MaxEvaluatedMessageExpressionSizeBytes.
POLICY_MESSAGE_BYTES_MAX = 5 * 1024
#: Of an audit annotation's value; the rest is cut off, as upstream does.
POLICY_AUDIT_VALUE_BYTES_MAX = 10 * 1024
#: Params that one binding's selector may find: each is asked about, one after the other, while the request waits.
POLICY_PARAMS_MAX = 500
#: Policies held compiled; the others are compiled again when they are asked. A policy of ten expressions holds about 0.1 MB.
POLICIES_COMPILED_MAX = 64
#: Kinds of one rule against which a policy is type-checked, as upstream's maxTypesToCheck.
POLICY_TYPES_CHECKED_MAX = 10
# --- webhooks --------------------------------------------------------------------------------------------------------

#: An AdmissionReview with a patch of the largest object in base64; a ConversionReview of as many objects as are sent at once.
WEBHOOK_RESPONSE_BYTES_MAX = 8 * 1024 * 1024
#: What upstream lets timeoutSeconds be at most.
WEBHOOK_SECONDS_MAX = 30.0
#: All webhooks of one request together, as upstream bounds a request that writes.
WEBHOOKS_OF_REQUEST_SECONDS = 34.0
#: TLS contexts with their idle connections: about 100 kB each. A cluster on boards has a handful of webhooks.
WEBHOOK_CLIENTS_MAX = 32
WEBHOOK_IDLE_MAX = 4
#: Shorter than what the HTTP servers of Go and Python leave an idle connection.
WEBHOOK_IDLE_SECONDS = 30.0
# --- api.cel: expressions of CRDs, webhooks and policies --------------------------------------------------------------

#: Characters in one expression: cel-go's own limit.
CEL_EXPRESSION_CHARACTERS_MAX = 100_000
#: Brackets within brackets; each is five calls of Python's stack of 1000. Nobody has written twenty.
CEL_NESTING_MAX = 80
#: Operators or members in one row (a + b + …), each one call of Python's stack when evaluated; && and || are not bound by it.
CEL_CHAIN_MAX = 200
#: Cost of one evaluation; 1,000,000 is about 0.1 s upstream (k8s.io/apiserver, pkg/apis/cel).
CEL_CALL_COST_MAX = 1_000_000
#: Cost of all rules for one object, or one policy binding.
CEL_BUDGET_COST_MAX = 10_000_000
#: What is computed on the event loop, about 0.1 s; the rest runs in a thread. One question to the authorizer costs 350,000.
CEL_AT_ONCE_COST_MAX = 400_000
#: Threads in which what is heavier runs: they share one core with the event loop.
CEL_THREADS_MAX = 2
#: Cost of the match conditions of one webhook or binding.
CEL_MATCH_CONDITIONS_COST_MAX = 2_500_000
#: Estimated cost that one rule of a CRD may have, and all rules of one CRD together.
CEL_RULE_ESTIMATE_MAX = 10_000_000
CEL_CRD_ESTIMATE_MAX = 100_000_000
#: Bytes that a messageExpression may give.
CEL_MESSAGE_BYTES_MAX = 5 * 1024
#: Elements that lists.range may make: far above what the cost of one evaluation lets anybody use.
CEL_LIST_ELEMENTS_MAX = 1_000_000
#: Elements and characters that one evaluation may make by functions whose cost does not grow with them (list + list, replace):
#: 80 MB at worst, for a moment.
CEL_MADE_ELEMENTS_MAX = 10_000_000
#: Tables of functions held, one per set of libraries (about 0.3 MB each).
CEL_FUNCTION_TABLES_MAX = 2

# --- api.patterns: regular expressions of schemas and expressions ----------------------------------------------------

#: Compiled patterns kept: those of the CRDs and policies in use.
PATTERNS_KEPT_MAX = 128
#: Characters of one pattern, groups within groups, and instructions once repetitions are written out: Go stops at about the same.
PATTERN_CHARACTERS_MAX = 32_768
PATTERN_NESTING_MAX = 100
PATTERN_INSTRUCTIONS_MAX = 20_000
#: States and transitions kept of one pattern (some 200 bytes each): most need a few dozen.
PATTERN_STATES_MAX = 500
PATTERN_TRANSITIONS_MAX = 5_000
#: Instructions visited for one text: about a second. Only patterns of very many states on long texts come near.
PATTERN_STEPS_MAX = 1_000_000
#: Audit events that wait to be written, together; and from one writing to the next, by bytes and by time: a flash card is worn by
#: writes, not by bytes, and whoever loses power loses so many seconds of the log.
AUDIT_WAITING_BYTES_MAX = 8 * 1024 * 1024
AUDIT_WRITE_BYTES = 256 * 1024
AUDIT_WRITE_SECONDS = 5.0
#: A webhook's request: so many events, so long, so much of an answer; pauses and attempts as upstream's.
AUDIT_WEBHOOK_EVENTS_MAX = 400
AUDIT_WEBHOOK_SECONDS = 30.0
AUDIT_WEBHOOK_ANSWER_BYTES_MAX = 64 * 1024
AUDIT_WEBHOOK_RETRY_SECONDS = 10.0
AUDIT_WEBHOOK_ATTEMPTS_MAX = 5
#: Of one request's body, and of its answer's, in an audit event; and of its address.
AUDIT_BODY_BYTES_MAX = 256 * 1024
AUDIT_URI_BYTES_MAX = 2048
#: OpenAPI documents that are kept, compressed: one of version 2 and those of the group versions that people ask about.
OPENAPI_KEPT_BYTES_MAX = 1024 * 1024
#: Entries for updates in one object's managedFields, as upstream's DefaultMaxUpdateManagers; the oldest are joined.
MANAGED_UPDATERS_MAX = 10
#: Steps of paths (``k:{"name":"web"}``) whose place in the order is remembered; about 300 bytes each.
MANAGED_ELEMENTS_REMEMBERED_MAX = 256
#: What each kind and subresource resets; a few hundred bytes each.
MANAGED_FILTERS_HELD_MAX = 256
#: Conversions that one write asks a webhook for because managedFields name other versions: each is a call over the network.
MANAGED_CONVERSIONS_MAX = 32
# --- other API servers behind this one

#: APIServices that name a Service. A cluster has a few (metrics, a vendor's); each costs checks and a connection.
AGGREGATED_GROUP_VERSIONS_MAX = 64
#: How often a server behind this one is looked at while it answers, and while it does not. Upstream looks every 30 s.
AGGREGATED_CHECK_SECONDS = 30.0
AGGREGATED_RETRY_SECONDS = 1.0
#: A server that takes longer to tell what it serves is not available (upstream: 5 s).
AGGREGATED_CHECK_TIMEOUT_SECONDS = 5.0
#: What a server behind this one may tell of itself.
AGGREGATED_DISCOVERY_BYTES_MAX = 1024 * 1024
#: What it keeps in a namespace that is deleted: objects an answer; of servers that do not page, or send whole objects, so many
#: bytes; and seconds to delete all objects of a resource.
AGGREGATED_CONTENT_PAGE_OBJECTS_MAX = 100
AGGREGATED_CONTENT_BYTES_MAX = 8 * 1024 * 1024
AGGREGATED_CONTENT_SECONDS_MAX = 30.0
#: Its OpenAPI document of version 2 (decoded ten times that, for a moment); all that is kept of all, compressed; how soon one is
#: asked again (upstream: a minute).
AGGREGATED_DOCUMENT_BYTES_MAX = 1024 * 1024
AGGREGATED_DOCUMENTS_BYTES_MAX = 512 * 1024
AGGREGATED_DOCUMENT_SECONDS = 60.0

# --- priority and fairness -----------------------------------------------------------------------------------------------

#: Requests that run at once, streams apart, shared out among the priority levels. Upstream takes 600; here one loop answers all,
#: and whoever comes next waits for those that run.
REQUESTS_SEATED_MAX = 120
#: Requests that wait for a seat, whatever the levels' queues would hold: each is a connection's memory.
REQUESTS_WAITING_MAX = 2000
#: Longest wait for a seat (upstream: a quarter of the request's minute).
REQUEST_WAIT_SECONDS = 15.0
#: Who asked for what, with the flow that it belongs to.
FLOWS_REMEMBERED_MAX = 1024

# --- what containers of a node may have ----------------------------------------------------------------------------------

#: Ranges of 65536 users for pods with user namespaces: as many as 32 bits have beyond the host's own.
USER_NAMESPACE_RANGES_MAX = 65535
#: A file of variables (fileKeyRef); upstream reads lines of 64 KiB.
ENV_FILE_BYTES_MAX = 256 * 1024
#: A device plugin answers at once or is broken; PreStartContainer may reset hardware, and upstream gives it 30 s.
DEVICE_PLUGIN_CALL_SECONDS = 30.0
#: As upstream: a plugin that is being upgraded is back before its resource is taken off the Node.
DEVICE_PLUGIN_GRACE_SECONDS = 300.0
#: Resources of device plugins on one node; a board has a handful.
DEVICE_PLUGINS_MAX = 64
#: Of one resource; a plugin that shares a device offers it once for each share.
DEVICES_PER_RESOURCE_MAX = 4096
#: Registering is one call that waits for the plugin's own answer.
DEVICE_PLUGIN_REGISTRATION_THREADS_MAX = 2
#: Paths of one declared device, and what they may lead to in all: patterns such as /dev/* are a mistake.
BOARD_DEVICE_PATHS_MAX = 16
BOARD_DEVICE_SHARES_MAX = 100
BOARD_DEVICES_MAX = 256
#: udev has made its links to a device by then.
BOARD_DEVICE_SETTLE_SECONDS = 0.3
#: Before devices are followed again when the kernel refused it (no inotify instance left).
BOARD_DEVICES_RETRY_SECONDS = 60.0

# --- health endpoints

#: As Kubernetes waits for etcd in a health check; a prober gives up at about this time as well.
HEALTH_STORE_SECONDS_MAX = 2.0

# --- the node: images, eviction, shutdown ----------------------------------------------------------------------------

#: Records of who pulled an image that are kept in memory, about 1 kB each: those of the images that containers start with.
IMAGE_RECORDS_KEPT_MAX = 128
#: Secrets that one image's record remembers; upstream stops writing at 100 while it only looks.
IMAGE_SECRETS_RECORDED_MAX = 100
#: A pull that takes longer is told of, and again each time when it took twice as long.
IMAGE_PROGRESS_SECONDS = 15.0
#: A program that gives credentials for images is waited for so long (upstream's pluginExecTimeout)...
CREDENTIAL_PROVIDER_SECONDS_MAX = 60.0
#: ...and says no more: tokens of some kilobytes for a few registries...
CREDENTIAL_PROVIDER_ANSWER_BYTES_MAX = 1024 * 1024
#: ...of which so many are kept, each as long as it said.
CREDENTIAL_PROVIDER_ANSWERS_KEPT_MAX = 64
#: How often the node looks whether it is short of something (upstream's housekeeping: 10 s), and how often directories of pods
#: with limits are walked: each walk is read from the card or from memory.
EVICTION_CHECK_SECONDS = 10.0
DISK_USE_CHECK_SECONDS = 60.0
#: Entries of one directory tree that are counted: a walk of so many takes about two seconds on a board.
DISK_WALK_ENTRIES_MAX = 500_000
#: How long the next pod is spared after one was evicted and does not come to its end (upstream: 30 s).
EVICTION_WAIT_SECONDS = 30.0
#: How often unused images are looked at (upstream: 5 min).
IMAGE_GC_SECONDS = 300.0
#: A message of the system bus; those that are asked for have a few hundred bytes.
DBUS_MESSAGE_BYTES_MAX = 1024 * 1024
#: As long as libdbus waits for an answer.
DBUS_CALL_SECONDS = 25.0
#: Before a system bus that went away is asked again.
LOGIND_RETRY_SECONDS = 30.0
#: How long a shutdown waits for the API to hear how pods ended.
SHUTDOWN_STATUS_SECONDS = 3.0

# --- scheduler -------------------------------------------------------------------------------------------------------

#: Different sets of pod affinity terms and of amounts whose compiled form is kept: as many as there are templates in use.
POD_TERMS_KEPT_MAX = 512
POD_AMOUNTS_KEPT_MAX = 1024
#: Kinds of pods for which the answers of all nodes are remembered: about 200 bytes a node and kind.
LIKENESSES_KEPT_MAX = 32
#: Changes of nodes that are gone which are remembered besides those of the nodes there are.
NODE_CHANGES_KEPT_MAX = 256
#: How long a pod waits, its node chosen, for its volumes (upstream's bindTimeoutSeconds).
VOLUME_BINDING_SECONDS = 600.0
#: Nodes compared when pods are evicted for another one (upstream's minCandidateNodesAbsolute), or a tenth of those that may do.
PREEMPTION_NODES_MAX = 100

# --- storage ---------------------------------------------------------------------------------------------------------

#: When the directory of a volume that ended is tried again: something is mounted in it, or the disk refuses.
LOCAL_VOLUME_RETRY_SECONDS = 30.0
#: How long a node that is not healthy may say that it uses a volume before that is attached elsewhere (upstream's maximum).
FORCED_DETACH_SECONDS = 360.0
# --- plugins of a node, and its volumes

#: Sockets in plugins_registry. A node has a handful of drivers.
PLUGIN_SOCKETS_MAX = 64
#: A plugin that takes longer to say who it is does not answer (upstream: 10 s).
PLUGIN_CALL_SECONDS = 10.0
#: Before a plugin that did not answer, or was refused, is asked again: twice as long each time, as upstream's kubelet.
PLUGIN_RETRY_SECONDS = 0.5
PLUGIN_RETRY_SECONDS_MAX = 122.0
#: One call of a CSI driver (upstream: 2 minutes): it may attach, format or check a file system.
CSI_CALL_SECONDS = 120.0
#: Who is cancelled while a driver stages a volume waits so long for its answer: a driver that is well has it, and stopping a node
#: must not take much longer for one that is not.
CSI_ANSWER_SECONDS = 10.0
#: A volume that its driver does not let go of is unstaged again after this, then twice as long, up to the maximum (as a kubelet).
CSI_UNSTAGE_RETRY_SECONDS = 0.5
CSI_UNSTAGE_RETRY_SECONDS_MAX = 122.0
#: A driver with requiresRepublish is asked again this often (upstream: with each sync of a pod, about a minute).
CSI_REPUBLISH_SECONDS = 60.0
#: A pod whose volume nobody has attached is told of after this (upstream's podAttachAndMountTimeout).
ATTACH_PATIENCE_SECONDS = 123.0
#: mount.nfs asks for two minutes by itself; a server that is away may keep it for longer.
NFS_MOUNT_SECONDS = 150.0
#: Whoever asks for figures waits no longer for a file server that may be away.
FAR_DISK_PATIENCE_SECONDS = 1.0
#: Levels of a path in a ConfigMap's volume: Python's own way of making directories recurses.
VOLUME_PATH_LEVELS_MAX = 250

# --- the API

#: A request that does not last (as watches, logs and tunnels do) is ended after so long (upstream's --request-timeout).
REQUEST_SECONDS_MAX = 60.0

# --- figures of a node

#: Two who ask a node for its figures at once (a dashboard, a scraper) are told the same.
STATISTICS_KEPT_SECONDS = 1.0
#: What pods take of the disk is looked for anew after this (upstream: volumeStatsAggPeriod): directories are walked for it.
DISK_USE_KEPT_SECONDS = 60.0
#: A node's logs: services in one query, lines from its end, and how long journalctl may take (the kubelet's).
NODE_LOG_SERVICES_MAX = 4
NODE_LOG_TAIL_LINES_MAX = 100_000
NODE_LOG_SECONDS_MAX = 30.0
#: A claim whose driver expands on the node is read this often: authorizers let nodes get claims, not watch them.
CSI_EXPAND_CHECK_SECONDS = 60.0
#: What drivers say of the room in their volumes is asked anew after this (upstream: volumeStatsAggPeriod, a minute)...
CSI_STATS_SECONDS = 60.0
#: ...and whoever asks for figures does not wait longer for a driver.
CSI_STATS_PATIENCE_SECONDS = 5.0
# --- a pod's lifecycle on its node ----------------------------------------------------------------------------------------

#: A resize that the kernel refuses (memory in use) is tried again: usage may fall at any time, and asking costs little.
RESIZE_RETRY_SECONDS = 2.0
RESIZE_RETRY_SECONDS_MAX = 60.0
#: The directory of static pods is looked at this often (one scandir); upstream: 20 s.
STATIC_PODS_CHECK_SECONDS = 5.0
#: A pod larger than this would not fit into the API either.
STATIC_MANIFEST_BYTES_MAX = 1024 * 1024
#: Mirror pods are tried again: the API may be away for long.
MIRROR_RETRY_SECONDS = 1.0
MIRROR_RETRY_SECONDS_MAX = 30.0
#: mkfs or fsck of a large disk behind USB.
DISK_COMMAND_SECONDS = 1800.0
#: While the API is away a pod goes on with what its volumes held; it is looked for again this often.
AWAY_RETRY_SECONDS = 30.0
#: A clock that differs by so much from the time that has passed was set; what a pod waits for is reckoned anew.
CLOCK_STEP_SECONDS = 5.0
#: Requests about single pods (their status, tokens, last words) that a node has under way. With those that write events they are
#: as many as WIRE_POOL_IDLE_MAX keeps connections: with twice as many each pod that came cost a handshake of TLS.
POD_REQUESTS_AT_ONCE_MAX = WIRE_POOL_IDLE_MAX - EVENT_WRITER_TASKS_MAX
#: A shim seen twice without child and sandbox, this long apart, is nobody's: longer than containerd may take for anything.
#: Looked for after a start and this often (one look at /proc).
SHIM_LOOKS_SECONDS = 300.0
SHIMS_CHECK_SECONDS = 600.0
