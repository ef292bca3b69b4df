"""Every bound in one place: the unit is the last word of the name, the reason stands beside it.

A bound that only one function can ever meet may stay there; whatever a client, a pod or a peer can push against is here.
One section per package, in the order of the map.
"""

# --- api -------------------------------------------------------------------------------------------------------------

#: Largest request body: kube-apiserver's own limit, so that what upstream takes we take.
REQUEST_BODY_BYTES_MAX = 3 * 1024 * 1024
#: Largest stored object, as etcd's default request limit makes it upstream (1.5 MiB).
OBJECT_BYTES_MAX = 1536 * 1024
