"""Who sent a request: client certificate first, then a bearer token.

Enters: the certificate that TLS verified, the Authorization header.
Leaves: UserInfo with Kubernetes' names and groups, or None for nobody.
Holds: a token's account, and the pod, secret or node it is bound to, must still exist with the same uid; a node's certificate
holds as long as its key is the node's; a bad token or certificate is 401, never anonymous.
Bound: limits.CERTIFICATE_CACHE_ENTRIES_MAX parsed certificates are remembered by digest.
Next: server.app asks; pki.tokens verifies.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from edgekube import limits
from edgekube.api import errors
from edgekube.api.kinds import NODE, POD, SECRET, SERVICEACCOUNT, Kind
from edgekube.api.objects import is_deleting, uid_of
from edgekube.api.verbs import UserInfo, Verbs
from edgekube.pki.requests import certificate_key_hash
from edgekube.pki.tokens import BoundAccount, TokenRejected, TokenVerifier
from edgekube.server.node_identities import NodeIdentities
from edgekube.server.other_tokens import OtherTokens

AUTHENTICATED: Final = "system:authenticated"
CREDENTIAL_ID: Final = "authentication.kubernetes.io/credential-id"
POD_NAME: Final = "authentication.kubernetes.io/pod-name"
POD_UID: Final = "authentication.kubernetes.io/pod-uid"
NODE_NAME: Final = "authentication.kubernetes.io/node-name"
NODE_UID: Final = "authentication.kubernetes.io/node-uid"
NODE_PREFIX: Final = "system:node:"
NODES: Final = "system:nodes"


class Identities:
    """The Authenticator of a server."""

    def __init__(self, tokens: TokenVerifier, verbs: Verbs, nodes: NodeIdentities, others: OtherTokens | None = None) -> None:
        """``others``: who is asked about tokens that TokenRequest did not give out."""
        self._tokens = tokens
        self._others = others
        self._verbs = verbs
        self._nodes = nodes
        #: digest of the certificate -> the user, and for a node the hash of its key
        self._certificates: OrderedDict[bytes, tuple[UserInfo, str]] = OrderedDict()

    async def authenticate(self, peer_certificate: bytes | None, authorization: str) -> UserInfo | None:
        if peer_certificate:
            return self._user_of_certificate(peer_certificate)
        scheme, _, token = authorization.partition(" ")
        if not authorization:
            return None
        if scheme.lower() != "bearer" or not token.strip():
            raise errors.unauthorized()
        return (await self.review(token.strip(), ()))[0]

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo, Sequence[str]]:
        """Raises StatusError "Unauthorized"; also what TokenReview asks."""
        try:
            account = self._tokens.verify(token, audiences)
        except TokenRejected as error:
            if self._others is None:
                raise errors.unauthorized() from error
            return await self._others.review(token, audiences)
        if not await self._exists(SERVICEACCOUNT, account.namespace, account.name, account.uid):
            raise errors.unauthorized()
        for kind, bound in ((POD, account.pod), (SECRET, account.secret)):
            if bound is not None and not await self._exists(kind, account.namespace, *bound):
                raise errors.unauthorized()
        if account.node is not None:
            await self._check_node(*account.node, alone=account.pod is None)
        return user_of_account(account), self._tokens.meant(account, audiences)

    async def _check_node(self, name: str, uid: str, *, alone: bool) -> None:
        """A token dies with its node. ``alone``: it is bound to the Node itself; a pod's token outlives a Node object that its
        agent makes anew, as the pod does."""
        identity = self._nodes.get(name)
        if identity is not None and self._nodes.is_revoked(identity):
            raise errors.unauthorized()
        # Without a uid the Node was gone already when the token was made.
        if uid and (alone or identity is None) and not await self._exists(NODE, "", name, uid):
            raise errors.unauthorized()

    def _user_of_certificate(self, der: bytes) -> UserInfo:
        digest = hashlib.sha256(der).digest()
        known = self._certificates.get(digest)
        if known is None:
            user = user_of_certificate(der)
            is_node = user.name.startswith(NODE_PREFIX) or NODES in user.groups
            known = self._certificates[digest] = (user, certificate_key_hash(der) if is_node else "")
            while len(self._certificates) > limits.CERTIFICATE_CACHE_ENTRIES_MAX:
                self._certificates.popitem(last=False)
        user, public_key = known
        if public_key and (why := self._nodes.objection(user.name.removeprefix(NODE_PREFIX), public_key)):
            raise errors.unauthorized(f"Unauthorized: {why}")
        if public_key:
            self._nodes.in_use(user.name.removeprefix(NODE_PREFIX), public_key)
        return user

    async def _exists(self, kind: Kind, namespace: str, name: str, uid: str) -> bool:
        try:
            found = await self._verbs.get(kind, namespace, name)
        except errors.StatusError as error:
            if error.reason == "NotFound":
                return False
            raise
        return uid_of(found) == uid and not (kind is SERVICEACCOUNT and is_deleting(found))


def user_of_certificate(der: bytes) -> UserInfo:
    """CN is the name, each O a group. Raises StatusError "Unauthorized" for a certificate without a name."""
    from cryptography import x509

    from edgekube.pki.certificates import subject_of

    name, groups = subject_of(x509.load_der_x509_certificate(der))
    if not name:
        raise errors.unauthorized()
    extra: dict[str, tuple[str, ...]] = {CREDENTIAL_ID: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)}
    return UserInfo(name, "", (*groups, AUTHENTICATED), extra)


def user_of_account(account: BoundAccount) -> UserInfo:
    """The user that a service account is (names as in k8s.io/apiserver/pkg/authentication/serviceaccount)."""
    extra: dict[str, tuple[str, ...]] = {CREDENTIAL_ID: (f"JTI={account.jti}",)}
    if account.pod is not None:
        extra[POD_NAME], extra[POD_UID] = (account.pod[0],), (account.pod[1],)
    if account.node is not None:
        extra[NODE_NAME] = (account.node[0],)
        if account.node[1]:
            extra[NODE_UID] = (account.node[1],)
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{account.namespace}", AUTHENTICATED)
    return UserInfo(f"system:serviceaccount:{account.namespace}:{account.name}", account.uid, groups, extra)
