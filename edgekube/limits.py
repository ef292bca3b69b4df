"""Every bound in one place: the unit is the last word of the name, the reason stands beside it.

A bound that only one function can ever meet may stay there; whatever a client, a pod or a peer can push against is here.
One section per package, in the order of the map.
"""

# --- api -------------------------------------------------------------------------------------------------------------

#: Largest request body: kube-apiserver's own limit, so that what upstream takes we take.
REQUEST_BODY_BYTES_MAX = 3 * 1024 * 1024
#: Largest stored object, as etcd's default request limit makes it upstream (1.5 MiB).
OBJECT_BYTES_MAX = 1536 * 1024

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
#: Distinct events remembered for counting repeats; upstream's cache has 4096, a board's is smaller.
EVENT_SERIES_MAX = 256
EVENT_QUEUE_MAX = 512
#: Upstream's spam filter: 25 at once per object, then one in 5 minutes.
EVENT_BURST = 25
EVENT_REFILL_SECONDS = 300.0
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
#: Client: head of a response.
WIRE_RESPONSE_HEAD_BYTES_MAX = 256 * 1024
#: Client: idle connections kept for reuse to one authority, and how long (shorter than WIRE_IDLE_SECONDS).
WIRE_POOL_IDLE_MAX = 8
WIRE_POOL_IDLE_SECONDS = 60.0
