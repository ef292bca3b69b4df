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
#: Values in one YAML body, aliases counted each time they are used: a 3 MB body cannot honestly hold more.
YAML_VALUES_MAX = 500_000

#: Answers that each name check of api.validation remembers: more than the distinct names of a small cluster's daily traffic.
VALIDATION_NAMES_KEPT_MAX = 512
#: Names longer than any good one (253) are not remembered, so that a client cannot park megabytes in the caches.
VALIDATION_NAME_KEPT_CHARACTERS_MAX = 256
#: Causes in one refusal: a person reads a few, and each one is repeated in the message.
VALIDATION_CAUSES_MAX = 256

# --- pki -------------------------------------------------------------------------------------------------------------

#: A bound token is about 1.2 KB; whatever is far above is not one of ours, and hashing it is wasted work.
TOKEN_BYTES_MAX = 16 * 1024
#: Verified tokens remembered: one per pod and then some; about 1 KB each.
TOKEN_CACHE_ENTRIES_MAX = 512
#: How far a peer's clock may be ahead of ours.
TOKEN_CLOCK_LEEWAY_SECONDS = 60
#: Parsed client certificates remembered, one per identity in use.
CERTIFICATE_CACHE_ENTRIES_MAX = 256
#: Pause before a failed watch of the roles is tried again.
ACCESS_RETRY_SECONDS = 1.0

# --- agent -----------------------------------------------------------------------------------------------------------

#: Restarts and pulls: Kubernetes documents 10 s doubling to 5 min, forgotten after 10 quiet minutes.
BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_SECONDS_MAX = 300.0
#: Pods on one node; kubelet's default, shown in node capacity.
PODS_PER_NODE_MAX = 110
#: Seconds between looks at containerd: with its event stream, and without.
RELIST_SECONDS = 10.0
RELIST_WITHOUT_EVENTS_SECONDS = 1.0
#: How late the API may hear of the steps of a pod's start; two writes less for a pod that starts faster, also on the SD card.
POD_STATUS_DELAY_SECONDS = 0.5
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
#: Requests the agent answers at once; each log follower and exec session holds one.
AGENT_STREAMS_MAX = 256
#: Images listed in node.status (kubelet's nodeStatusMaxImages).
NODE_IMAGES_MAX = 50
NODE_STATUS_REPORT_SECONDS = 300.0
NODE_STATUS_CHECK_SECONDS = 10.0
LEASE_RENEW_SECONDS = 10.0
LEASE_DURATION_SECONDS = 40
#: Bytes of a probe's answer that are read (kubelet: 10 KiB).
PROBE_BODY_BYTES_MAX = 10 * 1024
#: Archives are looked for this often when no event told of them.
IMAGE_DIR_CHECK_SECONDS = 5.0

# --- wire ------------------------------------------------------------------------------------------------------------

#: TLS has to come up within this: a handshake takes two round trips, a half-open one holds a descriptor.
WIRE_HANDSHAKE_SECONDS = 10.0
#: Our own connects, name look-up and TLS included.
WIRE_CONNECT_SECONDS = 10.0
#: From the first byte of a request head to its end (slowloris).
WIRE_HEAD_SECONDS = 10.0
#: A kept-alive connection without a request. Longer than Go's and most proxies' 90 s, so that the client closes first.
WIRE_IDLE_SECONDS = 120.0
#: A body may take this long, plus one second for each WIRE_BODY_BYTES_PER_SECOND_MIN that came.
WIRE_BODY_SECONDS = 30.0
WIRE_BODY_BYTES_PER_SECOND_MIN = 4096
#: Data is waiting and the peer takes none of it: cut. Silence without data waiting (a quiet watch) is no stall.
WIRE_WRITE_STALL_SECONDS = 30.0
#: After an early answer (413, 400) what the peer still sends is thrown away so long, so that it gets to read the answer.
WIRE_LINGER_SECONDS = 2.0
WIRE_LINGER_BYTES_MAX = 8 * 1024 * 1024
#: A vanished peer is noticed after interval x (probes + 1).
WIRE_KEEPALIVE_SECONDS = 15
WIRE_KEEPALIVE_PROBES = 3
#: Request head: line and headers. Service account tokens take 1-2 KB, impersonation a few more.
WIRE_HEAD_BYTES_MAX = 64 * 1024
WIRE_HEADERS_COUNT_MAX = 128
#: Request target: field and label selectors may be long.
WIRE_TARGET_BYTES_MAX = 16 * 1024
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
#: Events waiting to be written; more are dropped, for an Event must never hold up the work that it tells of.
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

#: Pods made or deleted by one plan of a ReplicaSet (upstream's BurstReplicas).
BURST_REPLICAS = 500
#: Addresses in one EndpointSlice (upstream's default).
ENDPOINTS_PER_SLICE_MAX = 100
#: Addresses in a legacy Endpoints object (upstream truncates there and says so in an annotation).
ENDPOINTS_ADDRESSES_MAX = 1000
#: Finished pods kept in the cluster before the oldest are removed. Upstream keeps 12,500, a data centre's figure.
TERMINATED_PODS_MAX = 1000

# --- store -----------------------------------------------------------------------------------------------------------

#: Changes kept for watchers that resume and pages that continue. At one change a second, more than two hours.
WATCH_RING_EVENTS_MAX = 8192
#: Bytes of documents in that history (before and after each change); it is most of what the store holds in RAM.
WATCH_RING_BYTES_MAX = 8 * 1024 * 1024
#: Changes that one watcher may leave unread: a burst of several full commits, then it is closed and lists again.
WATCH_BACKLOG_EVENTS_MAX = 2048
#: Bytes of the same; they are shared with the ring until the ring moves on.
WATCH_BACKLOG_BYTES_MAX = 8 * 1024 * 1024
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
#: Chains that choose among up to so many endpoints are there from the start; a Service with more makes the table anew, doubled.
PROXY_TARGETS_FIRST = 64
#: How long changes are collected before a script is made: a rollout changes a Service several times in a row.
PROXY_SETTLE_SECONDS = 0.01

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
#: Longest that a forwarded reply is remembered, whatever its TTL says (CoreDNS' default).
DNS_CACHE_SECONDS_MAX = 30
#: Questions to the host's resolvers under way; each holds a socket.
DNS_FORWARDS_MAX = 256
#: How long one resolver is waited for, and how long a silent one is left alone.
DNS_FORWARD_SECONDS = 2.0
DNS_SILENT_SECONDS = 5.0
#: Questions that wait for a forwarder, each in a task of its own; beyond that packets are dropped, as UDP allows.
DNS_TASKS_MAX = 512
DNS_TCP_CONNECTIONS_MAX = 128
DNS_TCP_IDLE_SECONDS = 10.0

# --- server ----------------------------------------------------------------------------------------------------------

#: Requests that only read and run at once; kube-apiserver's --max-requests-inflight.
REQUESTS_READING_MAX = 400
#: Requests that write and run at once; kube-apiserver's --max-mutating-requests-inflight.
REQUESTS_WRITING_MAX = 200
#: Watches open at once: a thousand nodes with eight each, and some people.
WATCHES_MAX = 10_000
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

# --- manifests -------------------------------------------------------------------------------------------------------

#: How often the manifests directory is looked at, and when a file that failed is tried again.
MANIFESTS_LOOK_SECONDS = 3.0
MANIFEST_RETRY_SECONDS = 15.0
#: Largest manifest file: parsing YAML costs twenty times its size in memory.
MANIFEST_BYTES_MAX = 4 * 1024 * 1024
#: Pause before a machine without a usable container runtime is tried again, and a DNS port that another program holds.
NODE_RETRY_SECONDS = 10.0
DNS_RETRY_SECONDS = 10.0
